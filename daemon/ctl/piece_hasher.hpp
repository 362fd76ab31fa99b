// SPDX-License-Identifier: Apache-2.0
//
// The pieces of a file as a manifest lists them, and the file's own checksum, from its bytes as they are copied.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "daemon/base/digest.hpp"
#include "daemon/base/units.hpp"

namespace dray::ctl {

struct HashedPiece {
    Bytes offset = 0;
    Bytes length = 0;
    Md5Hash hash{};
};

struct HashedFile {
    std::vector<HashedPiece> pieces;
    /// SHA-256 of all of it.
    std::vector<std::byte> checksum;
};

/// One file after the other. All pieces of a block blob but the last have one length. Of a page blob each stretch of that
/// length has one range, from its first to its last page that is not all zeros, or none.
class PieceHasher {
public:
    /// `piece_length` is a multiple of 512 for a page blob, and so is what update() gets.
    void begin(Bytes piece_length, bool is_page_blob);
    void update(std::span<const std::byte> bytes);
    HashedFile finish();

private:
    void add_pages(std::span<const std::byte> pages);
    void add_filled(std::span<const std::byte> pages);
    void end_piece();

    bool is_page_blob_ = false;
    Bytes piece_length_ = 0;
    /// Of the file, and where the piece in hand begins.
    Bytes offset_ = 0;
    Bytes piece_begin_ = 0;
    /// What of the piece has been hashed: [hashed_begin_, hashed_end_).
    bool has_hashed_ = false;
    Bytes hashed_begin_ = 0;
    Bytes hashed_end_ = 0;
    Digest piece_digest_{DigestKind::Md5};
    Digest file_digest_{DigestKind::Sha256};
    std::vector<HashedPiece> pieces_;
};

}  // namespace dray::ctl
