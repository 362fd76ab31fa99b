// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ext4/changed_groups.hpp"

namespace dray::fs {
namespace {

/// A bitmap's block; what lies behind the last block or inode of a group counts as taken.
std::vector<char> empty_bitmap(ext2_filsys fs) { return std::vector<char>(fs->blocksize, '\xff'); }

}  // namespace

void ChangedGroups::watch(ext2_filsys fs) {
    fs_ = fs;
    fs->priv_data = this;
    fs->write_bitmaps = &write;
    free_blocks_.resize(fs->group_desc_count);
    free_inodes_.resize(fs->group_desc_count);
    for (dgrp_t group = 0; group < fs->group_desc_count; ++group) {
        free_blocks_[group] = ext2fs_bg_free_blocks_count(fs, group);
        free_inodes_[group] = ext2fs_bg_free_inodes_count(fs, group);
    }
    fs->flags &= ~(EXT2_FLAG_BB_DIRTY | EXT2_FLAG_IB_DIRTY);
}

void ChangedGroups::add_freed(blk64_t block, std::uint32_t count) {
    if (fs_ == nullptr || count == 0)
        return;
    const dgrp_t last = ext2fs_group_of_blk2(fs_, block + count - 1);
    for (dgrp_t group = ext2fs_group_of_blk2(fs_, block); group <= last; ++group)
        blocks_.insert(group);
}

void ChangedGroups::add_freed_inode(ext2_ino_t inode) {
    if (fs_ != nullptr)
        inodes_.insert(ext2fs_group_of_ino(fs_, inode));
}

errcode_t ChangedGroups::write(ext2_filsys fs) { return of(fs).write_changed(); }

errcode_t ChangedGroups::write_changed() {
    for (dgrp_t group = 0; group < fs_->group_desc_count; ++group) {
        const std::uint32_t free_blocks = ext2fs_bg_free_blocks_count(fs_, group);
        const std::uint32_t free_inodes = ext2fs_bg_free_inodes_count(fs_, group);
        errcode_t error = 0;
        if (free_blocks != free_blocks_[group] || blocks_.contains(group))
            error = write_blocks(group);
        if (error == 0 && (free_inodes != free_inodes_[group] || inodes_.contains(group)))
            error = write_inodes(group);
        if (error != 0)
            return error;
        free_blocks_[group] = free_blocks;
        free_inodes_[group] = free_inodes;
    }
    blocks_.clear();
    inodes_.clear();
    fs_->flags &= ~(EXT2_FLAG_BB_DIRTY | EXT2_FLAG_IB_DIRTY);
    return 0;
}

errcode_t ChangedGroups::write_blocks(dgrp_t group) {
    std::vector<char> bitmap = empty_bitmap(fs_);
    const std::size_t per_group = fs_->super->s_blocks_per_group;
    const blk64_t first = ext2fs_group_first_block2(fs_, group);
    const blk64_t count = ext2fs_group_last_block2(fs_, group) - first + 1;
    errcode_t error = ext2fs_get_block_bitmap_range2(fs_->block_map, first, per_group, bitmap.data());
    for (std::size_t bit = count; bit < per_group; ++bit)
        ext2fs_set_bit(static_cast<unsigned>(bit), bitmap.data());
    if (error == 0)
        error = ext2fs_block_bitmap_csum_set(fs_, group, bitmap.data(), static_cast<int>(per_group / 8));
    if (error != 0)
        return error;
    ext2fs_group_desc_csum_set(fs_, group);
    return io_channel_write_blk64(fs_->io, ext2fs_block_bitmap_loc(fs_, group), 1, bitmap.data());
}

errcode_t ChangedGroups::write_inodes(dgrp_t group) {
    std::vector<char> bitmap = empty_bitmap(fs_);
    const std::size_t per_group = fs_->super->s_inodes_per_group;
    const ext2_ino_t first = group * fs_->super->s_inodes_per_group + 1;
    errcode_t error = ext2fs_get_inode_bitmap_range2(fs_->inode_map, first, per_group, bitmap.data());
    if (error == 0)
        error = ext2fs_inode_bitmap_csum_set(fs_, group, bitmap.data(), static_cast<int>(per_group / 8));
    if (error != 0)
        return error;
    ext2fs_group_desc_csum_set(fs_, group);
    return io_channel_write_blk64(fs_->io, ext2fs_inode_bitmap_loc(fs_, group), 1, bitmap.data());
}

}  // namespace dray::fs
