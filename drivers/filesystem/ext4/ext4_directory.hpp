// SPDX-License-Identifier: Apache-2.0
//
// The entries of an ext4 directory, and an index of them: a drive with a hundred thousand files in one
// directory is opened file by file.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "drivers/filesystem/ext4/ext4_file_map.hpp"
#include "drivers/filesystem/name_hash.hpp"

namespace dray::fs {

struct DirectoryEntry {
    std::string_view name;
    ext2_ino_t inode = 0;
    /// Where in the directory's content it stands.
    Bytes place = 0;
};

/// Calls `visit` for each entry but "." and ".." until it answers false. A block that is damaged or cannot be
/// read is passed over, and its error comes at the end; several of them end it at once, and so does Gone.
/// Corrupt: the directory is damaged. LimitReached: longer than any honest directory.
Result<void> visit_directory(FileMap& directory, const std::function<bool(const DirectoryEntry&)>& visit);

class DirectoryIndex {
public:
    /// A directory with more than `limit` entries gets no index and is searched by its own hash tree, where
    /// only exact names are found. Gone: the device went away; all else that is wrong, find() says.
    static Result<DirectoryIndex> build(FileMap directory, std::size_t limit, const HashKey& key);

    /// The inode of exactly this name, else of the only one that differs in the case of ASCII letters at
    /// most. NotFound: none, or several of the latter. What is wrong with the directory, when the name is not
    /// in what could be read of it.
    Result<ext2_ino_t> find(std::string_view name);

    std::size_t size() const { return entries_.size(); }
    FileMap& directory() { return directory_; }
    /// Nothing at all could be read of it.
    const std::optional<Error>& damage() const { return damage_; }

private:
    /// The name itself is read again from the directory. Two names of the same letters in other cases have one
    /// `folded` and two `exact`: millions of them are told apart without a look at each.
    struct Entry {
        std::uint64_t folded = 0;
        std::uint32_t exact = 0;
        std::uint32_t place = 0;
    };
    DirectoryIndex(FileMap directory, const HashKey& key) : directory_(std::move(directory)), key_(key) {}
    std::uint32_t exact_hash(std::string_view name) const;
    Result<ext2_ino_t> find_by_hash_tree(std::string_view name);
    /// The inode of the entry there if it has this name, in this case or another; else 0.
    Result<ext2_ino_t> look_at(Bytes place, std::string_view name, bool is_exact);

    FileMap directory_;
    HashKey key_;
    std::vector<Entry> entries_;
    bool is_indexed_ = true;
    std::optional<Error> damage_;
};

}  // namespace dray::fs
