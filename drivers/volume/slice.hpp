// SPDX-License-Identifier: Apache-2.0
//
// A part of a device as a device of its own: a partition. One thread.
#pragma once

#include "drivers/volume/volume.hpp"

namespace dray::volume {

class Slice : public BlockDevice {
public:
    /// `device` must outlive it. What lies beyond its end is cut off.
    Slice(BlockDevice& device, Bytes offset, Bytes size);

    Bytes size() const override { return size_; }
    Bytes sector_size() const override { return device_.sector_size(); }
    Result<void> read(Bytes offset, std::span<std::byte> content) override;
    Result<void> write(Bytes offset, std::span<std::byte> content) override;
    Result<void> sync() override { return device_.sync(); }

private:
    Result<void> check(Bytes offset, std::size_t length) const;

    BlockDevice& device_;
    Bytes offset_;
    Bytes size_;
};

}  // namespace dray::volume
