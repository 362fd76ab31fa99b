// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/cluster/fat_table.hpp"

#include <algorithm>
#include <array>

namespace dray::fs {
namespace {

/// The highest 4 bits of an entry of FAT32 do not count.
constexpr std::uint32_t kFat32Mask = 0x0fffffff;
/// From here on an entry of FAT32 ends a chain; one below it marks a bad cluster. Those of FAT12 and FAT16 are
/// the same numbers with fewer digits in front.
constexpr std::uint32_t kFat32End = 0x0ffffff8;

constexpr Bytes kBite = 512;
constexpr std::size_t kMostBadBites = 256;

struct Special {
    std::uint32_t bad = 0;
    std::uint32_t first_end = 0;
};

Special special_of(FatTable::Kind kind) {
    switch (kind) {
        case FatTable::Kind::Fat12: return {0xff7, 0xff8};
        case FatTable::Kind::Fat16: return {0xfff7, 0xfff8};
        case FatTable::Kind::Fat32: return {kFat32End - 1, kFat32End};
        case FatTable::Kind::ExFat: return {0xfffffff7, 0xffffffff};
    }
    return {};
}

}  // namespace

FatTable::FatTable(LineCache& cache, const ClusterHeap& heap, const Layout& layout)
    : cache_(&cache), heap_(heap), layout_(layout) {}

Bytes FatTable::offset_of(std::uint32_t cluster) const {
    switch (layout_.kind) {
        case Kind::Fat12: return Bytes{cluster} + cluster / 2;
        case Kind::Fat16: return Bytes{cluster} * 2;
        default: return Bytes{cluster} * 4;
    }
}

std::uint64_t FatTable::most_misses() const {
    constexpr std::uint64_t kSlack = 64;
    return 4 * (offset_of(heap_.count + 2) / LineCache::kLine) + kSlack;
}

Result<std::uint32_t> FatTable::read(Bytes table, std::uint32_t cluster) {
    const bool is_wide = layout_.kind == Kind::Fat32 || layout_.kind == Kind::ExFat;
    std::array<std::byte, 4> bytes{};
    DRAY_TRY(cache_->read(table + offset_of(cluster), std::span(bytes).first(is_wide ? 4 : 2)));
    std::uint32_t value = 0;
    for (std::size_t i = bytes.size(); i-- > 0;)
        value = value << 8U | std::to_integer<std::uint32_t>(bytes[i]);
    if (layout_.kind == Kind::Fat12)
        return cluster % 2 != 0 ? value >> 4U : value & 0xfffU;
    return layout_.kind == Kind::Fat32 ? value & kFat32Mask : value;
}

Result<std::uint32_t> FatTable::meaning(std::uint32_t cluster, std::uint32_t value) const {
    const Special special = special_of(layout_.kind);
    if (value >= special.first_end)
        return kEnd;
    if (heap_.has(value))
        return value;
    if (value == special.bad)
        return fail(ErrorKind::Corrupt, "cluster {} is marked bad, but in use", cluster);
    if (value == 0)
        return fail(ErrorKind::Corrupt, "cluster {} is marked free, but in use", cluster);
    return fail(ErrorKind::Corrupt, "cluster {} is followed by {}, which is none of the volume's", cluster, value);
}

bool FatTable::is_bad(Bytes bite) const { return std::ranges::find(bad_bites_, bite) != bad_bites_.end(); }

Result<std::uint32_t> FatTable::entry(std::uint32_t cluster) {
    if (layout_.mirror == 0)
        return read(layout_.place, cluster);
    const Bytes bite = offset_of(cluster) / kBite;
    if (is_bad(bite))
        return read(layout_.mirror, cluster);
    Result<std::uint32_t> value = read(layout_.place, cluster);
    if (value || value.error().kind() != ErrorKind::Internal)
        return value;
    if (bad_bites_.size() >= kMostBadBites)
        bad_bites_.erase(bad_bites_.begin());
    bad_bites_.push_back(bite);
    return read(layout_.mirror, cluster);
}

Result<std::uint32_t> FatTable::next(std::uint32_t cluster) {
    if (!heap_.has(cluster))
        return fail(ErrorKind::Corrupt, "{} is none of the volume's clusters", cluster);
    DRAY_LET(const std::uint32_t value, entry(cluster));
    Result<std::uint32_t> found = meaning(cluster, value);
    if (found || layout_.mirror == 0)
        return found;
    // What a manifest names is compared with its hash afterwards: nothing wrong comes of a second opinion.
    if (const Result<std::uint32_t> other = read(layout_.mirror, cluster))
        if (const Result<std::uint32_t> second = meaning(cluster, *other))
            return second;
    return found;
}

}  // namespace dray::fs
