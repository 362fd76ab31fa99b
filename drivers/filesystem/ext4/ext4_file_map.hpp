// SPDX-License-Identifier: Apache-2.0
//
// One inode of an ext4: what it is, and where its content lies. libext2fs finds and checks the extents;
// how far it walks is bounded here, because what it walks over was written by others.
#pragma once

#include <ext2fs/ext2fs.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.hpp"
#include "drivers/filesystem/ext4/block_io.hpp"

namespace dray::fs {

class FileMap {
public:
    /// Corrupt: no such inode, or a damaged one. Denied: neither a file nor a directory. Unsupported:
    /// encrypted, protected by verity or compressed. `fs` and `io` must outlive the map.
    static Result<FileMap> open(ext2_filsys fs, BlockIo& io, ext2_ino_t inode);

    ext2_ino_t inode() const { return number_; }
    bool is_directory() const { return LINUX_S_ISDIR(inode_.i_mode); }
    bool is_inline() const { return (inode_.i_flags & EXT4_INLINE_DATA_FL) != 0; }
    /// A directory with a hash tree.
    bool is_hashed() const;
    Bytes size() const { return size_; }
    Bytes block_size() const { return fs_->blocksize; }
    /// Of the file system: nothing honest is longer, holes left out.
    Bytes most_content() const { return ext2fs_blocks_count(fs_->super) * fs_->blocksize; }
    /// Under which a hash tree of this directory has a name. Unsupported: an unknown kind of hash.
    Result<std::uint32_t> name_hash(unsigned version, std::string_view name) const;

    /// Content, straight from the device. Corrupt: beyond the size, or extents that make no sense.
    Result<void> read(Bytes offset, std::span<std::byte> content);
    /// Metadata (of directories), through the cache.
    Result<void> read_cached(Bytes offset, std::span<std::byte> content);
    /// Where the hole ends that `offset` lies in; `offset` itself if it lies in none.
    Result<Bytes> end_of_hole(Bytes offset);

private:
    struct Extent {
        std::uint64_t logical = 0;
        std::uint64_t physical = 0;
        std::uint64_t length = 0;
        bool is_unwritten = false;
    };
    /// So many bytes from an offset lie together at `place`, or are a hole.
    struct Run {
        Bytes length = 0;
        Bytes place = 0;
        bool is_hole = false;
    };

    FileMap(ext2_filsys fs, BlockIo& io, ext2_ino_t number);
    Result<void> read_inode(std::span<std::byte> inode);
    Result<void> check_kind() const;
    Result<void> check_size() const;
    bool has_extents() const { return (inode_.i_flags & EXT4_EXTENTS_FL) != 0; }
    Result<void> load(std::uint64_t block);
    Result<void> load_extents(std::uint64_t block);
    Result<void> load_block_map(std::uint64_t block);
    Result<void> add_extent(const Extent& extent);
    Result<void> add_block(std::uint64_t logical, std::uint64_t physical);
    Result<Run> run_at(Bytes offset);
    template <typename ReadPlace>
    Result<void> read_runs(Bytes offset, std::span<std::byte> content, ReadPlace read_place);
    Error broken(errcode_t code, std::string_view what) const;

    ext2_filsys fs_;
    BlockIo* io_;
    ext2_ino_t number_;
    ext2_inode inode_{};
    Bytes size_ = 0;
    std::vector<std::byte> inline_;

    // The extents of the blocks [window_begin_, window_end_); a heavily fragmented file is looked at in
    // several windows, so that a map has a bounded size.
    std::vector<Extent> extents_;
    std::uint64_t window_begin_ = 0;
    std::uint64_t window_end_ = 0;
};

}  // namespace dray::fs
