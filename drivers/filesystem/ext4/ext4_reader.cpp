// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ext4/ext4_reader.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

namespace dray::fs {
namespace {

/// As many as the protocol has open files; a map holds at most some 30 KiB.
constexpr std::size_t kMaxMaps = 512;
/// Over all indexed directories, 16 bytes each.
constexpr std::size_t kMaxIndexedEntries = 1 << 20;
/// Small directories count too.
constexpr std::size_t kMaxDirectories = 4096;
constexpr Bytes kMaxDescriptors = 128 * kMiB;
constexpr Bytes kSuperblock = 1024;

/// libext2fs believes in the superblock's sizes and makes room for all group descriptors before it
/// reads the first; so they are compared with the device here.
Result<void> check_geometry(BlockIo& io) {
    ext2_super_block super{};
    static_assert(sizeof super == 1024);
    if (io.device().size() < kSuperblock + sizeof super)
        return fail(ErrorKind::Corrupt, "the volume ends within the superblock");
    DRAY_TRY(io.read(kSuperblock, std::as_writable_bytes(std::span(&super, 1))));
    const std::uint32_t log_block_size = ext2fs_le32_to_cpu(super.s_log_block_size);
    if (log_block_size > 6)
        return fail(ErrorKind::Corrupt, "the superblock names an impossible block size");
    const Bytes block_size = kSuperblock << log_block_size;
    const bool is_64bit =
        (ext2fs_le32_to_cpu(super.s_feature_incompat) & EXT4_FEATURE_INCOMPAT_64BIT) != 0;
    std::uint64_t blocks = ext2fs_le32_to_cpu(super.s_blocks_count);
    if (is_64bit)
        blocks |= static_cast<std::uint64_t>(ext2fs_le32_to_cpu(super.s_blocks_count_hi)) << 32;
    if (blocks > io.device().size() / block_size)
        return fail(ErrorKind::Corrupt,
                    "the file system has {} blocks of {} bytes, but the volume ends at {}; it was cut off",
                    blocks, block_size, io.device().size());
    const std::uint32_t per_group = ext2fs_le32_to_cpu(super.s_blocks_per_group);
    if (per_group == 0)
        return fail(ErrorKind::Corrupt, "the superblock names groups of 0 blocks");
    const Bytes descriptor = is_64bit ? std::max<Bytes>(ext2fs_le16_to_cpu(super.s_desc_size), 64) : 32;
    if ((blocks / per_group + 1) * descriptor > kMaxDescriptors)
        return fail(ErrorKind::Corrupt, "the file system has too many block groups");
    return {};
}

bool is_unsupported(errcode_t code) {
    return code == EXT2_ET_UNSUPP_FEATURE || code == EXT2_ET_RO_UNSUPP_FEATURE ||
           code == EXT2_ET_REV_TOO_HIGH;
}

/// The components of a path; what cannot be one is refused.
Result<std::vector<std::string_view>> components_of(std::string_view path) {
    std::vector<std::string_view> components;
    std::size_t position = 0;
    while (position <= path.size()) {
        const std::size_t slash = std::min(path.find('/', position), path.size());
        const std::string_view component = path.substr(position, slash - position);
        if (component == "." || component == "..")
            return fail(ErrorKind::InvalidArgument, "a path may not contain \"{}\"", component);
        if (component.find('\0') != std::string_view::npos)
            return fail(ErrorKind::InvalidArgument, "a path may not contain a zero byte");
        if (!component.empty())
            components.push_back(component);
        position = slash + 1;
    }
    return components;
}

}  // namespace

Result<std::unique_ptr<Ext4Reader>> Ext4Reader::open(volume::BlockDevice& device) {
    std::unique_ptr<Ext4Reader> reader(new Ext4Reader(device));
    DRAY_TRY(check_geometry(reader->io_));
    ext2_filsys bare = nullptr;
    const errcode_t error =
        ext2fs_open2(reader->io_.name(), nullptr, EXT2_FLAG_64BITS, 0, 0, BlockIo::manager(), &bare);
    if (error != 0)
        return fail(reader->io_.error_of(
            error, "the ext4 file system cannot be opened",
            is_unsupported(error) ? ErrorKind::Unsupported : ErrorKind::Corrupt));
    reader->fs_.reset(bare);
    // An unreadable root means that nothing on the drive can be reached.
    Result<DirectoryIndex*> root = reader->directory_of(EXT2_ROOT_INO);
    if (!root)
        return fail(std::move(root.error()), "the root directory cannot be read");
    return reader;
}

std::string Ext4Reader::notice() const {
    if (ext2fs_has_feature_journal_needs_recovery(fs_->super))
        return "the file system was not unmounted cleanly: what only its journal knows is not visible";
    if ((fs_->super->s_state & EXT2_ERROR_FS) != 0)
        return "the file system is marked as damaged";
    return "";
}

Result<FileMap*> Ext4Reader::map_of(ext2_ino_t inode) {
    if (const auto known = maps_.by_inode.find(inode); known != maps_.by_inode.end()) {
        maps_.order.splice(maps_.order.begin(), maps_.order, known->second);
        return &maps_.order.front();
    }
    DRAY_LET(FileMap map, FileMap::open(fs_.get(), io_, inode));
    if (maps_.order.size() >= kMaxMaps) {
        maps_.by_inode.erase(maps_.order.back().inode());
        maps_.order.pop_back();
    }
    maps_.order.push_front(std::move(map));
    maps_.by_inode[inode] = maps_.order.begin();
    return &maps_.order.front();
}

Result<DirectoryIndex*> Ext4Reader::directory_of(ext2_ino_t inode) {
    if (const auto known = directories_.by_inode.find(inode); known != directories_.by_inode.end()) {
        directories_.order.splice(directories_.order.begin(), directories_.order, known->second);
        return &directories_.order.front();
    }
    DRAY_LET(FileMap map, FileMap::open(fs_.get(), io_, inode));
    if (!map.is_directory())
        return fail(ErrorKind::NotFound, "it is not a directory");
    DRAY_LET(DirectoryIndex index, DirectoryIndex::build(std::move(map), kMaxIndexedEntries));
    indexed_entries_ += index.size();
    while (!directories_.order.empty() &&
           (indexed_entries_ > kMaxIndexedEntries || directories_.order.size() >= kMaxDirectories)) {
        DirectoryIndex& oldest = directories_.order.back();
        indexed_entries_ -= oldest.size();
        directories_.by_inode.erase(oldest.directory().inode());
        directories_.order.pop_back();
    }
    directories_.order.push_front(std::move(index));
    directories_.by_inode[inode] = directories_.order.begin();
    return &directories_.order.front();
}

Result<ext2_ino_t> Ext4Reader::resolve(std::string_view path) {
    DRAY_LET(const std::vector<std::string_view> components, components_of(path));
    ext2_ino_t inode = EXT2_ROOT_INO;
    for (const std::string_view component : components) {
        const std::string_view parent = path.substr(0, static_cast<std::size_t>(component.data() - path.data()));
        Result<DirectoryIndex*> directory = directory_of(inode);
        if (!directory)
            return fail(std::move(directory.error()), "{}", parent);
        Result<ext2_ino_t> found = (*directory)->find(component);
        if (!found)
            return fail(std::move(found.error()), "{}",
                        path.substr(0, parent.size() + component.size()));
        inode = *found;
    }
    return inode;
}

Result<FileStatus> Ext4Reader::lookup(std::string_view path) {
    if (path.find_first_not_of('/') == std::string_view::npos)
        return fail(ErrorKind::InvalidArgument, "the path is empty");
    DRAY_LET(const ext2_ino_t inode, resolve(path));
    Result<FileMap*> map = map_of(inode);
    if (!map)
        return fail(std::move(map.error()), "{}", path);
    return FileStatus{inode, (*map)->is_directory(), (*map)->size()};
}

Result<void> Ext4Reader::read(const FileStatus& file, Bytes offset, std::span<std::byte> content) {
    DRAY_LET(FileMap* map, map_of(static_cast<ext2_ino_t>(file.inode)));
    return map->read(offset, content);
}

Result<void> Ext4Reader::list(std::string_view path, const std::function<bool(const Entry&)>& visit) {
    DRAY_LET(const ext2_ino_t inode, resolve(path));
    Result<DirectoryIndex*> index = directory_of(inode);
    if (!index)
        return fail(std::move(index.error()), "{}", path);
    // A copy: looking at the entries may push the directory out of the cache.
    FileMap directory = (*index)->directory();
    return visit_directory(directory, [&](const DirectoryEntry& found) {
        Entry entry{std::string(found.name), {found.inode, false, 0}};
        if (Result<FileMap*> map = map_of(found.inode))
            entry.status = {found.inode, (*map)->is_directory(), (*map)->size()};
        return visit(entry);
    });
}

}  // namespace dray::fs
