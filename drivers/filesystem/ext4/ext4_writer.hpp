// SPDX-License-Identifier: Apache-2.0
//
// Makes an ext4 on a volume and fills it, without kernel and mount. Files are laid out one behind
// the other and their content goes straight to its place. One thread.
//
// With checkpoints the file system on the device is always the one of the last checkpoint: metadata waits in
// memory, content goes to blocks that are free there, and what was freed since is not used again before.
#pragma once

#include <ext2fs/ext2fs.h>

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "daemon/base/units.hpp"
#include "drivers/filesystem/ext4/block_io.hpp"
#include "drivers/filesystem/ext4/changed_groups.hpp"
#include "drivers/filesystem/ext4/directory_writer.hpp"
#include "drivers/filesystem/ext4/ext4_format.hpp"
#include "drivers/filesystem/ext4/metadata_cache.hpp"

namespace dray::fs {

/// A file that is being filled.
class NewFile {
public:
    Bytes size() const { return size_; }
    std::uint32_t inode() const { return inode_; }
    /// What has been written, from - to, none touching another.
    const std::map<Bytes, Bytes>& written() const { return written_; }
    /// So many bytes from the start have been written without a gap.
    Bytes begun() const;

private:
    friend class Ext4Writer;
    struct Run {
        std::uint64_t logical = 0;
        std::uint64_t physical = 0;
        std::uint64_t length = 0;
    };
    bool is_touched(Bytes begin, Bytes end) const;
    void mark(Bytes begin, Bytes end);

    Bytes size_ = 0;
    std::uint32_t inode_ = 0;
    std::vector<Run> runs_;
    std::map<Bytes, Bytes> written_;
};

class Ext4Writer {
public:
    /// The errors of make_ext4(). `device` must outlive it; what it held is lost.
    static Result<std::unique_ptr<Ext4Writer>> format(volume::BlockDevice& device,
                                                      const Ext4Format& format);

    // Paths are relative to the root, components separated by '/'. InvalidArgument: a path that is
    // none, or a name longer than 255 bytes. NotFound: its directory does not exist. Exists: the
    // name is taken. NoSpace: it does not fit; what does fit can still be made. LimitReached: more
    // inodes than formatted. Any other error (the device's) comes half-way, and all that follows,
    // finish() too, fails with it.

    /// lost+found is there from the start and may be made once nevertheless.
    Result<void> make_directory(std::string_view path);
    /// A file of exactly `size` bytes. What is never written of it reads as zeros.
    Result<NewFile> create(std::string_view path, Bytes size, TimePoint modified);

    /// `content` is overwritten. Any offset and length; whole blocks cost no copy. InvalidArgument:
    /// beyond the size of the file.
    Result<void> write(NewFile& file, Bytes offset, std::span<std::byte> content);
    /// Fills what was not written.
    Result<void> close(NewFile& file);
    /// Takes a file away, complete or not, and gives its inode's number, by which the caller knows it where it is
    /// open. Its blocks are free after the next checkpoint. InvalidArgument: it is a directory.
    Result<std::uint32_t> remove(std::string_view path);

    /// Writes what is in memory and flushes the device; nothing may follow. Files still open are
    /// the caller's to close before. Not after begin_checkpoints().
    Result<void> finish();

    /// Once: writes what is in memory and flushes the device. From then on the device holds a clean file system at
    /// every moment.
    Result<void> begin_checkpoints();
    /// All content reaches the medium; then the metadata that differs from the device's, to be brought there as a
    /// whole or not at all, with settle() after that. The blocks may be overwritten. Nothing but settle() may follow.
    /// `is_last`: the backups of superblock and descriptors too.
    Result<MetadataCache::Blocks*> collect(bool is_last);
    void settle();
    /// Of metadata in memory.
    Bytes waiting() const { return cache_.held_bytes(); }

    /// The file system of the last checkpoint. `goal`: as goal() was then. Corrupt, Unsupported, Internal: it is not as
    /// it was written.
    static Result<std::unique_ptr<Ext4Writer>> resume(volume::BlockDevice& device, std::uint64_t goal);
    /// A file that was being filled then. InvalidArgument: what is there is another one.
    Result<NewFile> reopen(std::uint32_t inode, Bytes size, std::map<Bytes, Bytes> written);
    std::uint64_t goal() const { return goal_; }

private:
    static constexpr std::string_view kLostAndFound = "lost+found";
    struct Directory {
        DirectoryEnd end;
        std::uint32_t subdirectories = 0;
    };
    struct Place {
        Directory* parent = nullptr;
        /// Without empty components.
        std::string path;
        std::string_view name() const { return std::string_view(path).substr(path.rfind('/') + 1); }
    };

    explicit Ext4Writer(volume::BlockDevice& device) : cache_(device), content_(device), io_(cache_) {}
    Result<void> open_first_directories();
    Result<void> open_old_directories();
    Result<Place> place_of(std::string_view path);
    Result<Directory*> find_directory(std::string_view path);
    Result<Directory*> open_directory(const Directory& parent, std::string_view path, std::string_view name);
    Result<void> remove_file(const Place& place, ext2_ino_t inode);
    Result<void> free_blocks_of(ext2_ino_t inode);
    Result<void> flush();
    void drop_unchanged_descriptors();
    void hold();
    Result<void> check_broken() const;
    Result<void> check_new(const Place& place);
    /// Afterwards nothing can fail for lack of space.
    Result<void> check_room(std::uint64_t blocks) const;
    Result<NewFile> make_file(const Place& place, ext2_ino_t inode, Bytes size, TimePoint modified);
    Result<void> make_directory_at(const Place& place, ext2_ino_t inode);
    Result<ext2_ino_t> next_inode() const;
    Result<void> allocate(ext2_ino_t inode, ext2_inode_large& status, std::uint64_t blocks);
    Result<std::vector<NewFile::Run>> runs_of(ext2_ino_t inode, ext2_inode_large& status);
    Result<void> enter(const Place& place, ext2_ino_t inode, ext2_inode_large& status, int type);
    Result<void> set_links(const Directory& directory);
    Result<void> adopt_lost_and_found();
    Result<void> write_content(NewFile& file, Bytes offset, std::span<std::byte> content);
    Result<void> write_blocks(const NewFile& file, Bytes offset, std::span<std::byte> content);
    Result<void> write_within_block(const NewFile& file, Bytes offset,
                                    std::span<const std::byte> content);
    Bytes place_in(const NewFile& file, Bytes offset, Bytes& contiguous) const;

    /// Of metadata, and of content.
    MetadataCache cache_;
    MetadataCache content_;
    BlockIo io_;
    Ext4Handle fs_;
    ChangedGroups changed_;
    /// The group descriptors as the device has them; empty before checkpoints.
    std::vector<char> descriptors_;
    /// What removed files had: block and count. Free when the next checkpoint is taken.
    std::vector<std::pair<blk64_t, std::uint32_t>> freed_;
    std::optional<DirectoryWriter> entries_;
    /// By path; "" is the root. They are asked for again and again, and far fewer than files.
    std::unordered_map<std::string, Directory> directories_;
    NameHashes names_;
    /// The next one is looked for behind it.
    ext2_ino_t last_inode_ = 0;
    /// Directories are not all in directories_.
    bool is_resumed_ = false;
    /// Where the next block is looked for: behind the last one.
    blk64_t goal_ = 0;
    bool is_lost_and_found_ours_ = true;
    /// Why nothing good can come of it any more.
    std::optional<Error> broken_;
    std::vector<std::byte> block_ = std::vector<std::byte>(kExt4Block);
};

}  // namespace dray::fs
