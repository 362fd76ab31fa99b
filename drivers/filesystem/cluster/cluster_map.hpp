// SPDX-License-Identifier: Apache-2.0
//
// Where the content of a file lies that is a chain of clusters. Only as much of the chain is walked as is
// asked for, what was walked is remembered in bounded memory, and every walk ends.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "drivers/filesystem/cluster/fat_table.hpp"

namespace dray::fs {

class ClusterMap {
public:
    /// Clusters that follow one another through the table, which must outlive the map.
    static ClusterMap chain(FatTable& table, std::uint32_t first);
    /// All in one place, without a look at any table.
    static ClusterMap together(Bytes place);

    struct Run {
        Bytes place = 0;
        Bytes length = 0;
    };
    /// What lies at this offset, together, up to `wanted` bytes and at least one. Corrupt: the chain ends before, leads
    /// nowhere or round in a circle. LimitReached: it jumps about so much that it costs too many reads.
    Result<Run> run_at(Bytes offset, Bytes wanted);

    struct Length {
        std::uint32_t clusters = 0;
        /// Why the chain cannot be followed further.
        std::optional<Error> damage;
    };
    /// How long the chain is; at most `limit` clusters are walked.
    Length length(std::uint32_t limit);

private:
    /// `length` clusters from `cluster` on are the file's from its cluster `logical` on.
    struct Extent {
        std::uint32_t logical = 0;
        std::uint32_t cluster = 0;
        std::uint32_t length = 0;
    };
    struct Mark {
        std::uint32_t logical = 0;
        std::uint32_t cluster = 0;
    };

    ClusterMap() = default;
    std::uint32_t begin() const { return extents_.front().logical; }
    std::uint32_t end() const { return extents_.back().logical + extents_.back().length; }
    /// Starts the window at the nearest mark before this cluster, if that is a shorter way.
    void go_near(std::uint32_t logical);
    /// One cluster further. Nothing has changed after an error. False: the chain has ended.
    Result<bool> step();
    void append(std::uint32_t logical, std::uint32_t cluster);
    void mark(std::uint32_t logical, std::uint32_t cluster);

    /// Nothing: all is together, from `place_` on.
    FatTable* table_ = nullptr;
    Bytes place_ = 0;

    /// A window on the chain, without a gap.
    std::vector<Extent> extents_;
    /// Every `stride_`th cluster that was walked over, from the first on: to go back to.
    std::vector<Mark> marks_;
    std::uint32_t stride_ = 1024;
    /// Brent's search for a circle: where the slower one of two stands, how far the faster one is ahead, and how far
    /// it goes before the slower one follows.
    std::uint32_t slow_ = 0;
    std::uint32_t ahead_ = 0;
    std::uint32_t most_ahead_ = 1;
};

}  // namespace dray::fs
