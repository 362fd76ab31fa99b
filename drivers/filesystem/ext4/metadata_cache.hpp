// SPDX-License-Identifier: Apache-2.0
//
// A block device before a block device that keeps small writes back: making a file touches the same
// few blocks of inodes, entries and extents again and again, and small files lie one behind the
// other. Long writes go through. One thread.
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

    /// `device` must outlive it.
    explicit MetadataCache(volume::BlockDevice& device);

    /// Whole blocks of the device.
    Bytes size() const override { return device_.size() / kBlock * kBlock; }
    Bytes sector_size() const override { return kBlock; }
    Result<void> read(Bytes offset, std::span<std::byte> content) override;
    /// Errors of what was kept back come with a later call, with sync() at the latest.
    Result<void> write(Bytes offset, std::span<std::byte> content) override;
    /// Writes what was kept back, in the order of the device, and flushes the device.
    Result<void> sync() override;

private:
    Result<void> check(Bytes offset, std::size_t length) const;
    Result<void> write_back();

    volume::BlockDevice& device_;
    std::map<std::uint64_t, std::vector<std::byte>> kept_;
    /// Blocks on their way, aligned for direct writes.
    std::unique_ptr<std::byte, void (*)(void*)> run_;
};

}  // namespace dray::fs
