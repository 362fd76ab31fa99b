// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/piece_hasher.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "daemon/format/manifest_rules.hpp"

namespace dray::ctl {
namespace {

constexpr std::size_t kPage = format::kPage;
constexpr std::array<std::byte, 64 * kKiB> kZeros{};

bool is_zero(std::span<const std::byte> page) {
    return std::memcmp(page.data(), kZeros.data(), page.size()) == 0;
}

}  // namespace

void PieceHasher::begin(Bytes piece_length, bool is_page_blob) {
    is_page_blob_ = is_page_blob;
    piece_length_ = piece_length;
    offset_ = 0;
    piece_begin_ = 0;
    has_hashed_ = false;
    pieces_.clear();
}

void PieceHasher::update(std::span<const std::byte> bytes) {
    file_digest_.update(bytes);
    while (!bytes.empty()) {
        const auto part = bytes.first(static_cast<std::size_t>(
            std::min<Bytes>(bytes.size(), piece_begin_ + piece_length_ - offset_)));
        bytes = bytes.subspan(part.size());
        if (is_page_blob_)
            add_pages(part);
        else
            add_filled(part);
        if (offset_ == piece_begin_ + piece_length_)
            end_piece();
    }
}

void PieceHasher::add_pages(std::span<const std::byte> pages) {
    while (!pages.empty()) {
        // Runs of pages that are alike are dealt with at once.
        const auto page_at = [&](std::size_t at) { return pages.subspan(at, std::min(kPage, pages.size() - at)); };
        const bool is_empty = is_zero(page_at(0));
        std::size_t end = std::min(kPage, pages.size());
        while (end < pages.size() && is_zero(page_at(end)) == is_empty)
            end = std::min(end + kPage, pages.size());
        if (is_empty)
            offset_ += end;
        else
            add_filled(pages.first(end));
        pages = pages.subspan(end);
    }
}

void PieceHasher::add_filled(std::span<const std::byte> pages) {
    if (!std::exchange(has_hashed_, true)) {
        hashed_begin_ = offset_;
        hashed_end_ = offset_;
    }
    // Zeros that were passed over and turn out to lie in the middle.
    for (; hashed_end_ < offset_; hashed_end_ += std::min<Bytes>(kZeros.size(), offset_ - hashed_end_))
        piece_digest_.update(
            std::span(kZeros).first(static_cast<std::size_t>(std::min<Bytes>(kZeros.size(), offset_ - hashed_end_))));
    piece_digest_.update(pages);
    offset_ += pages.size();
    hashed_end_ = offset_;
}

void PieceHasher::end_piece() {
    if (std::exchange(has_hashed_, false)) {
        HashedPiece& piece = pieces_.emplace_back(HashedPiece{hashed_begin_, hashed_end_ - hashed_begin_, {}});
        std::ranges::copy(piece_digest_.finish(), piece.hash.begin());
    }
    piece_begin_ = offset_;
}

HashedFile PieceHasher::finish() {
    if (offset_ != piece_begin_)
        end_piece();
    return {std::move(pieces_), file_digest_.finish()};
}

}  // namespace dray::ctl
