// SPDX-License-Identifier: Apache-2.0
#include "daemon/format/blob_list.hpp"

#include <expat.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "daemon/base/handle.hpp"
#include "daemon/format/drive_manifest.hpp"
#include "daemon/format/xml_text.hpp"

namespace dray::format {
namespace {

/// "/", a container of 63 and a name of 1024 characters, each up to 4 bytes.
constexpr std::size_t kMaxText = 1 + 63 + 1 + 4096;

using Parser = Handle<XML_ParserStruct, XML_ParserFree>;

Result<void> check_text(std::string_view text, std::string_view what) {
    if (text.empty())
        return fail(ErrorKind::InvalidArgument, "a {} is empty", what);
    if (text.size() > kMaxText)
        return fail(ErrorKind::InvalidArgument, "the {} {} is longer than any blob's path", what, shown(text));
    return {};
}

class ListReader {
public:
    Result<BlobSelection> read(std::string_view xml) {
        parser_.reset(XML_ParserCreate(nullptr));
        if (!parser_)
            return fail(ErrorKind::Internal, "no memory for a parser");
        XML_SetUserData(parser_.get(), this);
        XML_SetElementHandler(parser_.get(), on_start, on_end);
        XML_SetCharacterDataHandler(parser_.get(), on_text);
        XML_SetDoctypeDeclHandler(parser_.get(), on_doctype, nullptr);
        const bool is_parsed = XML_Parse(parser_.get(), xml.data(), static_cast<int>(xml.size()), 1) == XML_STATUS_OK;
        if (problem_.empty() && !is_parsed)
            stop(fmt::format("it is no XML: {}", XML_ErrorString(XML_GetErrorCode(parser_.get()))));
        if (problem_.empty() && selection_.empty())
            stop("it selects nothing");
        if (!problem_.empty())
            return fail(ErrorKind::Corrupt, "line {} of the blob list: {}", line_, problem_);
        return std::move(selection_);
    }

private:
    static void XMLCALL on_start(void* context, const char* name, const char** attributes) {
        static_cast<ListReader*>(context)->start(name, attributes);
    }
    static void XMLCALL on_end(void* context, const char* /*name*/) { static_cast<ListReader*>(context)->end(); }
    static void XMLCALL on_text(void* context, const char* text, int length) {
        static_cast<ListReader*>(context)->add({text, static_cast<std::size_t>(length)});
    }
    static void XMLCALL on_doctype(void* context, const char*, const char*, const char*, int) {
        static_cast<ListReader*>(context)->stop("a DTD is not allowed");
    }

    void stop(std::string problem) {
        if (!problem_.empty())
            return;
        problem_ = std::move(problem);
        line_ = XML_GetCurrentLineNumber(parser_.get());
        (void)XML_StopParser(parser_.get(), XML_FALSE);  // fails where it has ended, which is as good
    }

    void start(std::string_view name, const char** attributes) {
        ++depth_;
        if (depth_ == 1) {
            if (name != "BlobList")
                stop(fmt::format("the root is {}, not BlobList", shown(name)));
            return;
        }
        const bool is_path = name == "BlobPath";
        if (depth_ > 2 || (!is_path && name != "BlobPathPrefix"))
            return stop(fmt::format("{} is not known here; BlobPath and BlobPathPrefix are", shown(name)));
        entry_ = Selected();
        is_path_ = is_path;
        text_.clear();
        bool has_include = false;
        for (; *attributes != nullptr; attributes += 2) {
            const std::string_view attribute = attributes[0];
            const std::string_view value = trim(attributes[1]);
            if (is_path && attribute == "IncludeSnapshots" && (value == "true" || value == "false")) {
                has_include = true;
                entry_.with_snapshots = value == "true";
            } else if (is_path && attribute == "SnapshotTime" && !value.empty()) {
                entry_.snapshot = value;
            } else {
                return stop(fmt::format("{} cannot have {}=\"{}\"", name, shown(attribute), shown(value)));
            }
        }
        if (has_include && !entry_.snapshot.empty())
            stop("IncludeSnapshots and SnapshotTime cannot stand together");
        if (!entry_.snapshot.empty())
            entry_.with_snapshots = false;
    }

    void end() {
        if (depth_-- != 2 || !problem_.empty())
            return;
        // Blanks around a path may be a part of its name; line breaks come from whoever lays XML out prettily.
        std::string_view text = text_;
        if (text.find('\n') != std::string_view::npos)
            text = trim(text);
        Result<Selected> selected = is_path_ ? select_path(text) : select_prefix(text);
        if (!selected)
            return stop(selected.error().text());
        if (!selected->is_prefix()) {
            selected->with_snapshots = entry_.with_snapshots;
            selected->snapshot = entry_.snapshot;
        }
        selection_.push_back(*std::move(selected));
    }

    void add(std::string_view text) {
        if (depth_ == 2 && text_.size() + text.size() <= 2 * kMaxText)
            text_ += text;
        else if (depth_ == 2)
            stop("a text in it is longer than any blob's path");
        else if (!trim(text).empty())
            stop(fmt::format("the text \"{}\" is in no element", shown(trim(text))));
    }

    Parser parser_;
    BlobSelection selection_;
    Selected entry_;
    bool is_path_ = false;
    std::string text_;
    unsigned depth_ = 0;
    std::string problem_;
    XML_Size line_ = 0;
};

}  // namespace

Result<Selected> select_prefix(std::string_view text) {
    DRAY_TRY(check_text(text, "prefix"));
    if (!text.starts_with('/'))
        return fail(ErrorKind::InvalidArgument, "the prefix {} does not begin with /: it is /CONTAINER/NAME's beginning",
                    shown(text));
    return Selected{std::string(text)};
}

Result<Selected> select_path(std::string_view text) {
    DRAY_TRY(check_text(text, "path"));
    // As in a tutorial of the service's command line.
    if (text == "/")
        return Selected{"/"};
    if (text.starts_with('/'))
        text.remove_prefix(1);
    if (const std::size_t slash = text.find('/'); slash == 0 || slash >= text.size() - 1)
        return fail(ErrorKind::InvalidArgument, "the path {} is not CONTAINER/NAME", shown(text));
    return Selected{std::string(text)};
}

Result<BlobSelection> read_blob_list(std::string_view xml) {
    if (xml.size() > kMaxBlobList)
        return fail(ErrorKind::LimitReached, "the blob list has {}, more than {}", format_bytes(xml.size()),
                    format_bytes(kMaxBlobList));
    return ListReader().read(xml);
}

std::string write_blob_list(const BlobSelection& selection) {
    std::string xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<BlobList>\n";
    for (const Selected& entry : selection) {
        if (entry.is_prefix())
            xml += "<BlobPathPrefix>" + escape_xml(entry.text) + "</BlobPathPrefix>\n";
        else if (!entry.snapshot.empty())
            xml += fmt::format("<BlobPath SnapshotTime=\"{}\">{}</BlobPath>\n", escape_xml(entry.snapshot),
                               escape_xml(entry.text));
        else if (!entry.with_snapshots)
            xml += "<BlobPath IncludeSnapshots=\"false\">" + escape_xml(entry.text) + "</BlobPath>\n";
        else
            xml += "<BlobPath>" + escape_xml(entry.text) + "</BlobPath>\n";
    }
    return xml + "</BlobList>\n";
}

}  // namespace dray::format
