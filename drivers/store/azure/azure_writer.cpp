// SPDX-License-Identifier: Apache-2.0
#include "drivers/store/azure/azure_writer.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "daemon/base/digest.hpp"
#include "daemon/base/encoding.hpp"
#include "drivers/store/azure/azure_xml.hpp"
#include "drivers/store/blob_rules.hpp"

namespace dray::store::azure {
namespace {

constexpr Bytes kPage = 512;
/// The most that one Put Page takes.
constexpr Bytes kMostPages = 4 * kMiB;
constexpr std::size_t kMaxBlockId = 64;
constexpr std::size_t kMaxBlocks = 50'000;
/// Between two looks at a copy that the service takes its time for.
constexpr Microseconds kCopyLook = std::chrono::milliseconds(500);

BlobName stage_of(const BlobName& name, const std::string& upload_id) {
    return {name.container, std::string(kStaging) + upload_id};
}

std::string half_hash(const std::string& text) {
    const Md5Hash hash = md5(std::as_bytes(std::span(text.data(), text.size())));
    return {reinterpret_cast<const char*>(hash.data()), 8};
}

void dress(AzureRequest& request, const Dress& dress) {
    for (const auto& [name, value] : dress.headers)
        request.headers[name] = value;
    request.metadata = dress.metadata;
}

Error exists(const BlobName& name) { return {ErrorKind::Exists, fmt::format("there is a blob {} already", name.path())}; }

bool has_failed(const Seen& seen) { return seen.copy_status == "failed" || seen.copy_status == "aborted"; }

/// Whether what is there is what a request made that was never answered: its content, its dress, not older.
bool is_of(const Seen& seen, const WholeBlob& blob, TimePoint first_sent) {
    constexpr Microseconds kSlack = std::chrono::seconds(2);  // dates are in seconds
    const BlobStatus& status = seen.status;
    const auto header = [&](const char* name) {
        const auto found = blob.dress.headers.find(name);
        return found == blob.dress.headers.end() ? std::string() : found->second;
    };
    BlobMetadata metadata;
    for (const auto& [name, value] : blob.dress.metadata)
        metadata.emplace(name, from_metadata_value(value));
    return status.type == BlobType::Block && status.length == blob.piece.length && status.modified + kSlack >= first_sent &&
           status.properties.content_md5 == to_base64(md5(blob.piece.content)) && status.metadata == metadata &&
           status.properties.content_type == content_type_of(header("x-ms-blob-content-type"));
}

}  // namespace

bool is_staging_name(const std::string& name) { return name.starts_with(kStaging); }

Result<void> put_blob(AzureClient& client, const WholeBlob& blob, const std::stop_token& stop) {
    AzureRequest request = request_for("PUT", blob.name);
    request.headers["x-ms-blob-type"] = "BlockBlob";
    dress(request, blob.dress);
    add_condition(request, blob.may_replace);
    for (bool may_remove = blob.may_replace;; may_remove = false) {
        DRAY_LET(const Reply reply, send_checked(client, request, blob.piece, stop));
        if (reply.is_good())
            return {};
        if (may_remove && is_other_type(reply)) {
            DRAY_TRY(remove_if_there(client, blob.name, stop));
            continue;
        }
        if (blob.may_replace || !is_taken(reply))
            return fail(client.error_of(reply, "put " + blob.name.path()));
        if (!reply.is_repeated)
            return fail(exists(blob.name));
        DRAY_LET(const Seen seen, look_at(client, blob.name, stop));
        return is_of(seen, blob, reply.first_sent) ? Result<void>() : fail(exists(blob.name));
    }
}

AzureWriter::AzureWriter(AzureClient& client, const BlobName& name, const CreateOptions& options, std::stop_token stop)
    : client_(client),
      name_(name),
      options_(options),
      stop_(std::move(stop)),
      stage_(stage_of(name, options.upload_id)),
      id_prefix_(half_hash(options.upload_id)) {}

Result<std::unique_ptr<BlobWriter>> AzureWriter::open(AzureClient& client, const BlobName& name,
                                                      const CreateOptions& options, std::stop_token stop) {
    std::unique_ptr<AzureWriter> writer(new AzureWriter(client, name, options, std::move(stop)));
    if (options.must_resume)
        DRAY_TRY(writer->resume());
    else if (options.type == BlobType::Page)
        DRAY_TRY(writer->make_page_blob());
    return writer;
}

// Uncommitted blocks are no blob, and after a week without another one they are nothing (A.3).
Result<void> AzureWriter::resume() {
    AzureRequest request = request_for(options_.type == BlobType::Page ? "HEAD" : "GET", stage_);
    if (options_.type == BlobType::Block) {
        request.query["comp"] = "blocklist";
        request.query["blocklisttype"] = "all";
    }
    DRAY_LET(const Reply reply, client_.call(request, stop_));
    if (!reply.is_good())
        return fail(client_.error_of(reply, "go on with " + name_.path()));
    if (options_.type == BlobType::Block) {
        DRAY_LET(const std::vector<StoredBlock> blocks, parse_block_list(reply.answer.body));
        if (blocks.empty())
            return fail(ErrorKind::NotFound, "the service has no pieces of {}", name_.path());
    }
    has_put_ = true;
    return {};
}

Result<void> AzureWriter::make_page_blob() {
    if (options_.length % kPage != 0)
        return fail(ErrorKind::InvalidArgument, "a page blob of {} bytes: it must be a multiple of {}", options_.length, kPage);
    AzureRequest request = request_for("PUT", stage_);
    request.headers["x-ms-blob-type"] = "PageBlob";
    request.headers["x-ms-blob-content-length"] = std::to_string(options_.length);
    add_condition(request, false);
    DRAY_LET(const Reply reply, client_.call(request, stop_));
    if (!reply.is_good() && !is_taken(reply))  // it goes on with what is there
        return fail(client_.error_of(reply, "begin " + name_.path()));
    has_put_ = true;
    return {};
}

std::string AzureWriter::block_id(const Piece& piece) const {
    const Result<std::vector<std::byte>> given = from_base64(piece.id);
    if (!piece.id.empty() && given && given->size() <= kMaxBlockId)
        return piece.id;
    std::array<std::byte, 16> id{};
    std::memcpy(id.data(), id_prefix_.data(), id_prefix_.size());
    for (std::size_t i = 0; i < 8; ++i)
        id[8 + i] = static_cast<std::byte>(piece.offset >> (56 - 8 * i));
    return to_base64(id);
}

Result<void> AzureWriter::put(const Piece& piece) {
    if (stop_.stop_requested())
        return fail(ErrorKind::Cancelled, "stopped");
    if (piece.length == 0)
        return {};  // a block cannot be empty, and adds nothing
    has_put_ = true;
    return options_.type == BlobType::Page ? put_pages(piece) : put_block(piece);
}

Result<void> AzureWriter::put_block(const Piece& piece) {
    AzureRequest request = request_for("PUT", stage_, "block");
    request.query["blockid"] = block_id(piece);
    DRAY_LET(const Reply reply, send_checked(client_, std::move(request), piece, stop_));
    if (!reply.is_good())
        return fail(client_.error_of(reply, "put a block of " + name_.path()));
    return {};
}

// Some services pass over the hash of a page, so what was sent is hashed here; what was wrong is taken back.
Result<void> AzureWriter::put_pages(const Piece& piece) {
    Digest digest(DigestKind::Md5);
    std::vector<std::byte> chunk;
    for (Bytes done = 0; done < piece.length; done += chunk.size()) {
        const auto part = piece.content.subspan(done, std::min<Bytes>(kMostPages, piece.length - done));
        chunk.assign(part.begin(), part.end());
        digest.update(chunk);
        DRAY_TRY(put_page_range(piece.offset + done, chunk));
    }
    if (piece.md5 == Md5Hash{} || std::ranges::equal(digest.finish(), piece.md5))
        return {};
    for (Bytes done = 0; done < piece.length; done += kMostPages) {
        AzureRequest request = request_for("PUT", stage_, "page");
        const Bytes length = std::min<Bytes>(kMostPages, piece.length - done);
        request.headers["x-ms-page-write"] = "clear";
        request.headers["x-ms-range"] = fmt::format("bytes={}-{}", piece.offset + done, piece.offset + done + length - 1);
        DRAY_LET(const Reply reply, client_.call(request, stop_));
        if (!reply.is_good())
            return fail(client_.error_of(reply, "clear pages of " + name_.path()));
    }
    return fail(ErrorKind::Corrupt, "the content has changed since it was verified");
}

Result<void> AzureWriter::put_page_range(Bytes offset, std::span<const std::byte> content) {
    AzureRequest request = request_for("PUT", stage_, "page");
    request.headers["x-ms-page-write"] = "update";
    request.headers["x-ms-range"] = fmt::format("bytes={}-{}", offset, offset + content.size() - 1);
    const Piece part{offset, content.size(), {}, {}, content};
    DRAY_LET(const Reply reply, send_checked(client_, std::move(request), part, stop_));
    if (!reply.is_good())
        return fail(client_.error_of(reply, "put pages of " + name_.path()));
    return {};
}

// Other uploads' ids may begin as ours does.
bool AzureWriter::is_ours(const Seen& seen) const {
    return std::string_view(seen.copy_source).substr(0, seen.copy_source.find('?')).ends_with("/" + stage_.name);
}

Result<bool> AzureWriter::look_at_name() {
    const Result<Seen> seen = look_at(client_, name_, stop_);
    if (!seen && seen.error().kind() == ErrorKind::NotFound)
        return false;
    if (!seen)
        return fail(Error(seen.error()));
    if (!is_ours(*seen))
        return fail(exists(name_));
    if (!has_failed(*seen))
        return true;
    // What a copy that failed leaves behind is an empty blob of ours, in the way of the next try.
    DRAY_TRY(remove_if_there(client_, name_, stop_));
    return false;
}

Result<void> AzureWriter::finish(std::span<const Piece> pieces, const BlobProperties& properties,
                                 const BlobMetadata& metadata) {
    DRAY_TRY(check_metadata(metadata));
    DRAY_LET(const Dress given, dress_of(properties, metadata));
    if (pieces.size() > kMaxBlocks && options_.type == BlobType::Block)
        return fail(ErrorKind::InvalidArgument, "blob {} has {} pieces, and the service takes at most {} blocks",
                    name_.path(), pieces.size(), kMaxBlocks);
    // Before anything is completed: the blocks that are not in the list are gone afterwards.
    if (!options_.replace) {
        DRAY_LET(const bool is_done, look_at_name());
        if (is_done) {
            DRAY_TRY(await_copy());
            return remove_if_there(client_, stage_, stop_);
        }
    }
    if (options_.type == BlobType::Page)
        DRAY_TRY(dress_page_blob(given));
    else
        DRAY_TRY(complete_blocks(pieces, given));
    DRAY_TRY(copy_into_place());
    // The blob is there; what this leaves behind is no part of it.
    if (const Result<void> removed = remove_if_there(client_, stage_, stop_); !removed)
        client_.tell("could not remove " + stage_.path() + ", which is not needed any more: " + removed.error().text());
    return {};
}

Result<void> AzureWriter::complete_blocks(std::span<const Piece> pieces, const Dress& given) {
    AzureRequest request = request_for("PUT", stage_, "blocklist");
    std::vector<std::string> ids;
    for (const Piece& piece : pieces)
        if (piece.length != 0)
            ids.push_back(block_id(piece));
    const std::string list = write_block_list(ids);
    dress(request, given);
    request.headers["Content-Type"] = "application/xml";
    const auto body = std::as_bytes(std::span(list.data(), list.size()));
    DRAY_LET(const Reply reply, send_checked(client_, std::move(request), {0, body.size(), {}, md5(body), body}, stop_));
    if (!reply.is_good())
        return fail(client_.error_of(reply, "complete " + name_.path()));
    return {};
}

Result<void> AzureWriter::dress_page_blob(const Dress& given) {
    AzureRequest properties = request_for("PUT", stage_, "properties");
    properties.headers = given.headers;
    AzureRequest metadata = request_for("PUT", stage_, "metadata");
    metadata.metadata = given.metadata;
    for (const AzureRequest& request : {properties, metadata}) {
        DRAY_LET(const Reply reply, client_.call(request, stop_));
        if (reply.answer.status == 404)
            return fail(ErrorKind::Corrupt, "the service does not have the pages of {}", name_.path());
        if (!reply.is_good())
            return fail(client_.error_of(reply, "complete " + name_.path()));
    }
    return {};
}

Result<void> AzureWriter::copy_into_place() {
    AzureRequest request = request_for("PUT", name_);
    request.headers["x-ms-copy-source"] = client_.source_of(path_of(stage_));
    add_condition(request, options_.replace);
    for (bool may_remove = options_.replace;; may_remove = false) {
        DRAY_LET(const Reply reply, client_.call(request, stop_));
        if (reply.is_good())
            return reply.answer.header("x-ms-copy-status") == "pending" ? await_copy() : Result<void>();
        if (may_remove && is_other_type(reply)) {
            DRAY_TRY(remove_if_there(client_, name_, stop_));
            continue;
        }
        if (!options_.replace && is_taken(reply)) {
            DRAY_LET([[maybe_unused]] const bool is_ours, look_at_name());
            return await_copy();
        }
        return fail(client_.error_of(reply, "publish " + name_.path()));
    }
}

// Within an account a copy is mostly done when the service answers; a large one may take longer.
Result<void> AzureWriter::await_copy() {
    for (;;) {
        DRAY_LET(const Seen seen, look_at(client_, name_, stop_));
        if (!is_ours(seen))
            return fail(ErrorKind::Busy, "blob {} was replaced while it was published", name_.path());
        if (has_failed(seen))
            return fail(ErrorKind::Unreachable, "store \"{}\": cannot publish {}: the service's copy of it ended as \"{}\"",
                        client_.config().name, name_.path(), seen.copy_status);
        if (seen.copy_status != "pending")
            return {};
        client_.pause(kCopyLook, stop_);
        if (stop_.stop_requested())
            return fail(ErrorKind::Cancelled, "stopped");
    }
}

Result<void> AzureWriter::rename(const BlobName& name) {
    DRAY_TRY(check_target(name));
    name_ = name;
    return {};
}

// Uncommitted blocks go when a list without them is committed; then the name goes.
Result<void> AzureWriter::abandon() {
    if (!has_put_.exchange(false))
        return {};
    if (options_.type == BlobType::Block)
        DRAY_TRY(complete_blocks({}, {}));
    return remove_if_there(client_, stage_, stop_);
}

}  // namespace dray::store::azure
