// SPDX-License-Identifier: Apache-2.0
//
// What the readers of FAT and exFAT share: paths, open files and directories, all in bounded memory.
// Clusters that two files claim are read for both: what does not belong there is found by its hash.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "drivers/filesystem/cluster/cluster_directory.hpp"
#include "drivers/filesystem/filesystem.hpp"

namespace dray::fs {

class ClusterReader : public FileSystem {
public:
    Result<FileStatus> lookup(std::string_view path) override;
    Result<void> read(const FileStatus& file, Bytes offset, std::span<std::byte> content) override;
    Result<void> list(std::string_view path, const std::function<bool(const Entry&)>& visit) override;
    std::string notice() const override { return notice_; }

protected:
    explicit ClusterReader(volume::BlockDevice& device) : cache_(device) {}

    /// Before anything is looked up. Corrupt and others: the root cannot be read.
    Result<void> start(FatTable table, std::unique_ptr<DirectoryRules> rules, const FileRecord& root,
                       Bytes fixed_root);
    LineCache& cache() { return cache_; }
    FatTable& table() { return *table_; }
    void add_notice(std::string_view sentence);

private:
    /// The most recently used is in front.
    template <typename Value>
    struct Recent {
        std::list<Value> order;
        std::unordered_map<std::uint64_t, typename std::list<Value>::iterator> by_inode;
        Value* find(std::uint64_t inode);
        Value& add(Value value);
        void remove(std::uint64_t inode);
        void remove_oldest();
    };

    Result<ClusterFile> open(const FileRecord& record);
    Result<FileRecord> resolve(std::string_view path);
    Result<ClusterFile*> file_of(std::uint64_t inode);
    Result<ClusterDirectory*> directory_of(const FileRecord& record);
    void forget_unread(std::uint64_t inode, const Error& error);

    LineCache cache_;
    std::optional<FatTable> table_;
    std::unique_ptr<DirectoryRules> rules_;
    FileRecord root_;
    /// Where the root lies if it has no clusters; else 0.
    Bytes fixed_root_ = 0;
    std::string notice_;
    HashKey name_key_{};
    Recent<ClusterFile> files_;
    Recent<ClusterDirectory> directories_;
    std::size_t indexed_entries_ = 0;
    unsigned second_looks_ = 0;
};

}  // namespace dray::fs
