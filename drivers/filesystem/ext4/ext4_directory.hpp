// SPDX-License-Identifier: Apache-2.0
//
// The entries of an ext4 directory, and an index of them: a drive with a hundred thousand files in one
// directory is opened file by file.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "drivers/filesystem/ext4/ext4_file_map.hpp"

namespace dray::fs {

struct DirectoryEntry {
    std::string_view name;
    ext2_ino_t inode = 0;
    /// Where in the directory's content it stands.
    Bytes place = 0;
};

/// Calls `visit` for each entry but "." and ".." until it answers false. Corrupt: the directory is
/// damaged. LimitReached: longer than any honest directory.
Result<void> visit_directory(FileMap& directory, const std::function<bool(const DirectoryEntry&)>& visit);

class DirectoryIndex {
public:
    /// A directory with more than `limit` entries gets no index and is searched from its beginning.
    static Result<DirectoryIndex> build(FileMap directory, std::size_t limit);

    /// The inode of exactly this name, else of the only one that differs in the case of ASCII letters at
    /// most. NotFound: none, or several of the latter.
    Result<ext2_ino_t> find(std::string_view name);

    std::size_t size() const { return entries_.size(); }
    FileMap& directory() { return directory_; }

private:
    /// 16 bytes an entry; the name itself is read again from the directory.
    struct Entry {
        std::uint64_t hash = 0;
        std::uint32_t place = 0;
    };
    explicit DirectoryIndex(FileMap directory) : directory_(std::move(directory)) {}
    Result<ext2_ino_t> find_by_walking(std::string_view name);

    FileMap directory_;
    std::vector<Entry> entries_;
    bool is_indexed_ = true;
};

}  // namespace dray::fs
