// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ext4/block_map.hpp"

#include <cstring>

namespace dray::fs {

BlockMap::BlockMap(ext2_filsys fs, BlockIo& io, const ext2_inode& inode)
    : fs_(fs), io_(io), inode_(inode), pointers_(fs->blocksize / sizeof(std::uint32_t)) {}

std::uint64_t BlockMap::most_blocks(Bytes block_size) {
    const std::uint64_t pointers = block_size / sizeof(std::uint32_t);
    return EXT2_NDIR_BLOCKS + pointers + pointers * pointers + pointers * pointers * pointers;
}

Result<std::uint32_t> BlockMap::pointer(Table& table, std::uint32_t block, std::uint64_t index) {
    if (table.block != block) {
        table.block = 0;
        if (block < fs_->super->s_first_data_block || block >= ext2fs_blocks_count(fs_->super))
            return fail(ErrorKind::Corrupt, "a table of blocks lies outside the file system");
        table.content.resize(fs_->blocksize);
        DRAY_TRY(io_.read(Bytes{block} * fs_->blocksize, table.content));
        table.block = block;
    }
    std::uint32_t value = 0;
    std::memcpy(&value, table.content.data() + index * sizeof value, sizeof value);
    return ext2fs_le32_to_cpu(value);
}

Result<BlockMap::Place> BlockMap::at(std::uint64_t logical) {
    if (logical < EXT2_NDIR_BLOCKS)
        return Place{inode_.i_block[logical]};
    std::uint64_t index = logical - EXT2_NDIR_BLOCKS;
    std::uint64_t covered = pointers_;
    std::size_t depth = 1;
    for (; depth <= tables_.size() && index >= covered; ++depth) {
        index -= covered;
        covered *= pointers_;
    }
    if (depth > tables_.size())
        return fail(ErrorKind::Corrupt, "block {} of a file without extents cannot be", logical);
    std::uint32_t block = inode_.i_block[EXT2_NDIR_BLOCKS + depth - 1];
    for (; depth > 0; --depth) {
        if (block == 0)
            return Place{0, covered - index};
        covered /= pointers_;
        DRAY_LET(block, pointer(tables_[depth - 1], block, index / covered));
        index %= covered;
    }
    return Place{block};
}

}  // namespace dray::fs
