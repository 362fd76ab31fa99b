// SPDX-License-Identifier: Apache-2.0
//
// Writes the bitmaps of an ext4 at a flush, of those groups alone in which something has changed: libext2fs writes all
// of them, which are gigabytes on a large drive. One thread.
#pragma once

#include <ext2fs/ext2fs.h>

#include <cstdint>
#include <set>
#include <vector>

namespace dray::fs {

class ChangedGroups {
public:
    ChangedGroups() = default;
    ChangedGroups(const ChangedGroups&) = delete;
    ChangedGroups& operator=(const ChangedGroups&) = delete;

    /// From now on, with all bitmaps on the device as they are in memory. Must outlive `fs`, whose priv_data it takes.
    void watch(ext2_filsys fs);
    // What is taken shows in a group's count of what is free, unless as much was given back: this is told.
    void add_freed(blk64_t block, std::uint32_t count);
    void add_freed_inode(ext2_ino_t inode);

private:
    static ChangedGroups& of(ext2_filsys fs) { return *static_cast<ChangedGroups*>(fs->priv_data); }
    static errcode_t write(ext2_filsys fs);
    errcode_t write_changed();
    errcode_t write_blocks(dgrp_t group);
    errcode_t write_inodes(dgrp_t group);

    ext2_filsys fs_ = nullptr;
    /// Groups in which something was given back, and what was free in each group at the last flush.
    std::set<dgrp_t> blocks_;
    std::set<dgrp_t> inodes_;
    std::vector<std::uint32_t> free_blocks_;
    std::vector<std::uint32_t> free_inodes_;
};

}  // namespace dray::fs
