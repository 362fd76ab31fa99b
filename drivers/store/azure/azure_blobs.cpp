// SPDX-License-Identifier: Apache-2.0
#include "drivers/store/azure/azure_blobs.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "daemon/base/digest.hpp"
#include "daemon/base/encoding.hpp"
#include "daemon/hash/crc64.hpp"
#include "drivers/store/azure/azure_xml.hpp"

namespace dray::store::azure {
namespace {

constexpr int kSends = 4;

bool is_header_text(const std::string& text) {
    return std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
}

/// C#'s identifiers, as far as they are ASCII.
bool is_metadata_name(const std::string& name) {
    const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
    return !name.empty() && is_letter(name.front()) &&
           std::ranges::all_of(name, [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); });
}

bool says_changed(const Reply& reply) {
    return reply.answer.status == 400 && (reply.code == "Md5Mismatch" || reply.code == "Crc64Mismatch" ||
                                          reply.code == "InvalidOperation" || reply.code == "InvalidMd5");
}

bool knows_no_crc64(const Reply& reply) {
    return reply.code == "FeatureNotSupported" || reply.code == "UnsupportedHeader" || reply.code == "NotImplemented";
}

}  // namespace

Result<Dress> dress_of(const BlobProperties& properties, const BlobMetadata& metadata) {
    Dress dress;
    const std::pair<const char*, const std::string*> headers[] = {
        {"x-ms-blob-content-type", &properties.content_type},
        {"x-ms-blob-content-encoding", &properties.content_encoding},
        {"x-ms-blob-content-language", &properties.content_language},
        {"x-ms-blob-cache-control", &properties.cache_control},
        {"x-ms-blob-content-md5", &properties.content_md5}};
    for (const auto& [name, value] : headers) {
        if (!is_header_text(*value))
            return fail(ErrorKind::InvalidArgument, "a property that is not ASCII cannot be kept: \"{}\"", *value);
        if (!value->empty())
            dress.headers.emplace(name, *value);
    }
    for (const auto& [name, value] : metadata) {
        if (!is_metadata_name(name))
            return fail(ErrorKind::InvalidArgument, "\"{}\" is no name for metadata: letters, digits and underscores, not a "
                                                    "digit first", name);
        dress.metadata.emplace(name, to_metadata_value(value));
    }
    return dress;
}

void add_condition(AzureRequest& request, bool may_replace) {
    if (!may_replace)
        request.headers["If-None-Match"] = "*";
}

bool is_taken(const Reply& reply) {
    return (reply.answer.status == 409 && (reply.code == "BlobAlreadyExists" || reply.code == "UnauthorizedBlobOverwrite")) ||
           (reply.answer.status == 412 && (reply.code == "ConditionNotMet" || reply.code == "TargetConditionNotMet"));
}

bool is_other_type(const Reply& reply) { return reply.answer.status == 409 && reply.code == "InvalidBlobType"; }

Result<Seen> look_at(AzureClient& client, const BlobName& name, const std::stop_token& stop) {
    DRAY_LET(const Reply reply, client.call(request_for("HEAD", name), stop));
    if (!reply.is_good())
        return fail(client.error_of(reply, "look at " + name.path()));
    const http::HttpAnswer& answer = reply.answer;
    Seen seen;
    BlobStatus& status = seen.status;
    status.name = name;
    status.is_archived = answer.header("x-ms-access-tier") == "Archive";
    status.type = answer.header("x-ms-blob-type") == "PageBlob" ? BlobType::Page : BlobType::Block;
    const std::string& length = answer.header("content-length");
    (void)std::from_chars(length.data(), length.data() + length.size(), status.length);
    status.modified = parse_http_date(answer.header("last-modified")).value_or(TimePoint());
    status.etag = unquoted(answer.header("etag"));
    status.properties = {content_type_of(answer.header("content-type")), answer.header("content-encoding"),
                         answer.header("content-language"), answer.header("cache-control"), answer.header("content-md5")};
    constexpr std::string_view kMetadata = "x-ms-meta-";
    for (const auto& [lower, sent] : answer.names)
        if (lower.starts_with(kMetadata))
            status.metadata.emplace(sent.substr(kMetadata.size()), from_metadata_value(answer.header(lower)));
    seen.copy_source = answer.header("x-ms-copy-source");
    seen.copy_status = answer.header("x-ms-copy-status");
    return seen;
}

Result<Reply> send_checked(AzureClient& client, AzureRequest request, const Piece& piece, const std::stop_token& stop) {
    const bool has_md5 = piece.md5 != Md5Hash{};
    const std::uint64_t crc = has_md5 || piece.content.empty() ? 0 : piece.crc64.value_or(hash::crc64(piece.content));
    request.body = piece.content;
    std::optional<TimePoint> first_sent;
    for (int sends = 1;; ++sends) {
        const bool is_crc = !has_md5 && client.takes_crc64() && !piece.content.empty();
        request.headers.erase("x-ms-content-crc64");
        if (is_crc)
            request.headers["x-ms-content-crc64"] = hash::crc64_header(crc);
        else
            request.headers["Content-MD5"] = to_base64(has_md5 ? piece.md5 : md5(piece.content));
        DRAY_LET(Reply reply, client.call(request, stop));
        reply.is_repeated = reply.is_repeated || first_sent;
        if (!first_sent)
            first_sent = reply.first_sent;
        reply.first_sent = *first_sent;
        if (is_crc && knows_no_crc64(reply)) {
            client.has_no_crc64();
            continue;
        }
        if (!says_changed(reply) || sends >= kSends)
            return reply;
        if (has_md5 ? md5(piece.content) != piece.md5 : is_crc && hash::crc64(piece.content) != crc)
            return fail(ErrorKind::Corrupt, "the content has changed since it was verified");
    }
}

Result<void> remove_if_there(AzureClient& client, const BlobName& name, const std::stop_token& stop) {
    DRAY_LET(const Reply reply, client.call(request_for("DELETE", name), stop));
    if (!reply.is_good() && reply.answer.status != 404)
        return fail(client.error_of(reply, "remove " + name.path()));
    return {};
}

}  // namespace dray::store::azure
