// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ext4/directory_writer.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <string>
#include <utility>

#include "drivers/filesystem/ext4/ext4_format.hpp"

namespace dray::fs {
namespace {

/// A directory doubles until it grows by so many blocks at a time.
constexpr std::uint32_t kMostGrowth = 64;
/// Where less is free, it grows by single blocks.
constexpr std::uint64_t kPlenty = 4096;
constexpr std::size_t kFirstSlots = 1024;
/// What of an entry stands before its name.
constexpr std::size_t kEntryHead = 8;

std::size_t length_of(std::string_view name) {
    return ext2fs_dir_rec_len(static_cast<std::uint8_t>(name.size()), 0);
}

ext2_dir_entry* entry_at(std::vector<char>& block, std::size_t offset) {
    return reinterpret_cast<ext2_dir_entry*>(block.data() + offset);
}

/// What an entry occupies; one without inode is room.
std::size_t occupied(const ext2_dir_entry& entry) {
    return entry.inode == 0
               ? 0
               : ext2fs_dir_rec_len(static_cast<std::uint8_t>(entry.name_len & 0xff), 0);
}

}  // namespace

std::uint64_t NameHashes::hash(ext2_ino_t directory, std::string_view name) {
    // The multiplier spreads the neighbouring numbers of inodes over all bits.
    const std::uint64_t mixed =
        std::hash<std::string_view>{}(name) ^ (directory * 0x9e3779b97f4a7c15ULL);
    return mixed != 0 ? mixed : 1;
}

std::size_t NameHashes::slot_of(std::uint64_t hash) const {
    std::size_t slot = hash & (slots_.size() - 1);
    while (slots_[slot] != 0 && slots_[slot] != hash)
        slot = (slot + 1) & (slots_.size() - 1);
    return slot;
}

bool NameHashes::contains(std::uint64_t hash) const {
    return !slots_.empty() && slots_[slot_of(hash)] == hash;
}

void NameHashes::insert(std::uint64_t hash) {
    if (4 * (used_ + 1) > 3 * slots_.size()) {
        const std::vector<std::uint64_t> old = std::exchange(
            slots_, std::vector<std::uint64_t>(std::max(kFirstSlots, 2 * slots_.size())));
        for (const std::uint64_t known : old)
            if (known != 0)
                slots_[slot_of(known)] = known;
    }
    std::uint64_t& slot = slots_[slot_of(hash)];
    used_ += slot == 0 ? 1 : 0;
    slot = hash;
}

Result<void> DirectoryWriter::load(const DirectoryEnd& directory) {
    if (const errcode_t error =
            ext2fs_read_dir_block4(fs_, directory.physical, block_.data(), 0, directory.inode);
        error != 0)
        return fail(io_.error_of(error, "a directory cannot be read", ErrorKind::Internal));
    return {};
}

Result<void> DirectoryWriter::store(const DirectoryEnd& directory) {
    if (const errcode_t error =
            ext2fs_write_dir_block4(fs_, directory.physical, block_.data(), 0, directory.inode);
        error != 0)
        return fail(io_.error_of(error, "a directory cannot be written", ErrorKind::Internal));
    return {};
}

Result<void> DirectoryWriter::go_to(DirectoryEnd& directory, std::uint32_t logical) {
    blk64_t physical = 0;
    if (const errcode_t error =
            ext2fs_bmap2(fs_, directory.inode, nullptr, nullptr, 0, logical, nullptr, &physical);
        error != 0 || physical == 0)
        return fail(io_.error_of(error, "a directory's block is not found", ErrorKind::Internal));
    directory.logical = logical;
    directory.physical = physical;
    DRAY_TRY(load(directory));
    std::uint32_t offset = 0;
    for (;;) {
        const std::uint32_t next = offset + entry_at(block_, offset)->rec_len;
        if (next <= offset || next > kEntriesEnd)
            return fail(ErrorKind::Internal, "a directory is not as it was written");
        if (next == kEntriesEnd)
            break;
        offset = next;
    }
    directory.last_entry = offset;
    return {};
}

Result<DirectoryEnd> DirectoryWriter::find_end(ext2_ino_t inode) {
    ext2_inode status{};
    if (const errcode_t error = ext2fs_read_inode(fs_, inode, &status); error != 0)
        return fail(io_.error_of(error, "a directory is not found", ErrorKind::Internal));
    DirectoryEnd directory;
    directory.inode = inode;
    directory.blocks = static_cast<std::uint32_t>(EXT2_I_SIZE(&status) / kExt4Block);
    DRAY_TRY(go_to(directory, 0));
    return directory;
}

Result<DirectoryEnd> DirectoryWriter::begin(ext2_ino_t inode, ext2_ino_t parent, blk64_t block) {
    char* made = nullptr;
    if (const errcode_t error = ext2fs_new_dir_block(fs_, inode, parent, &made); error != 0)
        return fail(io_.error_of(error, "a directory cannot be begun", ErrorKind::Internal));
    std::memcpy(block_.data(), made, block_.size());
    (void)ext2fs_free_mem(static_cast<void*>(&made));  // cannot fail
    DirectoryEnd directory;
    directory.inode = inode;
    directory.blocks = 1;
    directory.physical = block;
    // Behind "." with its 12 bytes comes "..", which has the rest.
    directory.last_entry = 12;
    DRAY_TRY(store(directory));
    return directory;
}

/// The names of the block that was read last; whether there is any.
Result<bool> DirectoryWriter::take_names(ext2_ino_t directory, NameHashes& names) const {
    bool is_used = false;
    for (std::size_t offset = 0; offset < kEntriesEnd;) {
        const ext2_dir_entry& entry = *reinterpret_cast<const ext2_dir_entry*>(block_.data() + offset);
        const std::size_t name_length = entry.name_len & 0xff;
        if (entry.rec_len < kEntryHead + (entry.inode != 0 ? name_length : 0) || entry.rec_len % 4 != 0 ||
            entry.rec_len > kEntriesEnd - offset)
            return fail(ErrorKind::Internal, "a directory is not as it was written");
        const std::string_view name(entry.name, name_length);
        if (entry.inode != 0) {
            is_used = true;
            if (name != "." && name != "..")
                names.insert(NameHashes::hash(directory, name));
        }
        offset += entry.rec_len;
    }
    return is_used;
}

Result<DirectoryEnd> DirectoryWriter::open(ext2_ino_t inode, NameHashes& names) {
    DRAY_LET(DirectoryEnd directory, find_end(inode));
    std::uint32_t last_used = 0;
    for (std::uint32_t logical = 0; logical < directory.blocks; ++logical) {
        DRAY_TRY(go_to(directory, logical));
        DRAY_LET(const bool is_used, take_names(inode, names));
        if (is_used)
            last_used = logical;
    }
    // Behind it lies what the directory has grown by in advance.
    DRAY_TRY(go_to(directory, last_used));
    return directory;
}

Result<ext2_ino_t> DirectoryWriter::find(const DirectoryEnd& directory, std::string_view name) {
    ext2_ino_t found = 0;
    const errcode_t error = ext2fs_lookup(fs_, directory.inode, name.data(),
                                          static_cast<int>(name.size()), nullptr, &found);
    if (error == EXT2_ET_FILE_NOT_FOUND)
        return fail(ErrorKind::NotFound, "it does not exist");
    if (error != 0)
        return fail(io_.error_of(error, "a directory cannot be searched", ErrorKind::Internal));
    return found;
}

Result<bool> DirectoryWriter::contains(const DirectoryEnd& directory, std::string_view name) {
    const Result<ext2_ino_t> found = find(directory, name);
    if (!found && found.error().kind() != ErrorKind::NotFound)
        return fail(Error(found.error()));
    return found.has_value();
}

Result<void> DirectoryWriter::remove(DirectoryEnd& directory, std::string_view name, ext2_ino_t inode) {
    const errcode_t error = ext2fs_unlink(fs_, directory.inode, std::string(name).c_str(), inode, 0);
    if (error == EXT2_ET_DIR_NO_SPACE)
        return fail(ErrorKind::NotFound, "it does not exist");
    if (error != 0)
        return fail(io_.error_of(error, "an entry cannot be taken out of its directory", ErrorKind::Internal));
    // It may have been the last one of the block that is being filled.
    return go_to(directory, directory.logical);
}

Result<bool> DirectoryWriter::has_room(const DirectoryEnd& directory, std::string_view name) {
    DRAY_TRY(load(directory));
    return directory.last_entry + occupied(*entry_at(block_, directory.last_entry)) +
               length_of(name) <=
           kEntriesEnd;
}

Result<void> DirectoryWriter::grow(DirectoryEnd& directory, blk64_t& goal) {
    ext2_inode inode{};
    if (const errcode_t error = ext2fs_read_inode(fs_, directory.inode, &inode); error != 0)
        return fail(io_.error_of(error, "a directory is not found", ErrorKind::Internal));
    const std::uint32_t added = ext2fs_free_blocks_count(fs_->super) < kPlenty
                                    ? 1
                                    : std::min(directory.blocks, kMostGrowth);
    // Extents behind the end of a file would not be taken for written ones.
    const Bytes size = (Bytes{directory.blocks} + added) * kExt4Block;
    errcode_t error = ext2fs_inode_size_set(fs_, &inode, static_cast<ext2_off64_t>(size));
    if (error == 0)
        error = ext2fs_fallocate(fs_, EXT2_FALLOCATE_FORCE_INIT, directory.inode, &inode, goal,
                                 directory.blocks, added);
    if (error != 0)
        return fail(io_.error_of(
            error, "a directory cannot grow",
            error == EXT2_ET_BLOCK_ALLOC_FAIL ? ErrorKind::NoSpace : ErrorKind::Internal));
    // One entry without inode, as long as the block.
    std::fill(block_.begin(), block_.end(), '\0');
    if (ext2fs_set_rec_len(fs_, static_cast<unsigned>(kEntriesEnd), entry_at(block_, 0)) != 0)
        return fail(ErrorKind::Internal, "a directory's block cannot be begun");
    ext2fs_initialize_dirent_tail(fs_, EXT2_DIRENT_TAIL(block_.data(), fs_->blocksize));
    DirectoryEnd empty = directory;
    for (std::uint32_t logical = directory.blocks; logical < directory.blocks + added; ++logical) {
        error = ext2fs_bmap2(fs_, directory.inode, &inode, nullptr, 0, logical, nullptr,
                             &empty.physical);
        if (error != 0 || empty.physical == 0)
            return fail(
                io_.error_of(error, "a directory's block is not found", ErrorKind::Internal));
        goal = empty.physical + 1;
        DRAY_TRY(store(empty));
    }
    if (error = ext2fs_write_inode(fs_, directory.inode, &inode); error != 0)
        return fail(io_.error_of(error, "a directory cannot be written", ErrorKind::Internal));
    directory.blocks += added;
    return {};
}

Result<void> DirectoryWriter::reserve(DirectoryEnd& directory, std::string_view name,
                                      blk64_t& goal) {
    DRAY_LET(const bool fits, has_room(directory, name));
    if (fits)
        return {};
    const std::uint32_t next = directory.logical + 1;
    if (next == directory.blocks)
        DRAY_TRY(grow(directory, goal));
    return go_to(directory, next);
}

Result<void> DirectoryWriter::append(DirectoryEnd& directory, std::string_view name,
                                     ext2_ino_t inode, int type) {
    DRAY_TRY(load(directory));
    ext2_dir_entry* last = entry_at(block_, directory.last_entry);
    const auto taken = static_cast<std::uint32_t>(occupied(*last));
    const std::uint32_t place = directory.last_entry + taken;
    if (place + length_of(name) > kEntriesEnd)
        return fail(ErrorKind::Internal, "there is no room in the directory");
    if (taken != 0)
        last->rec_len = static_cast<std::uint16_t>(taken);
    ext2_dir_entry* entry = entry_at(block_, place);
    entry->inode = inode;
    entry->rec_len = static_cast<std::uint16_t>(kEntriesEnd - place);
    ext2fs_dirent_set_name_len(entry, static_cast<int>(name.size()));
    ext2fs_dirent_set_file_type(entry, type);
    std::memcpy(entry->name, name.data(), name.size());
    directory.last_entry = place;
    return store(directory);
}

}  // namespace dray::fs
