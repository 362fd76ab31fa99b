// SPDX-License-Identifier: Apache-2.0
//
// Metadata comes in small bites from a device that is read past the page cache: large lines of it are kept
// here. Readers share it; who writes tells it what to forget. One thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "daemon/base/result.hpp"
#include "drivers/volume/volume.hpp"

namespace dray::fs {

class LineCache {
public:
    static constexpr std::size_t kLine = 64 * kKiB;

    /// `device` must outlive it.
    explicit LineCache(volume::BlockDevice& device);

    volume::BlockDevice& device() const { return device_; }

    /// Any offset and length; long reads go past the cache. Corrupt: beyond the end of the device.
    Result<void> read(Bytes offset, std::span<std::byte> content);

    /// The line that `offset` lies in, from memory or from the device.
    Result<std::span<std::byte>> line_at(Bytes offset);
    /// The same if it is in memory; else empty.
    std::span<std::byte> cached_line_at(Bytes offset);
    void forget(Bytes offset, Bytes length);

    /// How often the device was asked for what was not there: what a walk costs.
    std::uint64_t misses() const { return misses_; }

private:
    Result<void> read_in_line(Bytes offset, std::span<std::byte> part);

    volume::BlockDevice& device_;
    /// Direct-mapped: line n of the device sits in slot n modulo the number of slots.
    std::vector<std::byte> lines_;
    std::vector<std::uint64_t> tags_;
    /// Lines with something in them that cannot be read.
    std::vector<std::uint64_t> bad_lines_;
    std::vector<std::byte> scratch_;
    std::uint64_t misses_ = 0;
};

}  // namespace dray::fs
