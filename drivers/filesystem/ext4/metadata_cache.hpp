// SPDX-License-Identifier: Apache-2.0
//
// A block device before a block device that keeps small writes back: making a file touches the same
// few blocks of inodes, entries and extents again and again, and small files lie one behind the
// other. Long writes go through, unless it was told to hold everything. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "drivers/volume/volume.hpp"

namespace dray::fs {

class MetadataCache : public volume::BlockDevice {
public:
    static constexpr std::size_t kBlock = 4096;
    /// By number of the block on the device.
    using Blocks = std::map<std::uint64_t, std::vector<std::byte>>;

    /// `device` must outlive it.
    explicit MetadataCache(volume::BlockDevice& device);

    /// Whole blocks of the device.
    Bytes size() const override { return device_.size() / kBlock * kBlock; }
    Bytes sector_size() const override { return kBlock; }
    Result<void> read(Bytes offset, std::span<std::byte> content) override;
    /// Errors of what was kept back come with a later call, with sync() at the latest.
    Result<void> write(Bytes offset, std::span<std::byte> content) override;
    /// Writes what was kept back, in the order of the device, and flushes the device. While it holds: nothing.
    Result<void> sync() override;

    /// From now on nothing that is written reaches the device, however much it is: until forget() it is seen in
    /// reads alone, and bringing held() to its place is the caller's.
    void hold() { is_holding_ = true; }
    Blocks& held() { return kept_; }
    Bytes held_bytes() const { return kept_.size() * kBlock; }
    /// What was held lies in its place.
    void forget() { kept_.clear(); }

private:
    Result<void> check(Bytes offset, std::size_t length) const;
    Result<void> write_back();

    volume::BlockDevice& device_;
    Blocks kept_;
    bool is_holding_ = false;
    /// Blocks on their way, aligned for direct writes.
    std::unique_ptr<std::byte, void (*)(void*)> run_;
};

}  // namespace dray::fs
