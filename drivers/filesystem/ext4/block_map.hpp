// SPDX-License-Identifier: Apache-2.0
//
// Where the blocks of a file without extents are: twelve direct ones, then one, two and three steps of
// tables. Files of ext2 and ext3, and old ones on an ext4 that was converted.
#pragma once

#include <ext2fs/ext2fs.h>

#include <array>
#include <cstdint>
#include <vector>

#include "daemon/base/result.hpp"
#include "drivers/filesystem/ext4/block_io.hpp"

namespace dray::fs {

class BlockMap {
public:
    BlockMap(ext2_filsys fs, BlockIo& io, const ext2_inode& inode);

    /// So many blocks can be named.
    static std::uint64_t most_blocks(Bytes block_size);

    struct Place {
        /// 0: a hole.
        std::uint32_t block = 0;
        /// How many blocks from here on are known to be a hole as well; 1 for a block.
        std::uint64_t length = 1;
    };
    /// Corrupt: past what can be named, or a table outside the file system.
    Result<Place> at(std::uint64_t logical);

private:
    struct Table {
        std::uint32_t block = 0;
        std::vector<std::byte> content;
    };
    Result<std::uint32_t> pointer(Table& table, std::uint32_t block, std::uint64_t index);

    ext2_filsys fs_;
    BlockIo& io_;
    const ext2_inode& inode_;
    std::uint64_t pointers_;
    /// The last one of each step: neighbours share it.
    std::array<Table, 3> tables_;
};

}  // namespace dray::fs
