// SPDX-License-Identifier: Apache-2.0
//
// FAT12, FAT16 and FAT32 with long names, read without the kernel.
#pragma once

#include <memory>

#include "drivers/filesystem/cluster/cluster_reader.hpp"

namespace dray::fs {

class FatReader : public ClusterReader {
public:
    /// Unsupported: a version that is not known. Corrupt: a damaged first sector, or a file system longer than its
    /// device (a truncated image). `device` must outlive it.
    static Result<std::unique_ptr<FatReader>> open(volume::BlockDevice& device);

    std::string_view type() const override { return type_; }

private:
    using ClusterReader::ClusterReader;
    std::string_view type_;
};

}  // namespace dray::fs
