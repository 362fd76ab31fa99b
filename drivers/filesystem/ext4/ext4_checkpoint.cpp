// SPDX-License-Identifier: Apache-2.0
//
// What of Ext4Writer has to do with checkpoints: taking them, going on from one, and taking files away.
#include <algorithm>
#include <cstring>
#include <ctime>
#include <utility>

#include "drivers/filesystem/ext4/ext4_superblock.hpp"
#include "drivers/filesystem/ext4/ext4_writer.hpp"

namespace dray::fs {
namespace {

using ExtentHandle = Handle<ext2_extent_handle, ext2fs_extent_free>;

/// So many subdirectories and more are not counted by a directory's links.
constexpr std::uint32_t kUncounted = EXT2_LINK_MAX;

Error not_as_written(BlockIo& io, errcode_t code) {
    return io.error_of(code, "the file system is not as it was written", ErrorKind::Corrupt);
}

}  // namespace

Result<void> Ext4Writer::flush() {
    for (const auto& [block, count] : std::exchange(freed_, {})) {
        ext2fs_block_alloc_stats_range(fs_.get(), block, count, -1);
        changed_.add_freed(block, count);
    }
    errcode_t error = ext2fs_set_gdt_csum(fs_.get());
    if (error == 0)
        error = ext2fs_flush(fs_.get());
    if (error != 0)
        return fail(
            io_.error_of(error, "the file system cannot be completed", ErrorKind::Internal));
    return {};
}

/// With the device as memory is.
void Ext4Writer::hold() {
    cache_.hold();
    changed_.watch(fs_.get());
    fs_->flags |= EXT2_FLAG_MASTER_SB_ONLY;
    const char* descriptors = reinterpret_cast<const char*>(ext2fs_group_desc(fs_.get(), fs_->group_desc, 0));
    descriptors_.assign(descriptors, descriptors + fs_->desc_blocks * kExt4Block);
}

Result<void> Ext4Writer::begin_checkpoints() {
    DRAY_TRY(check_broken());
    Result<void> begun = flush();
    if (begun)
        begun = content_.sync();
    if (begun)
        begun = cache_.sync();
    if (begun)
        hold();
    else
        broken_ = begun.error();
    return begun;
}

/// libext2fs writes the whole table each time.
void Ext4Writer::drop_unchanged_descriptors() {
    const char* now = reinterpret_cast<const char*>(ext2fs_group_desc(fs_.get(), fs_->group_desc, 0));
    for (std::size_t i = 0; i < fs_->desc_blocks; ++i) {
        char* const before = descriptors_.data() + i * kExt4Block;
        if (std::memcmp(before, now + i * kExt4Block, kExt4Block) == 0)
            cache_.held().erase(
                ext2fs_descriptor_block_loc2(fs_.get(), fs_->super->s_first_data_block, static_cast<dgrp_t>(i)));
        else
            std::memcpy(before, now + i * kExt4Block, kExt4Block);
    }
}

Result<MetadataCache::Blocks*> Ext4Writer::collect(bool is_last) {
    DRAY_TRY(check_broken());
    Result<void> collected = content_.sync();
    if (is_last)
        fs_->flags &= ~EXT2_FLAG_MASTER_SB_ONLY;
    if (collected)
        collected = flush();
    if (!collected) {
        broken_ = collected.error();
        return fail(std::move(collected.error()));
    }
    drop_unchanged_descriptors();
    return &cache_.held();
}

void Ext4Writer::settle() { cache_.forget(); }

Result<void> Ext4Writer::free_blocks_of(ext2_ino_t inode) {
    ext2_extent_handle_t bare = nullptr;
    errcode_t error = ext2fs_extent_open(fs_.get(), inode, &bare);
    const ExtentHandle tree(bare);
    ext2fs_extent extent{};
    for (int step = EXT2_EXTENT_ROOT; error == 0; step = EXT2_EXTENT_NEXT) {
        error = ext2fs_extent_get(tree.get(), step, &extent);
        if (error != 0 || (extent.e_flags & EXT2_EXTENT_FLAGS_SECOND_VISIT) != 0)
            continue;
        // An entry above the leaves names the block of the node below it.
        freed_.emplace_back(extent.e_pblk, (extent.e_flags & EXT2_EXTENT_FLAGS_LEAF) != 0 ? extent.e_len : 1);
    }
    // No tree, or its end.
    if (error != EXT2_ET_EXTENT_NO_NEXT && error != EXT2_ET_NO_CURRENT_NODE)
        return fail(io_.error_of(error, "its blocks are not found", ErrorKind::Internal));
    return {};
}

Result<void> Ext4Writer::remove_file(const Place& place, ext2_ino_t inode) {
    DRAY_TRY(free_blocks_of(inode));
    DRAY_TRY(entries_->remove(place.parent->end, place.name(), inode));
    ext2_inode_large gone{};
    gone.i_dtime = static_cast<std::uint32_t>(std::time(nullptr));
    const errcode_t error = ext2fs_write_inode_full(fs_.get(), inode, reinterpret_cast<ext2_inode*>(&gone),
                                                    static_cast<int>(sizeof gone));
    if (error != 0)
        return fail(io_.error_of(error, "its inode cannot be written", ErrorKind::Internal));
    ext2fs_inode_alloc_stats2(fs_.get(), inode, -1, 0);
    changed_.add_freed_inode(inode);
    last_inode_ = std::min(last_inode_, inode - 1);
    return {};
}

Result<std::uint32_t> Ext4Writer::remove(std::string_view path) {
    DRAY_TRY(check_broken());
    DRAY_LET(const Place place, place_of(path));
    DRAY_LET(const ext2_ino_t inode, entries_->find(place.parent->end, place.name()));
    ext2_inode status{};
    if (const errcode_t error = ext2fs_read_inode(fs_.get(), inode, &status); error != 0)
        return fail(io_.error_of(error, "its inode cannot be read", ErrorKind::Internal));
    if (!LINUX_S_ISREG(status.i_mode))
        return fail(ErrorKind::InvalidArgument, "it is a directory");
    if (Result<void> removed = remove_file(place, inode); !removed) {
        broken_ = removed.error();
        return fail(std::move(removed.error()));
    }
    return inode;
}

Result<std::unique_ptr<Ext4Writer>> Ext4Writer::resume(volume::BlockDevice& device, std::uint64_t goal) {
    std::unique_ptr<Ext4Writer> writer(new Ext4Writer(device));
    DRAY_TRY(check_superblock(writer->io_));
    ext2_filsys bare = nullptr;
    errcode_t error = ext2fs_open2(writer->io_.name(), nullptr, EXT2_FLAG_RW | EXT2_FLAG_64BITS, 0, 0,
                                   BlockIo::manager(), &bare);
    writer->fs_.reset(bare);
    if (error == 0 && writer->fs_->blocksize != kExt4Block)
        error = EXT2_ET_UNEXPECTED_BLOCK_SIZE;
    if (error == 0)
        error = ext2fs_read_bitmaps(writer->fs_.get());
    if (error != 0)
        return fail(not_as_written(writer->io_, error));
    writer->hold();
    writer->entries_.emplace(writer->fs_.get(), writer->io_);
    const bool is_goal_inside = goal < ext2fs_blocks_count(writer->fs_->super);
    writer->goal_ = is_goal_inside ? goal : writer->fs_->super->s_first_data_block;
    DRAY_TRY(writer->open_old_directories());
    return writer;
}

Result<void> Ext4Writer::open_old_directories() {
    is_resumed_ = true;
    last_inode_ = EXT2_FIRST_INODE(fs_->super);
    Directory root;
    DRAY_LET(root.end, entries_->open(EXT2_ROOT_INO, names_));
    ext2_inode status{};
    if (const errcode_t error = ext2fs_read_inode(fs_.get(), EXT2_ROOT_INO, &status); error != 0)
        return fail(not_as_written(io_, error));
    root.subdirectories = status.i_links_count < 2 ? kUncounted : status.i_links_count - 2U;
    directories_[""] = root;
    DRAY_LET(const Directory* lost, find_directory(kLostAndFound));
    if (const errcode_t error = ext2fs_read_inode(fs_.get(), lost->end.inode, &status); error != 0)
        return fail(not_as_written(io_, error));
    is_lost_and_found_ours_ = (status.i_mode & 0077) == 0;
    return {};
}

Result<Ext4Writer::Directory*> Ext4Writer::open_directory(const Directory& parent, std::string_view path,
                                                          std::string_view name) {
    const Result<ext2_ino_t> inode = entries_->find(parent.end, name);
    if (!inode && inode.error().kind() == ErrorKind::NotFound)
        return fail(ErrorKind::NotFound, "there is no directory {}", path);
    if (!inode)
        return fail(Error(inode.error()));
    ext2_inode status{};
    if (const errcode_t error = ext2fs_read_inode(fs_.get(), *inode, &status); error != 0)
        return fail(not_as_written(io_, error));
    if (!LINUX_S_ISDIR(status.i_mode))
        return fail(ErrorKind::NotFound, "there is no directory {}", path);
    Directory directory;
    DRAY_LET(directory.end, entries_->open(*inode, names_));
    directory.subdirectories = status.i_links_count < 2 ? kUncounted : status.i_links_count - 2U;
    return &directories_.insert_or_assign(std::string(path), directory).first->second;
}

/// `path` is normal. After a resume directories are opened when they are first asked for.
Result<Ext4Writer::Directory*> Ext4Writer::find_directory(std::string_view path) {
    if (const auto known = directories_.find(std::string(path)); known != directories_.end())
        return &known->second;
    if (!is_resumed_)
        return fail(ErrorKind::NotFound, "there is no directory {}", path);
    Directory* directory = &directories_.at("");
    for (std::size_t begin = 0; begin < path.size();) {
        const std::size_t end = std::min(path.find('/', begin), path.size());
        const std::string_view up_to_here = path.substr(0, end);
        const auto known = directories_.find(std::string(up_to_here));
        if (known != directories_.end()) {
            directory = &known->second;
        } else {
            DRAY_LET(directory, open_directory(*directory, up_to_here, path.substr(begin, end - begin)));
        }
        begin = end + 1;
    }
    return directory;
}

Result<NewFile> Ext4Writer::reopen(std::uint32_t inode, Bytes size, std::map<Bytes, Bytes> written) {
    ext2_inode_large status{};
    ext2_inode* const small = reinterpret_cast<ext2_inode*>(&status);
    const bool is_inside = inode > EXT2_FIRST_INODE(fs_->super) && inode <= fs_->super->s_inodes_count;
    if (const errcode_t error = is_inside ? ext2fs_read_inode_full(fs_.get(), inode, small, sizeof status)
                                          : EXT2_ET_BAD_INODE_NUM;
        error != 0)
        return fail(io_.error_of(error, "a file that was being filled is not found", ErrorKind::InvalidArgument));
    if (!LINUX_S_ISREG(status.i_mode) || status.i_links_count != 1 || EXT2_I_SIZE(&status) != size)
        return fail(ErrorKind::InvalidArgument, "a file that was being filled is another one");
    NewFile file;
    file.size_ = size;
    file.inode_ = inode;
    file.written_ = std::move(written);
    DRAY_LET(file.runs_, runs_of(inode, status));
    const std::uint64_t blocks = size / kExt4Block + (size % kExt4Block != 0 ? 1 : 0);
    const std::uint64_t last = file.runs_.empty() ? 0 : file.runs_.back().logical + file.runs_.back().length;
    std::uint64_t count = 0;
    for (const NewFile::Run& run : file.runs_)
        count += run.length;
    if (last != blocks || count != blocks)
        return fail(ErrorKind::InvalidArgument, "a file that was being filled has not the blocks that it had");
    return file;
}

}  // namespace dray::fs
