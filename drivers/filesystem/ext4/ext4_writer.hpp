// SPDX-License-Identifier: Apache-2.0
//
// Makes an ext4 on a volume and fills it, without kernel and mount. Files are laid out one behind
// the other and their content goes straight to its place. One thread.
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
#include "drivers/filesystem/ext4/directory_writer.hpp"
#include "drivers/filesystem/ext4/ext4_format.hpp"
#include "drivers/filesystem/ext4/metadata_cache.hpp"

namespace dray::fs {

/// A file that is being filled.
class NewFile {
public:
    Bytes size() const { return size_; }

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
    std::vector<Run> runs_;
    /// What has been written, from - to, none touching another.
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

    /// Writes what is in memory and flushes the device; nothing may follow. Files still open are
    /// the caller's to close before.
    Result<void> finish();

private:
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

    explicit Ext4Writer(volume::BlockDevice& device) : cache_(device), io_(cache_) {}
    Result<void> open_first_directories();
    Result<Place> place_of(std::string_view path);
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

    MetadataCache cache_;
    BlockIo io_;
    Ext4Handle fs_;
    std::optional<DirectoryWriter> entries_;
    /// By path; "" is the root. They are asked for again and again, and far fewer than files.
    std::unordered_map<std::string, Directory> directories_;
    NameHashes names_;
    ext2_ino_t last_inode_ = 0;
    /// Where the next block is looked for: behind the last one.
    blk64_t goal_ = 0;
    bool is_lost_and_found_ours_ = true;
    /// Why nothing good can come of it any more.
    std::optional<Error> broken_;
    std::vector<std::byte> block_ = std::vector<std::byte>(kExt4Block);
};

}  // namespace dray::fs
