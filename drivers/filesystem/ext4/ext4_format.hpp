// SPDX-License-Identifier: Apache-2.0
//
// An empty ext4, made through libext2fs: 64bit, extents, metadata_csum, a journal, 4 KiB blocks.
#pragma once

#include <ext2fs/ext2fs.h>

#include <cstdint>
#include <string>

#include "daemon/base/handle.hpp"
#include "drivers/filesystem/ext4/block_io.hpp"

namespace dray::fs {

inline constexpr std::size_t kExt4Block = 4096;

struct Ext4Format {
    /// Cut to the 16 bytes of the superblock.
    std::string label;
    /// Files and directories that will be made at most.
    std::uint64_t inodes = 0;
};

/// What was not flushed before is lost with it.
using Ext4Handle = Handle<struct_ext2_filsys, ext2fs_free>;

/// The root and lost+found are there; all metadata is overwritten, content of old is nowhere in it.
/// Group descriptors, bitmaps and the superblock are in memory alone until ext2fs_flush. NoSpace:
/// the device is too small, or for so many inodes. LimitReached: more inodes than an ext4 can have.
Result<Ext4Handle> make_ext4(BlockIo& io, const Ext4Format& format);

/// Entries of a directory lie in a block up to here; behind is its checksum.
inline constexpr std::size_t kEntriesEnd = kExt4Block - sizeof(ext2_dir_entry_tail);

}  // namespace dray::fs
