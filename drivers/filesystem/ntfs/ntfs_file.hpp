// SPDX-License-Identifier: Apache-2.0
//
// What kind of thing an MFT record is, and whether it can be read at all.
#pragma once

#include "daemon/base/result.hpp"
#include "drivers/filesystem/ntfs/ntfs_volume.hpp"

namespace dray::fs {

enum class NtfsKind { File, Directory };

/// Unsupported: a file encrypted by EFS, or a reparse point: a link, or a file whose content is elsewhere or packed by
/// Windows; by name. Corrupt: neither a file nor a directory.
Result<NtfsKind> kind_of(NtfsVolume& volume, ntfs_inode& inode, MftReference reference);

}  // namespace dray::fs
