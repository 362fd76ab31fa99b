// SPDX-License-Identifier: Apache-2.0
//
// The files in a directory of FAT or exFAT, and an index of them: a drive with a hundred thousand files in
// one directory is opened file by file.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "drivers/filesystem/cluster/cluster_file.hpp"
#include "drivers/filesystem/name_hash.hpp"

namespace dray::fs {

/// What FAT and exFAT do in ways of their own.
class DirectoryRules {
public:
    DirectoryRules() = default;
    DirectoryRules(const DirectoryRules&) = delete;
    DirectoryRules& operator=(const DirectoryRules&) = delete;
    virtual ~DirectoryRules() = default;

    virtual std::unique_ptr<EntryParser> parser() const = 0;
    /// Names that differ in upper and lower case alone become the same.
    virtual std::u16string folded(std::u16string_view name) const = 0;
    /// From the deciding entry of a file. Corrupt: it is none.
    virtual Result<FileRecord> record_of(EntryBytes entry) const = 0;
    /// No directory is longer.
    virtual Bytes most_directory() const = 0;
};

/// A file in a directory; `place` is that of its first entry.
struct FoundFile {
    std::u16string_view name;
    FileRecord record;
    Bytes place = 0;
};

/// Calls `visit` for each file from `place` on until it answers false. What is damaged or cannot be read is passed
/// over, and its error comes at the end; much that cannot be read ends it at once, and so does Gone.
Result<void> visit_directory(ClusterFile& directory, const DirectoryRules& rules, Bytes place,
                             const std::function<bool(const FoundFile&)>& visit);

class ClusterDirectory {
public:
    /// Gone: the device went away; all else that is wrong, find() says. Both rules and table must outlive it.
    static Result<ClusterDirectory> build(ClusterFile directory, const DirectoryRules& rules, const HashKey& key);

    /// The file of exactly this name, else the only one that has it when folded. NotFound: none, or several of the
    /// latter. What is wrong with the directory, when the name is not in what could be read of it.
    Result<FileRecord> find(std::string_view name);

    std::size_t size() const { return entries_.size(); }
    const FileRecord& record() const { return directory_.record(); }
    const ClusterFile& file() const { return directory_; }
    /// What was wrong when it was read, and of that what makes it shorter than it was.
    const std::optional<Error>& damage() const { return damage_; }
    const std::optional<Error>& chain_damage() const { return chain_damage_; }

private:
    /// The name itself is read again from the directory.
    struct Entry {
        std::uint64_t folded = 0;
        std::uint32_t exact = 0;
        std::uint32_t place = 0;
    };
    ClusterDirectory(ClusterFile directory, const DirectoryRules& rules, const HashKey& key)
        : directory_(std::move(directory)), rules_(&rules), key_(key) {}
    std::uint64_t hash(std::u16string_view name) const;
    /// Whether the file there has this name, and then its record.
    Result<std::optional<FileRecord>> look_at(Bytes place, std::u16string_view name, bool is_exact);

    ClusterFile directory_;
    const DirectoryRules* rules_;
    HashKey key_;
    std::vector<Entry> entries_;
    std::optional<Error> chain_damage_;
    std::optional<Error> damage_;
};

}  // namespace dray::fs
