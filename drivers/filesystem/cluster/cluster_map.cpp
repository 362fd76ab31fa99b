// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/cluster/cluster_map.hpp"

#include <algorithm>
#include <iterator>

namespace dray::fs {
namespace {

constexpr std::size_t kMostExtents = 1024;
constexpr std::size_t kMostMarks = 1024;

}  // namespace

ClusterMap ClusterMap::chain(FatTable& table, std::uint32_t first) {
    ClusterMap map;
    map.table_ = &table;
    map.extents_.push_back({0, first, 1});
    map.marks_.push_back({0, first});
    return map;
}

ClusterMap ClusterMap::together(Bytes place) {
    ClusterMap map;
    map.place_ = place;
    return map;
}

void ClusterMap::mark(std::uint32_t logical, std::uint32_t cluster) {
    if (logical != marks_.back().logical + stride_)
        return;
    if (marks_.size() == kMostMarks) {
        // Half as many, twice as far apart.
        for (std::size_t i = 0; i < kMostMarks / 2; ++i)
            marks_[i] = marks_[2 * i];
        marks_.resize(kMostMarks / 2);
        stride_ *= 2;
        if (logical != marks_.back().logical + stride_)
            return;
    }
    marks_.push_back({logical, cluster});
}

void ClusterMap::go_near(std::uint32_t logical) {
    const Mark& near = marks_[std::min<std::size_t>(logical / stride_, marks_.size() - 1)];
    if (logical >= begin() && near.logical <= end())
        return;
    extents_.assign(1, {near.logical, near.cluster, 1});
    slow_ = 0;
    ahead_ = 0;
    most_ahead_ = 1;
}

void ClusterMap::append(std::uint32_t logical, std::uint32_t cluster) {
    if (Extent& last = extents_.back(); last.cluster + last.length == cluster) {
        ++last.length;
        return;
    }
    if (extents_.size() == kMostExtents)
        extents_.erase(extents_.begin(), extents_.begin() + kMostExtents / 2);
    extents_.push_back({logical, cluster, 1});
}

Result<bool> ClusterMap::step() {
    const Extent& last = extents_.back();
    const std::uint32_t cluster = last.cluster + last.length - 1;
    const std::uint32_t logical = end();
    DRAY_LET(const std::uint32_t next, table_->next(cluster));
    if (next == FatTable::kEnd)
        return false;
    if (ahead_ == most_ahead_) {
        slow_ = cluster;
        ahead_ = 0;
        most_ahead_ *= 2;
    }
    ++ahead_;
    if (next == slow_ || next == cluster || logical >= table_->heap().count)
        return fail(ErrorKind::Corrupt, "the chain of clusters goes round in a circle at cluster {}", next);
    append(logical, next);
    mark(logical, next);
    return true;
}

Result<ClusterMap::Run> ClusterMap::run_at(Bytes offset, Bytes wanted) {
    if (table_ == nullptr)
        return Run{place_ + offset, wanted};
    const ClusterHeap& heap = table_->heap();
    const auto short_of = [offset] {
        return fail(ErrorKind::Corrupt, "its chain of clusters ends before its byte {}", offset);
    };
    if (offset / heap.cluster_size >= heap.count)
        return short_of();
    const auto logical = static_cast<std::uint32_t>(offset / heap.cluster_size);
    const Bytes within = offset % heap.cluster_size;
    go_near(logical);
    const std::uint64_t most_misses = table_->cache().misses() + table_->most_misses();
    // As far as needed, and then as long as what follows lies together with it.
    while (end() <= logical ||
           (extents_.back().logical <= logical && (end() - logical) * heap.cluster_size - within < wanted)) {
        DRAY_LET(const bool goes_on, step());
        if (!goes_on && end() <= logical)
            return short_of();
        if (!goes_on)
            break;
        if (table_->cache().misses() > most_misses)
            return fail(ErrorKind::LimitReached, "its chain of clusters jumps about too much to be followed");
    }
    const auto next =
        std::upper_bound(extents_.begin(), extents_.end(), logical,
                         [](std::uint32_t value, const Extent& extent) { return value < extent.logical; });
    const Extent& extent = *std::prev(next);
    if (!heap.has(extent.cluster))
        return fail(ErrorKind::Corrupt, "{} is none of the volume's clusters", extent.cluster);
    const std::uint32_t skip = logical - extent.logical;
    const Bytes length = (extent.length - skip) * heap.cluster_size - within;
    return Run{heap.place_of(extent.cluster + skip) + within, std::min(length, wanted)};
}

ClusterMap::Length ClusterMap::length(std::uint32_t limit) {
    if (table_ == nullptr)
        return {};
    const std::uint64_t most_misses = table_->cache().misses() + table_->most_misses();
    while (end() < limit) {
        Result<bool> goes_on = step();
        if (!goes_on)
            return {end(), std::move(goes_on.error())};
        if (!*goes_on)
            break;
        if (table_->cache().misses() > most_misses)
            return {end(), Error(ErrorKind::LimitReached, "its chain of clusters jumps about too much to be followed")};
    }
    return {end(), std::nullopt};
}

}  // namespace dray::fs
