// SPDX-License-Identifier: Apache-2.0
//
// What blobs are made of: committed blocks, and ranges of pages that have content.
#include <algorithm>
#include <utility>

#include "drivers/store/azure/azure_blobs.hpp"
#include "drivers/store/azure/azure_store.hpp"
#include "drivers/store/azure/azure_xml.hpp"

namespace dray::store::azure {
namespace {

class PieceReader {
public:
    PieceReader(AzureClient& client, const BlobName& name, const std::string& if_match, const std::stop_token& stop)
        : client_(client), name_(name), if_match_(if_match), stop_(stop) {}

    Result<std::optional<std::vector<Piece>>> blocks() {
        AzureRequest request = request_for("GET", name_, "blocklist");
        request.query["blocklisttype"] = "committed";
        DRAY_LET(const Reply reply, client_.call(request, stop_));
        // An append blob has none that could be told.
        if (reply.answer.status == 409 && reply.code == "InvalidBlobType")
            return std::nullopt;
        DRAY_TRY(check(reply));
        DRAY_LET(const std::vector<StoredBlock> blocks, parse_block_list(reply.answer.body));
        // Put in one request: it has no blocks.
        if (blocks.empty())
            return std::nullopt;
        std::vector<Piece> pieces;
        pieces.reserve(blocks.size());
        Bytes offset = 0;
        for (const StoredBlock& block : blocks) {
            if (!block.is_committed)
                continue;
            pieces.push_back({.offset = offset, .length = block.size, .id = block.id, .content = {}});
            offset += block.size;
        }
        return pieces;
    }

    Result<std::optional<std::vector<Piece>>> pages() {
        std::vector<Piece> pieces;
        std::string marker;
        do {
            AzureRequest request = request_for("GET", name_, "pagelist");
            if (!marker.empty())
                request.query["marker"] = marker;
            DRAY_LET(const Reply reply, client_.call(request, stop_));
            DRAY_TRY(check(reply));
            DRAY_LET(PageListing listing, parse_page_list(reply.answer.body));
            for (const auto& [offset, length] : listing.ranges)
                pieces.push_back({.offset = offset, .length = length, .id = {}, .content = {}});
            marker = std::move(listing.marker);
        } while (!marker.empty());
        return pieces;
    }

private:
    Result<void> check(const Reply& reply) const {
        if (!reply.is_good())
            return fail(client_.error_of(reply, "read what " + name_.path() + " is made of"));
        if (!if_match_.empty() && unquoted(reply.answer.header("etag")) != if_match_)
            return fail(ErrorKind::Busy, "blob {} has changed", name_.path());
        return {};
    }

    AzureClient& client_;
    const BlobName& name_;
    const std::string& if_match_;
    const std::stop_token& stop_;
};

/// Whether they make up the blob: in order, none over another, all of it but for the gaps that pages may have.
bool is_whole(const std::vector<Piece>& pieces, const BlobStatus& status) {
    Bytes end = 0;
    for (const Piece& piece : pieces) {
        if (piece.offset < end || piece.length > status.length || piece.offset > status.length - piece.length)
            return false;
        end = piece.offset + piece.length;
    }
    return status.type == BlobType::Page || end == status.length;
}

}  // namespace

Result<std::optional<std::vector<Piece>>> AzureStore::pieces(const BlobName& name, const std::string& if_match,
                                                             std::stop_token stop) {
    DRAY_LET(const Seen seen, look_at(client_, name, stop));
    const BlobStatus& status = seen.status;
    if (!if_match.empty() && status.etag != if_match)
        return fail(ErrorKind::Busy, "blob {} has changed", name.path());
    // Between the two requests it may change: the second is held to what the first has seen.
    PieceReader reader(client_, name, status.etag, stop);
    DRAY_LET(std::optional<std::vector<Piece>> pieces, status.type == BlobType::Page ? reader.pages() : reader.blocks());
    if (pieces && !is_whole(*pieces, status))
        return fail(ErrorKind::Unreachable, "the service tells pieces of {} that do not make it up", name.path());
    return pieces;
}

}  // namespace dray::store::azure
