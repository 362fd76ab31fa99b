// SPDX-License-Identifier: Apache-2.0
//
// The clusters of a FAT or exFAT volume, and the table (the FAT) that says which one follows which.
#pragma once

#include <cstdint>
#include <vector>

#include "daemon/base/result.hpp"
#include "drivers/filesystem/line_cache.hpp"

namespace dray::fs {

/// Where the clusters lie. They are numbered from 2.
struct ClusterHeap {
    Bytes place = 0;
    Bytes cluster_size = 0;
    std::uint32_t count = 0;

    Bytes size() const { return count * cluster_size; }
    bool has(std::uint32_t cluster) const { return cluster >= 2 && cluster - 2 < count; }
    Bytes place_of(std::uint32_t cluster) const { return place + (cluster - 2) * cluster_size; }
};

class FatTable {
public:
    enum class Kind { Fat12, Fat16, Fat32, ExFat };
    /// What next() answers behind the last cluster.
    static constexpr std::uint32_t kEnd = 0;

    struct Layout {
        Kind kind = Kind::Fat16;
        /// Of the table in use.
        Bytes place = 0;
        /// Of a second one that is kept equal to it; 0: there is none.
        Bytes mirror = 0;
    };
    /// `cache` must outlive it.
    FatTable(LineCache& cache, const ClusterHeap& heap, const Layout& layout);

    const ClusterHeap& heap() const { return heap_; }
    LineCache& cache() const { return *cache_; }

    /// The cluster behind this one, or kEnd. Where the table cannot be read, or says what cannot be, its mirror is
    /// asked. Corrupt: what stands there is neither a cluster of the volume nor the end.
    Result<std::uint32_t> next(std::uint32_t cluster);

    /// What stands there, as it is; of clusters 0 and 1 too, which are flags.
    Result<std::uint32_t> entry(std::uint32_t cluster);

    /// So often may the device be asked in one walk: several times as often as the table needs to be read whole.
    /// More is a chain made to jump about.
    std::uint64_t most_misses() const;

private:
    Result<std::uint32_t> read(Bytes table, std::uint32_t cluster);
    Result<std::uint32_t> meaning(std::uint32_t cluster, std::uint32_t value) const;
    Bytes offset_of(std::uint32_t cluster) const;
    bool is_bad(Bytes bite) const;

    LineCache* cache_;
    ClusterHeap heap_;
    Layout layout_;
    /// Bites of the table that cannot be read, where there is a mirror: to try each entry again would take a disk minutes.
    std::vector<Bytes> bad_bites_;
};

}  // namespace dray::fs
