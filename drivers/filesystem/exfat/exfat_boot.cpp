// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/exfat/exfat_boot.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "drivers/filesystem/cluster/directory_entry.hpp"

namespace dray::fs {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kBootBytes = 512;
/// Of one region, in sectors; the last one is full of the checksum of the others.
constexpr Bytes kRegion = 12;
constexpr unsigned kLeastSectorShift = 9;
constexpr unsigned kMostSectorShift = 12;
/// 32 MiB.
constexpr unsigned kMostClusterShift = 25;
constexpr std::uint32_t kMostClusters = 0xfffffff5;
constexpr std::string_view kMagic = "\xeb\x76\x90" "EXFAT   "sv;

using Boot = std::array<std::byte, kBootBytes>;

std::unexpected<Error> cannot_be(std::string_view what, std::uint64_t value) {
    return fail(ErrorKind::Corrupt, "the boot region of the exFAT is damaged: {} of {} cannot be", what, value);
}

/// The flags and how full it is change all the time: they do not count.
std::uint32_t checksum_of(std::span<const std::byte> sectors) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < sectors.size(); ++i)
        if (i != 106 && i != 107 && i != 112)
            sum = ((sum & 1U) << 31U) + (sum >> 1U) + byte_in(sectors, i);
    return sum;
}

Result<void> check_region(LineCache& cache, Bytes place, unsigned sector_shift) {
    const Bytes sector = Bytes{1} << sector_shift;
    std::vector<std::byte> region(static_cast<std::size_t>(kRegion * sector));
    DRAY_TRY(cache.read(place, region));
    const std::span<const std::byte> all(region);
    const std::uint32_t sum = checksum_of(all.first(static_cast<std::size_t>((kRegion - 1) * sector)));
    for (Bytes i = (kRegion - 1) * sector; i < region.size(); i += 4)
        if (word_in(all, static_cast<std::size_t>(i)) != sum)
            return fail(ErrorKind::Corrupt, "the checksum of the exFAT's boot region is wrong");
    return {};
}

Result<ExfatBoot> understand(const Boot& bytes, unsigned sector_shift, Bytes volume) {
    const unsigned cluster_shift = sector_shift + byte_in(bytes, 109);
    const unsigned tables = byte_in(bytes, 110);
    const unsigned flags = short_in(bytes, 106);
    const std::uint64_t sectors = number_in(bytes, 72, 8);
    const std::uint64_t table_place = word_in(bytes, 80);
    const std::uint64_t table_sectors = word_in(bytes, 84);
    const std::uint64_t heap_place = word_in(bytes, 88);
    const std::uint32_t clusters = word_in(bytes, 92);

    if (cluster_shift > kMostClusterShift)
        return cannot_be("a cluster size in bits", cluster_shift);
    if (tables != 1 && tables != 2)
        return cannot_be("a number of tables", tables);
    if (clusters == 0 || clusters > kMostClusters)
        return cannot_be("a number of clusters", clusters);
    if (sectors > volume >> sector_shift)
        return fail(ErrorKind::Corrupt, "the exFAT is {} sectors of {} bytes long, but its volume has only {} bytes; is the "
                                        "image whole?", sectors, Bytes{1} << sector_shift, volume);
    if (table_place < 2 * kRegion || table_place + tables * table_sectors > heap_place || heap_place > sectors)
        return cannot_be("a place of the table", table_place);
    if ((table_sectors << sector_shift) / 4 < std::uint64_t{clusters} + 2)
        return cannot_be("a table size in sectors", table_sectors);
    if (std::uint64_t{clusters} << (cluster_shift - sector_shift) > sectors - heap_place)
        return cannot_be("a number of clusters", clusters);

    // With two tables (TexFAT) the flag says which one counts; the other one is of another time.
    constexpr unsigned kSecondActive = 1;
    constexpr unsigned kDirty = 2;
    constexpr unsigned kMediaFailed = 4;
    ExfatBoot boot;
    const std::uint64_t active = tables == 2 && (flags & kSecondActive) != 0 ? table_sectors : 0;
    boot.table = {FatTable::Kind::ExFat, (table_place + active) << sector_shift, 0};
    boot.heap = {heap_place << sector_shift, Bytes{1} << cluster_shift, clusters};
    boot.root_cluster = word_in(bytes, 96);
    if (!boot.heap.has(boot.root_cluster))
        return cannot_be("a first cluster of the root", boot.root_cluster);
    boot.is_dirty = (flags & kDirty) != 0;
    boot.has_media_failed = (flags & kMediaFailed) != 0;
    return boot;
}

Result<ExfatBoot> read_region(LineCache& cache, Bytes place, unsigned expected_shift) {
    Boot bytes{};
    DRAY_TRY(cache.read(place, bytes));
    const bool is_exfat = std::equal(kMagic.begin(), kMagic.end(), bytes.begin(),
                                     [](char a, std::byte b) { return static_cast<std::byte>(a) == b; }) &&
                          short_in(bytes, 510) == 0xaa55;
    const unsigned sector_shift = byte_in(bytes, 108);
    if (!is_exfat || sector_shift < kLeastSectorShift || sector_shift > kMostSectorShift ||
        (expected_shift != 0 && sector_shift != expected_shift))
        return fail(ErrorKind::Corrupt, "the boot region of the exFAT is damaged");
    DRAY_TRY(check_region(cache, place, sector_shift));
    const unsigned version = short_in(bytes, 104);
    if (version >> 8U != 1)
        return fail(ErrorKind::Unsupported, "version {}.{} of exFAT is not known", version >> 8U, version & 0xffU);
    return understand(bytes, sector_shift, cache.device().size());
}

}  // namespace

Result<ExfatBoot> read_exfat_boot(LineCache& cache) {
    Result<ExfatBoot> boot = read_region(cache, 0, 0);
    if (boot || (boot.error().kind() != ErrorKind::Corrupt && boot.error().kind() != ErrorKind::Internal))
        return boot;
    for (unsigned shift = kLeastSectorShift; shift <= kMostSectorShift; ++shift) {
        Result<ExfatBoot> backup = read_region(cache, kRegion << shift, shift);
        if (!backup)
            continue;
        backup->is_backup = true;
        return backup;
    }
    return boot;
}

}  // namespace dray::fs
