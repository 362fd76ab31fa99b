// SPDX-License-Identifier: Apache-2.0
//
// The contract of a file system: a block device in; look up, list, read out. One thread. Whatever the
// device holds is hostile: every call ends, in bounded memory, with an answer or an error.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"

namespace dray::fs {

struct FileStatus {
    std::uint64_t inode = 0;
    bool is_directory = false;
    Bytes size = 0;
};

class FileSystem {
public:
    FileSystem() = default;
    FileSystem(const FileSystem&) = delete;
    FileSystem& operator=(const FileSystem&) = delete;
    virtual ~FileSystem() = default;

    /// "ext4"; for people.
    virtual std::string_view type() const = 0;
    /// A sentence for the operator about something odd (a journal that was not replayed), or "".
    virtual std::string notice() const = 0;

    /// Resolves a path relative to the root, components separated by '/': exactly, else without regard
    /// to case if just one entry fits. NotFound. InvalidArgument: "..", or an empty path. Denied: a symbolic link
    /// or special file on the way. Unsupported: a kind of file that cannot be read (encrypted, ...), by name.
    virtual Result<FileStatus> lookup(std::string_view path) = 0;

    /// Fills `content` from `offset` of the file; holes read as zeros. The caller stays below the size.
    /// Gone, Corrupt (extents past the end of the device), Internal (a read error).
    virtual Result<void> read(const FileStatus& file, Bytes offset, std::span<std::byte> content) = 0;

    struct Entry {
        std::string name;
        FileStatus status;
    };
    /// Calls `visit` for each entry but "." and ".."; stops when it answers false.
    virtual Result<void> list(std::string_view path, const std::function<bool(const Entry&)>& visit) = 0;
};

}  // namespace dray::fs
