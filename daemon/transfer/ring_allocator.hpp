// SPDX-License-Identifier: Apache-2.0
//
// Hands out extents of the ring (rules.md 10). One thread.
#pragma once

#include <map>
#include <optional>

#include "daemon/base/units.hpp"

namespace dray::transfer {

class RingAllocator {
public:
    /// `size` and every extent are multiples of `alignment`.
    RingAllocator(Bytes size, Bytes alignment);

    /// The offset of an extent of at least `length` bytes; nothing while no gap is long enough.
    std::optional<Bytes> take(Bytes length);
    /// Gives an extent back that take() handed out.
    void give_back(Bytes offset);

    Bytes size() const { return size_; }
    Bytes in_use() const { return in_use_; }

private:
    Bytes alignment_;
    Bytes size_;
    Bytes in_use_ = 0;
    /// Offset and length.
    std::map<Bytes, Bytes> free_;
    std::map<Bytes, Bytes> taken_;
};

}  // namespace dray::transfer
