// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ext4/ext4_reader.hpp"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "drivers/filesystem/ext4/ext4_superblock.hpp"
#include "drivers/filesystem/path.hpp"
#include "drivers/volume/uuid.hpp"

namespace dray::fs {
namespace {

/// As many as the protocol has open files; a map holds at most some 30 KiB.
constexpr std::size_t kMaxMaps = 512;
/// Over all indexed directories, 16 bytes each.
constexpr std::size_t kMaxIndexedEntries = 1 << 21;
/// Small directories count too.
constexpr std::size_t kMaxDirectories = 4096;
/// Each may take a disk seconds.
constexpr unsigned kMostSecondLooks = 256;
bool is_unsupported(errcode_t code) {
    return code == EXT2_ET_UNSUPP_FEATURE || code == EXT2_ET_RO_UNSUPP_FEATURE ||
           code == EXT2_ET_REV_TOO_HIGH || code == EXT2_ET_UNKNOWN_CSUM;
}

}  // namespace

Result<std::unique_ptr<Ext4Reader>> Ext4Reader::open(volume::BlockDevice& device) {
    std::unique_ptr<Ext4Reader> reader(new Ext4Reader(device));
    DRAY_TRY(check_superblock(reader->io_));
    DRAY_LET(const volume::Uuid random, volume::random_uuid());
    static_assert(sizeof random == sizeof reader->name_key_);
    std::memcpy(reader->name_key_.data(), random.data(), random.size());
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
    if ((*root)->size() == 0 && (*root)->damage())
        return fail(*(*root)->damage(), "the root directory cannot be read");
    return reader;
}

std::string Ext4Reader::notice() const { return notice_of(*fs_->super); }

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
    DRAY_LET(DirectoryIndex index, DirectoryIndex::build(std::move(map), kMaxIndexedEntries, name_key_));
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

// Nothing is sure of a directory with a read error before a second look.
void Ext4Reader::forget_unread(ext2_ino_t inode, const Error& error) {
    const auto known = directories_.by_inode.find(inode);
    if (error.kind() != ErrorKind::Internal || known == directories_.by_inode.end() || second_looks_ >= kMostSecondLooks)
        return;
    ++second_looks_;
    indexed_entries_ -= known->second->size();
    directories_.order.erase(known->second);
    directories_.by_inode.erase(known);
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
        if (!found) {
            forget_unread(inode, found.error());
            return fail(std::move(found.error()), "{}",
                        path.substr(0, parent.size() + component.size()));
        }
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
