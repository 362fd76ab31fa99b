// SPDX-License-Identifier: Apache-2.0
//
// exFAT, read without the kernel. The allocation bitmap is never needed: what the entries of files say counts.
#pragma once

#include <memory>

#include "drivers/filesystem/cluster/cluster_reader.hpp"
#include "drivers/filesystem/exfat/exfat_boot.hpp"
#include "drivers/filesystem/exfat/upcase_table.hpp"

namespace dray::fs {

class ExfatReader : public ClusterReader {
public:
    /// Unsupported: a version that is not known. Corrupt: both boot regions are damaged, or a file system longer than
    /// its device (a truncated image). `device` must outlive it.
    static Result<std::unique_ptr<ExfatReader>> open(volume::BlockDevice& device);

    std::string_view type() const override { return "exfat"; }

private:
    using ClusterReader::ClusterReader;
    Result<UpcaseTable> read_upcase(FatTable& table, const FileRecord& root);
};

}  // namespace dray::fs
