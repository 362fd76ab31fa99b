// SPDX-License-Identifier: Apache-2.0
//
// ext2, ext3 and ext4, read through libext2fs. Extents and directories are walked here, bounded at every
// step, and content goes from the device straight to where it is wanted.
#pragma once

#include <ext2fs/ext2fs.h>

#include <list>
#include <memory>
#include <unordered_map>

#include "daemon/base/handle.hpp"
#include "drivers/filesystem/ext4/block_io.hpp"
#include "drivers/filesystem/ext4/ext4_directory.hpp"
#include "drivers/filesystem/ext4/ext4_file_map.hpp"
#include "drivers/filesystem/filesystem.hpp"

namespace dray::fs {

class Ext4Reader : public FileSystem {
public:
    /// Unsupported: features that cannot be read, by name. Corrupt: a damaged superblock, or a file system
    /// longer than its device (a truncated image). `device` must outlive it.
    static Result<std::unique_ptr<Ext4Reader>> open(volume::BlockDevice& device);

    std::string_view type() const override { return "ext4"; }
    std::string notice() const override;
    Result<FileStatus> lookup(std::string_view path) override;
    Result<void> read(const FileStatus& file, Bytes offset, std::span<std::byte> content) override;
    Result<void> list(std::string_view path, const std::function<bool(const Entry&)>& visit) override;

private:
    using FileSystemHandle = Handle<struct_ext2_filsys, ext2fs_free>;
    /// The most recently used is in front.
    template <typename Value>
    struct Recent {
        std::list<Value> order;
        std::unordered_map<ext2_ino_t, typename std::list<Value>::iterator> by_inode;
    };

    explicit Ext4Reader(volume::BlockDevice& device) : io_(device) {}
    Result<FileMap*> map_of(ext2_ino_t inode);
    Result<DirectoryIndex*> directory_of(ext2_ino_t inode);
    Result<ext2_ino_t> resolve(std::string_view path);
    void forget_unread(ext2_ino_t inode, const Error& error);

    BlockIo io_;
    FileSystemHandle fs_;
    Recent<FileMap> maps_;
    Recent<DirectoryIndex> directories_;
    HashKey name_key_{};
    std::size_t indexed_entries_ = 0;
    unsigned second_looks_ = 0;
};

}  // namespace dray::fs
