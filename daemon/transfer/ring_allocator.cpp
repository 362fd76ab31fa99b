// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/ring_allocator.hpp"

#include <algorithm>
#include <cassert>
#include <iterator>

namespace dray::transfer {

RingAllocator::RingAllocator(Bytes size, Bytes alignment)
    : alignment_(alignment), size_(size / alignment * alignment) {
    free_[0] = size_;
}

std::optional<Bytes> RingAllocator::take(Bytes length) {
    const Bytes needed = std::max<Bytes>((length + alignment_ - 1) / alignment_, 1) * alignment_;
    const auto gap = std::ranges::find_if(free_, [&](const auto& item) { return item.second >= needed; });
    if (gap == free_.end())
        return std::nullopt;
    const auto [offset, size] = *gap;
    free_.erase(gap);
    if (size > needed)
        free_[offset + needed] = size - needed;
    taken_[offset] = needed;
    in_use_ += needed;
    return offset;
}

void RingAllocator::give_back(Bytes offset) {
    const auto taken = taken_.find(offset);
    assert(taken != taken_.end());
    Bytes length = taken->second;
    taken_.erase(taken);
    in_use_ -= length;
    auto next = free_.upper_bound(offset);
    if (next != free_.end() && offset + length == next->first) {
        length += next->second;
        next = free_.erase(next);
    }
    if (next != free_.begin()) {
        const auto before = std::prev(next);
        if (before->first + before->second == offset) {
            before->second += length;
            return;
        }
    }
    free_[offset] = length;
}

}  // namespace dray::transfer
