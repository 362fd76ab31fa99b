// SPDX-License-Identifier: Apache-2.0
//
// Appends entries to the directories of an ext4 that nobody else writes. ext2fs_link looks for room
// from the start of the directory every time, which makes many files in one directory slow beyond
// measure.
#pragma once

#include <ext2fs/ext2fs.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "drivers/filesystem/ext4/block_io.hpp"

namespace dray::fs {

/// Where the next entry of a directory goes.
struct DirectoryEnd {
    ext2_ino_t inode = 0;
    /// How many blocks the directory has, and which one, by number and place, is being filled.
    std::uint32_t blocks = 0;
    std::uint32_t logical = 0;
    blk64_t physical = 0;
    /// Of the last entry in that block.
    std::uint32_t last_entry = 0;
};

/// Names as a set of hashes: whether a name is in a directory is looked up on the drive only if its
/// hash is known. 16 bytes a name or less, for millions of them.
class NameHashes {
public:
    static std::uint64_t hash(ext2_ino_t directory, std::string_view name);
    bool contains(std::uint64_t hash) const;
    void insert(std::uint64_t hash);

private:
    std::size_t slot_of(std::uint64_t hash) const;
    /// Open addressing; 0 is an empty slot. The size is a power of two, at most three quarters
    /// full.
    std::vector<std::uint64_t> slots_;
    std::size_t used_ = 0;
};

class DirectoryWriter {
public:
    /// Both must outlive it.
    DirectoryWriter(ext2_filsys fs, BlockIo& io) : fs_(fs), io_(io) {}

    /// The end of a directory that is new: in its first block.
    Result<DirectoryEnd> find_end(ext2_ino_t directory);

    /// The end of a directory that was filled before; its names are added to `names`. Internal: it is not as it was
    /// written.
    Result<DirectoryEnd> open(ext2_ino_t directory, NameHashes& names);

    /// Writes the first block, at `block`, of a new directory.
    Result<DirectoryEnd> begin(ext2_ino_t directory, ext2_ino_t parent, blk64_t block);

    Result<bool> contains(const DirectoryEnd& directory, std::string_view name);

    /// NotFound: there is no such name.
    Result<ext2_ino_t> find(const DirectoryEnd& directory, std::string_view name);

    /// Takes the entry of this name out. NotFound: there is none.
    Result<void> remove(DirectoryEnd& directory, std::string_view name, ext2_ino_t inode);

    /// Makes room for an entry of this name; new blocks are looked for from `goal`, which moves on.
    /// NoSpace: there are none. Nothing but the directory's size has changed afterwards.
    Result<void> reserve(DirectoryEnd& directory, std::string_view name, blk64_t& goal);

    /// After reserve() of this name. `type` is of EXT2_FT_*.
    Result<void> append(DirectoryEnd& directory, std::string_view name, ext2_ino_t inode, int type);

private:
    Result<void> load(const DirectoryEnd& directory);
    Result<void> store(const DirectoryEnd& directory);
    Result<bool> has_room(const DirectoryEnd& directory, std::string_view name);
    Result<void> go_to(DirectoryEnd& directory, std::uint32_t logical);
    Result<bool> take_names(ext2_ino_t directory, NameHashes& names) const;
    Result<void> grow(DirectoryEnd& directory, blk64_t& goal);

    ext2_filsys fs_;
    BlockIo& io_;
    std::vector<char> block_ = std::vector<char>(fs_->blocksize);
};

}  // namespace dray::fs
