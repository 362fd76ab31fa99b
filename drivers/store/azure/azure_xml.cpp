// SPDX-License-Identifier: Apache-2.0
#include "drivers/store/azure/azure_xml.hpp"

#include <expat.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <utility>

#include "daemon/base/encoding.hpp"
#include "daemon/base/handle.hpp"
#include "drivers/store/azure/azure_request.hpp"

namespace dray::store::azure {
namespace {

constexpr std::size_t kMaxDepth = 16;
constexpr std::size_t kMaxText = 64 * kKiB;

/// Walks a document: `open` with an element's name, `close` with the path down to it and its text.
class Walker {
public:
    using Path = std::vector<std::string>;
    std::function<void(const Path&, bool is_encoded)> open = [](const Path&, bool) {};
    std::function<void(const Path&, std::string)> close = [](const Path&, const std::string&) {};

    Result<void> walk(std::string_view xml) {
        const Handle<XML_ParserStruct, XML_ParserFree> parser(XML_ParserCreate(nullptr));
        if (!parser)
            return fail(ErrorKind::Internal, "an answer cannot be read");
        parser_ = parser.get();
        XML_SetUserData(parser_, this);
        XML_SetElementHandler(parser_, on_open, on_close);
        XML_SetCharacterDataHandler(parser_, on_text);
        XML_SetStartDoctypeDeclHandler(parser_, [](void* self, const XML_Char*, const XML_Char*, const XML_Char*, int) {
            static_cast<Walker*>(self)->stop("it has a DTD");
        });
        const bool is_good = XML_Parse(parser_, xml.data(), static_cast<int>(xml.size()), XML_TRUE) != XML_STATUS_ERROR;
        if (!problem_.empty())
            return fail(ErrorKind::Corrupt, "the service's answer is refused: {}", problem_);
        if (!is_good)
            return fail(ErrorKind::Corrupt, "the service's answer is no XML: {}", XML_ErrorString(XML_GetErrorCode(parser_)));
        return {};
    }

private:
    void stop(const char* problem) {
        problem_ = problem;
        (void)XML_StopParser(parser_, XML_FALSE);
    }

    static void on_open(void* context, const XML_Char* name, const XML_Char** attributes) {
        auto& self = *static_cast<Walker*>(context);
        if (self.path_.size() >= kMaxDepth)
            return self.stop("it is nested too deep");
        self.path_.emplace_back(name);
        self.text_.clear();
        bool is_encoded = false;
        for (; *attributes != nullptr; attributes += 2)
            is_encoded = is_encoded || (std::string_view(attributes[0]) == "Encoded" && std::string_view(attributes[1]) == "true");
        self.open(self.path_, is_encoded);
    }

    static void on_close(void* context, const XML_Char* /*name*/) {
        auto& self = *static_cast<Walker*>(context);
        self.close(self.path_, std::exchange(self.text_, {}));
        self.path_.pop_back();
    }

    static void on_text(void* context, const XML_Char* text, int length) {
        auto& self = *static_cast<Walker*>(context);
        if (self.text_.size() + static_cast<std::size_t>(length) > kMaxText)
            return self.stop("a text in it is too long");
        self.text_.append(text, static_cast<std::size_t>(length));
    }

    XML_Parser parser_ = nullptr;
    Path path_;
    std::string text_;
    std::string problem_;
};

std::string percent_decoded(const std::string& text) {
    std::string result;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const Result<std::vector<std::byte>> byte =
            text[i] == '%' && i + 2 < text.size() ? from_hex(std::string_view(text).substr(i + 1, 2))
                                                  : fail(ErrorKind::InvalidArgument, "none");
        if (byte && byte->size() == 1) {
            result += static_cast<char>(byte->front());
            i += 2;
        } else {
            result += text[i];
        }
    }
    return result;
}

Bytes number_of(const std::string& text) {
    Bytes value = 0;
    (void)std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

void take_property(BlobStatus& blob, const std::string& name, std::string text) {
    BlobProperties& properties = blob.properties;
    if (name == "Content-Length")
        blob.length = number_of(text);
    else if (name == "Last-Modified")
        blob.modified = parse_http_date(text).value_or(TimePoint());
    else if (name == "Etag")
        blob.etag = unquoted(text);
    else if (name == "BlobType")
        blob.type = text == "PageBlob" ? BlobType::Page : BlobType::Block;
    else if (name == "AccessTier")
        blob.is_archived = text == "Archive";
    else if (name == "Content-Type")
        properties.content_type = content_type_of(text);
    else if (name == "Content-Encoding")
        properties.content_encoding = std::move(text);
    else if (name == "Content-Language")
        properties.content_language = std::move(text);
    else if (name == "Cache-Control")
        properties.cache_control = std::move(text);
    else if (name == "Content-MD5")
        properties.content_md5 = std::move(text);
}

constexpr std::string_view kWordStart = "=?UTF-8?B?";
constexpr std::string_view kWordEnd = "?=";

}  // namespace

ServiceError parse_error(std::string_view xml) {
    ServiceError error;
    Walker walker;
    walker.close = [&](const Walker::Path& path, std::string text) {
        if (path.size() != 2 || path[0] != "Error")
            return;
        if (path[1] == "Code")
            error.code = std::move(text);
        else if (path[1] == "Message")
            error.message = text.substr(0, text.find('\n'));
    };
    (void)walker.walk(xml);  // what cannot be read says nothing
    return error;
}

Result<Listing> parse_listing(std::string_view xml) {
    Listing listing;
    BlobStatus blob;
    bool is_listing = false;
    bool is_name_encoded = false;
    Walker walker;
    walker.open = [&](const Walker::Path& path, bool is_encoded) {
        is_listing = is_listing || (path.size() == 1 && path[0] == "EnumerationResults");
        if (path.size() == 3 && path[2] == "Blob")
            blob = BlobStatus();
        if (path.size() == 4 && path[3] == "Name")
            is_name_encoded = is_encoded;
    };
    walker.close = [&](const Walker::Path& path, std::string text) {
        if (path.size() == 2 && path[1] == "NextMarker") {
            listing.marker = std::move(text);
        } else if (path.size() >= 3 && path[1] == "Blobs" && path[2] == "Blob") {
            if (path.size() == 3)
                listing.blobs.push_back(std::move(blob));
            else if (path.size() == 4 && path[3] == "Name")
                blob.name.name = is_name_encoded ? percent_decoded(text) : std::move(text);
            else if (path.size() == 4 && path[3] == "Snapshot")
                blob.name.snapshot = std::move(text);
            else if (path.size() == 5 && path[3] == "Properties")
                take_property(blob, path[4], std::move(text));
            else if (path.size() == 5 && path[3] == "Metadata")
                blob.metadata.insert_or_assign(path[4], from_metadata_value(text));
        }
    };
    DRAY_TRY(walker.walk(xml));
    if (!is_listing)
        return fail(ErrorKind::Corrupt, "the service's answer is no listing");
    return listing;
}

Result<ContainerListing> parse_containers(std::string_view xml) {
    ContainerListing listing;
    Walker walker;
    walker.close = [&](const Walker::Path& path, std::string text) {
        if (path.size() == 2 && path[1] == "NextMarker")
            listing.marker = std::move(text);
        else if (path.size() == 4 && path[2] == "Container" && path[3] == "Name")
            listing.names.push_back(std::move(text));
    };
    DRAY_TRY(walker.walk(xml));
    return listing;
}

Result<std::vector<StoredBlock>> parse_block_list(std::string_view xml) {
    std::vector<StoredBlock> blocks;
    StoredBlock block;
    Walker walker;
    walker.close = [&](const Walker::Path& path, std::string text) {
        if (path.size() == 4 && path[3] == "Name")
            block.id = std::move(text);
        else if (path.size() == 4 && path[3] == "Size")
            block.size = number_of(text);
        else if (path.size() == 3 && path[2] == "Block") {
            block.is_committed = path[1] == "CommittedBlocks";
            blocks.push_back(std::exchange(block, {}));
        }
    };
    DRAY_TRY(walker.walk(xml));
    return blocks;
}

Result<PageListing> parse_page_list(std::string_view xml) {
    PageListing listing;
    Bytes start = 0;
    Bytes end = 0;
    bool is_listing = false;
    bool is_backward = false;
    Walker walker;
    walker.open = [&](const Walker::Path& path, bool /*is_encoded*/) {
        is_listing = is_listing || (path.size() == 1 && path[0] == "PageList");
    };
    walker.close = [&](const Walker::Path& path, std::string text) {
        if (path.size() == 2 && path[1] == "NextMarker")
            listing.marker = std::move(text);
        else if (path.size() == 3 && path[1] == "PageRange" && path[2] == "Start")
            start = number_of(text);
        else if (path.size() == 3 && path[1] == "PageRange" && path[2] == "End")
            end = number_of(text);
        else if (path.size() == 2 && path[1] == "PageRange") {
            is_backward = is_backward || end < start || end + 1 == 0;
            listing.ranges.emplace_back(start, end + 1 - start);
        }
    };
    DRAY_TRY(walker.walk(xml));
    if (!is_listing || is_backward)
        return fail(ErrorKind::Corrupt, "the service's answer is no list of pages");
    return listing;
}

std::string write_block_list(const std::vector<std::string>& ids) {
    std::string xml = R"(<?xml version="1.0" encoding="utf-8"?><BlockList>)";
    for (const std::string& id : ids)  // Base64 needs no escapes
        xml += "<Latest>" + id + "</Latest>";
    return xml + "</BlockList>";
}

std::string unquoted(std::string_view etag) {
    if (etag.size() >= 2 && etag.starts_with('"') && etag.ends_with('"'))
        etag = etag.substr(1, etag.size() - 2);
    return std::string(etag);
}

std::string to_metadata_value(const std::string& value) {
    const bool is_plain = std::ranges::all_of(value, [](char c) { return c >= ' ' && c <= '~'; }) &&
                          !value.starts_with(' ') && !value.ends_with(' ') && !value.starts_with(kWordStart);
    if (is_plain)
        return value;
    return std::string(kWordStart) + to_base64(std::as_bytes(std::span(value.data(), value.size()))) +
           std::string(kWordEnd);
}

std::string from_metadata_value(const std::string& value) {
    if (!value.starts_with(kWordStart) || !value.ends_with(kWordEnd) || value.size() < kWordStart.size() + kWordEnd.size())
        return value;
    const Result<std::vector<std::byte>> decoded = from_base64(
        std::string_view(value).substr(kWordStart.size(), value.size() - kWordStart.size() - kWordEnd.size()));
    return decoded ? std::string(reinterpret_cast<const char*>(decoded->data()), decoded->size()) : value;
}

std::string content_type_of(const std::string& value) {
    return value == "application/octet-stream" ? std::string() : value;
}

}  // namespace dray::store::azure
