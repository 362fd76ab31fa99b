// SPDX-License-Identifier: Apache-2.0
//
// The content of a file or directory of FAT or exFAT.
#pragma once

#include <span>
#include <vector>

#include "drivers/filesystem/cluster/cluster_map.hpp"
#include "drivers/filesystem/cluster/directory_entry.hpp"

namespace dray::fs {

class ClusterFile {
public:
    /// Corrupt: it cannot be as the record says. `table` must outlive it.
    static Result<ClusterFile> open(FatTable& table, const FileRecord& record);
    /// A directory in a place of its own, without clusters.
    static ClusterFile fixed(FatTable& table, const FileRecord& record, Bytes place);

    const FileRecord& record() const { return record_; }
    Bytes size() const { return record_.size; }

    /// For those that are not sized: as long as the chain, of which `limit` bytes are looked at. LimitReached: it is
    /// longer. Else the error that the chain ends with, if there is one: what lies before can be read.
    Result<void> measure(Bytes limit);

    /// Content, straight from the device. Corrupt: beyond the size, or a chain that makes no sense.
    Result<void> read(Bytes offset, std::span<std::byte> content);
    /// Metadata (of directories), through the cache.
    Result<void> read_cached(Bytes offset, std::span<std::byte> content);
    /// Where on the volume this byte lies.
    Result<Bytes> place_of(Bytes offset);

private:
    ClusterFile(FatTable& table, const FileRecord& record, ClusterMap map)
        : table_(&table), record_(record), map_(std::move(map)) {}
    template <typename ReadPlace>
    Result<void> read_runs(Bytes offset, std::span<std::byte> content, ReadPlace read_place);

    FatTable* table_;
    FileRecord record_;
    ClusterMap map_;
};

}  // namespace dray::fs
