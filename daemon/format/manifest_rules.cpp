// SPDX-License-Identifier: Apache-2.0
#include "daemon/format/manifest_rules.hpp"

#include <algorithm>
#include <numeric>

#include "daemon/base/encoding.hpp"
#include "daemon/format/xml_text.hpp"

namespace dray::format {

namespace {

using Pieces = std::span<const ManifestPiece>;

Bytes end_of(Pieces pieces) {
    return pieces.empty() ? 0 : pieces.back().offset + pieces.back().length;
}

std::size_t padding_of(std::string_view base64) {
    return base64.size() - std::min(base64.find('='), base64.size());
}

/// Ids stand on every block or on none. The documents want them above 64 MiB; without them we make our own
/// when the blob is sent in blocks, so that nothing is lost by taking such a manifest.
Result<void> check_block_id(Pieces before, const ManifestPiece& piece) {
    if (!before.empty() && before.front().id.empty() != piece.id.empty())
        return fail(ErrorKind::Corrupt, "some blocks of one blob have an Id and some have none");
    if (piece.id.empty())
        return {};
    const auto decoded = from_base64(piece.id);
    if (!decoded || decoded->empty())
        return fail(ErrorKind::Corrupt, "block Id \"{}\" is not Base64", shown(piece.id));
    if (decoded->size() > kMaxBlockId)
        return fail(ErrorKind::Corrupt, "block Id \"{}\" has {} bytes, more than {}", shown(piece.id),
                    decoded->size(), kMaxBlockId);
    if (!before.empty() && (before.front().id.size() != piece.id.size() ||
                            padding_of(before.front().id) != padding_of(piece.id)))
        return fail(ErrorKind::Corrupt, "block Ids of one blob differ in length");
    return {};
}

Result<void> check_block(Pieces before, const ManifestPiece& block) {
    const Bytes expected = end_of(before);
    if (block.offset != expected)
        return fail(ErrorKind::Corrupt, "a block starts at {} where the one before ends at {}", block.offset,
                    expected);
    if (block.length > kMaxBlock)
        return fail(ErrorKind::Corrupt, "a block at {} has {} bytes, more than {}", block.offset,
                    block.length, kMaxBlock);
    return check_block_id(before, block);
}

Result<void> check_page_range(Pieces before, const ManifestPiece& range) {
    if (range.offset % kPage != 0 || range.length % kPage != 0)
        return fail(ErrorKind::Corrupt, "page range {}+{} is not in multiples of {}", range.offset,
                    range.length, kPage);
    if (range.length > kMaxPageRange)
        return fail(ErrorKind::Corrupt, "page range {}+{} has more than {} bytes", range.offset, range.length,
                    kMaxPageRange);
    if (range.offset < end_of(before))
        return fail(ErrorKind::Corrupt, "page range {}+{} overlaps or precedes the one before it",
                    range.offset, range.length);
    return {};
}

/// Blocks that share an Id share their content too: a store keeps the last one sent under an Id, and the
/// other would be lost without anybody noticing.
Result<void> check_repeated_ids(const ManifestBlob& blob) {
    if (blob.pieces.empty() || blob.pieces.front().id.empty())
        return {};
    std::vector<std::uint32_t> order(blob.pieces.size());
    std::iota(order.begin(), order.end(), 0U);
    std::ranges::sort(order, {}, [&](std::uint32_t i) -> const std::string& { return blob.pieces[i].id; });
    for (std::size_t i = 1; i < order.size(); ++i) {
        const ManifestPiece& one = blob.pieces[order[i - 1]];
        const ManifestPiece& other = blob.pieces[order[i]];
        if (one.id == other.id && (one.hash != other.hash || one.length != other.length))
            return fail(ErrorKind::Corrupt, "blocks at {} and {} have the same Id and different content",
                        std::min(one.offset, other.offset), std::max(one.offset, other.offset));
    }
    return {};
}

}  // namespace

Result<void> check_next_piece(bool is_page_blob, std::span<const ManifestPiece> before,
                              const ManifestPiece& piece, const ManifestLimits& limits) {
    const std::string_view what = is_page_blob ? "page range" : "block";
    const std::size_t most = is_page_blob ? limits.page_ranges : limits.blob_pieces;
    if (before.size() >= most)
        return fail(ErrorKind::LimitReached, "a blob has more than {} {}s", most, what);
    if (piece.length == 0)
        return fail(ErrorKind::Corrupt, "a {} at {} has no bytes", what, piece.offset);
    if (piece.offset + piece.length < piece.offset)
        return fail(ErrorKind::Corrupt, "a {} at {} ends beyond 64 bits", what, piece.offset);
    return is_page_blob ? check_page_range(before, piece) : check_block(before, piece);
}

Result<void> check_complete(const ManifestBlob& blob) {
    if (!blob.is_page_blob) {
        if (end_of(blob.pieces) != blob.length)
            return fail(ErrorKind::Corrupt, "the blocks of blob \"{}\" cover {} bytes of {}",
                        shown(blob.blob_path), end_of(blob.pieces), blob.length);
        return check_repeated_ids(blob);
    }
    if (blob.length % kPage != 0)
        return fail(ErrorKind::Corrupt, "the Length {} of page blob \"{}\" is no multiple of {}", blob.length,
                    shown(blob.blob_path), kPage);
    if (end_of(blob.pieces) > blob.length)
        return fail(ErrorKind::Corrupt, "a page range of blob \"{}\" ends at {}, beyond its Length {}",
                    shown(blob.blob_path), end_of(blob.pieces), blob.length);
    return {};
}

Result<void> check_blob(const ManifestBlob& blob, const ManifestLimits& limits) {
    const Pieces pieces = blob.pieces;
    for (std::size_t i = 0; i < pieces.size(); ++i)
        DRAY_TRY(check_next_piece(blob.is_page_blob, pieces.first(i), pieces[i], limits));
    return check_complete(blob);
}

}  // namespace dray::format
