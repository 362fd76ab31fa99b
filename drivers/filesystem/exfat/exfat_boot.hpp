// SPDX-License-Identifier: Apache-2.0
//
// The boot region of an exFAT: what lies where, guarded by a checksum and there twice.
#pragma once

#include "daemon/base/result.hpp"
#include "drivers/filesystem/cluster/fat_table.hpp"

namespace dray::fs {

struct ExfatBoot {
    ClusterHeap heap;
    FatTable::Layout table;
    std::uint32_t root_cluster = 0;
    bool is_dirty = false;
    bool has_media_failed = false;
    /// The first boot region was damaged; this is of the second one.
    bool is_backup = false;
};

/// Corrupt: damaged in both copies, sizes that cannot be, or more than the volume has (a truncated image). Unsupported:
/// a version that is not known.
Result<ExfatBoot> read_exfat_boot(LineCache& cache);

}  // namespace dray::fs
