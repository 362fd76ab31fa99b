// SPDX-License-Identifier: Apache-2.0
//
// The superblock, looked at before libext2fs believes in it.
#pragma once

#include <ext2fs/ext2fs.h>

#include <string>

#include "daemon/base/result.hpp"
#include "drivers/filesystem/ext4/block_io.hpp"

namespace dray::fs {

/// Unsupported: features that cannot be read, by name, or the journal of another file system. Corrupt: sizes
/// that cannot be, or that are more than the volume has (a truncated image).
Result<void> check_superblock(BlockIo& io);

/// A sentence for the operator about a file system that was left in the middle of something, or "".
std::string notice_of(const ext2_super_block& super);

}  // namespace dray::fs
