// SPDX-License-Identifier: Apache-2.0
//
// Where pieces are on their way from the drive into the store. dray-drive can write to the ring at any time; what is
// hashed and put for a store that does not check it lies in private memory, so that what was verified is what is
// stored (rules.md 11). Both together hold no more than the ring was to have. One thread.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <span>

#include "daemon/base/units.hpp"
#include "daemon/drive/protocol.hpp"
#include "daemon/transfer/ring_allocator.hpp"

namespace dray::transfer {

/// How the bytes in flight are shared out. In the ring a piece waits for dray-drive to read it, and is then copied; in
/// private memory it waits for the other lanes of the hash, and for the store: most of it belongs there.
struct MemoryShare {
    Bytes ring = 0;
    Bytes copies = 0;

    /// `checks_at_far_end`: the store's. Whole pieces stay in the ring then; parts of larger ones do not.
    static MemoryShare of(Bytes size, bool checks_at_far_end) {
        // Either can hold the longest read when there is room for two (the smallest ring of the configuration has it),
        // and the ring better two of them.
        const Bytes third = std::max(size / 3, std::min(2 * drive::kMaxRead, size / 2));
        const Bytes share = third / drive::kRingAlignment * drive::kRingAlignment;
        return {checks_at_far_end ? size : share, checks_at_far_end ? share : size - share};
    }
};

class PieceMemory {
public:
    explicit PieceMemory(Bytes size)
        : extents_(size, drive::kRingAlignment), bytes_(std::make_unique_for_overwrite<std::byte[]>(size)) {}

    /// The offset of a copy; nothing while there is no room for it.
    std::optional<Bytes> copy(std::span<const std::byte> content) {
        const std::optional<Bytes> offset = extents_.take(content.size());
        if (offset)
            std::memcpy(bytes_.get() + *offset, content.data(), content.size());
        return offset;
    }
    std::span<const std::byte> at(Bytes offset, Bytes length) const { return {bytes_.get() + offset, length}; }
    void give_back(Bytes offset) { extents_.give_back(offset); }

private:
    RingAllocator extents_;
    /// Untouched memory is no memory.
    std::unique_ptr<std::byte[]> bytes_;
};

}  // namespace dray::transfer
