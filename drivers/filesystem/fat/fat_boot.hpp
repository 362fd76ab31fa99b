// SPDX-License-Identifier: Apache-2.0
//
// The first sector of a FAT12, FAT16 or FAT32: what lies where.
#pragma once

#include "daemon/base/result.hpp"
#include "drivers/filesystem/cluster/fat_table.hpp"

namespace dray::fs {

struct FatBoot {
    FatTable::Kind kind = FatTable::Kind::Fat16;
    ClusterHeap heap;
    FatTable::Layout table;
    /// Of FAT12 and FAT16, whose root has no clusters.
    Bytes root_place = 0;
    Bytes root_size = 0;
    /// Of FAT32.
    std::uint32_t root_cluster = 0;
    /// Whoever wrote last says that it was not unmounted.
    bool is_dirty = false;
    /// The first sector was damaged; this is of its copy.
    bool is_backup = false;
};

/// Corrupt: sizes that cannot be, or more than the volume has (a truncated image). Unsupported: a version of FAT32
/// that is not known.
Result<FatBoot> read_fat_boot(LineCache& cache);

}  // namespace dray::fs
