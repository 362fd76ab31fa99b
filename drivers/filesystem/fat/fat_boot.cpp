// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/fat/fat_boot.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include "drivers/filesystem/cluster/directory_entry.hpp"

namespace dray::fs {
namespace {

constexpr std::size_t kBootBytes = 512;
/// Fewer clusters are a FAT12, fewer than the second number a FAT16.
constexpr std::uint32_t kFat12Clusters = 4085;
constexpr std::uint32_t kFat16Clusters = 65525;
/// Numbers above have a meaning of their own.
constexpr std::uint32_t kMostClusters = 0x0ffffff5;
/// Where the copy of a FAT32's first sector usually is, in sectors; damage may have hit the field that says it.
constexpr Bytes kBackupSector = 6;
constexpr Bytes kLargestSector = 4096;

using Boot = std::array<std::byte, kBootBytes>;

/// As the sector has it, in sectors.
struct Fields {
    explicit Fields(const Boot& boot)
        : sector_size(short_in(boot, 11)),
          cluster_sectors(byte_in(boot, 13)),
          reserved(short_in(boot, 14)),
          tables(byte_in(boot, 16)),
          root_entries(short_in(boot, 17)),
          total(short_in(boot, 19) != 0 ? short_in(boot, 19) : word_in(boot, 32)),
          is_fat32(short_in(boot, 22) == 0),
          table_sectors(is_fat32 ? word_in(boot, 36) : short_in(boot, 22)),
          flags(short_in(boot, 40)),
          version(short_in(boot, 42)),
          root_cluster(word_in(boot, 44)),
          state(byte_in(boot, is_fat32 ? 65 : 37)) {}

    Bytes sector_size;
    std::uint64_t cluster_sectors;
    std::uint64_t reserved;
    std::uint64_t tables;
    std::uint64_t root_entries;
    std::uint64_t total;
    bool is_fat32;
    std::uint64_t table_sectors;
    unsigned flags;
    unsigned version;
    std::uint32_t root_cluster;
    unsigned state;
};

std::unexpected<Error> cannot_be(std::string_view what, std::uint64_t value) {
    return fail(ErrorKind::Corrupt, "the first sector of the FAT is damaged: {} of {} cannot be", what, value);
}

Result<void> check_sizes(const Fields& fields) {
    if (!std::has_single_bit(fields.sector_size) || fields.sector_size < kBootBytes || fields.sector_size > kLargestSector)
        return cannot_be("a sector size", fields.sector_size);
    if (!std::has_single_bit(fields.cluster_sectors))
        return cannot_be("a cluster size in sectors", fields.cluster_sectors);
    if (fields.reserved == 0)
        return cannot_be("a number of reserved sectors", fields.reserved);
    if (fields.tables == 0 || fields.tables > 16)
        return cannot_be("a number of tables", fields.tables);
    if (fields.table_sectors == 0)
        return cannot_be("a table size", fields.table_sectors);
    if (fields.is_fat32 ? fields.root_entries != 0 : fields.root_entries == 0)
        return cannot_be("a number of entries in the root", fields.root_entries);
    return {};
}

/// Where the tables are and which of them counts.
Result<FatTable::Layout> layout_of(const Fields& fields, FatTable::Kind kind) {
    constexpr unsigned kNotMirrored = 0x80;
    constexpr unsigned kActive = 0x0f;
    const Bytes first = fields.reserved * fields.sector_size;
    const Bytes length = fields.table_sectors * fields.sector_size;
    if (fields.is_fat32 && (fields.flags & kNotMirrored) != 0) {
        const unsigned active = fields.flags & kActive;
        if (active >= fields.tables)
            return cannot_be("an active table", active);
        return FatTable::Layout{kind, first + active * length, 0};
    }
    return FatTable::Layout{kind, first, fields.tables > 1 ? first + length : 0};
}

Bytes entries_in(FatTable::Kind kind, Bytes table) {
    switch (kind) {
        case FatTable::Kind::Fat12: return table * 2 / 3;
        case FatTable::Kind::Fat16: return table / 2;
        default: return table / 4;
    }
}

Result<FatBoot> understand(const Boot& bytes, Bytes volume) {
    const Fields fields(bytes);
    DRAY_TRY(check_sizes(fields));
    if (fields.is_fat32 && fields.version != 0)
        return fail(ErrorKind::Unsupported, "version {}.{} of FAT32 is not known", fields.version >> 8U,
                    fields.version & 0xffU);
    const std::uint64_t root_sectors = (fields.root_entries * kEntry + fields.sector_size - 1) / fields.sector_size;
    const std::uint64_t before = fields.reserved + fields.tables * fields.table_sectors + root_sectors;
    if (before >= fields.total)
        return fail(ErrorKind::Corrupt, "the first sector of the FAT is damaged: its tables alone need {} sectors, and it "
                                        "says it has {}", before, fields.total);
    if (fields.total > volume / fields.sector_size)
        return fail(ErrorKind::Corrupt, "the FAT is {} bytes long, but its volume has only {}; is the image whole?",
                    fields.total * fields.sector_size, volume);

    FatBoot boot;
    const std::uint64_t clusters = (fields.total - before) / fields.cluster_sectors;
    boot.kind = fields.is_fat32               ? FatTable::Kind::Fat32
                : clusters < kFat12Clusters   ? FatTable::Kind::Fat12
                                              : FatTable::Kind::Fat16;
    if (clusters == 0 || clusters > kMostClusters || (!fields.is_fat32 && clusters >= kFat16Clusters))
        return cannot_be("a number of clusters", clusters);
    DRAY_LET(boot.table, layout_of(fields, boot.kind));
    // What has no entry cannot be in use.
    const std::uint64_t entries = entries_in(boot.kind, fields.table_sectors * fields.sector_size);
    boot.heap = {before * fields.sector_size, fields.cluster_sectors * fields.sector_size,
                 static_cast<std::uint32_t>(std::min(clusters, entries - 2))};
    if (!fields.is_fat32) {
        boot.root_place = (before - root_sectors) * fields.sector_size;
        boot.root_size = fields.root_entries * kEntry;
    }
    boot.root_cluster = fields.root_cluster;
    if (fields.is_fat32 && !boot.heap.has(boot.root_cluster))
        return cannot_be("a first cluster of the root", boot.root_cluster);
    boot.is_dirty = (fields.state & 1U) != 0;
    return boot;
}

/// Windows and others say so in the entry of cluster 1, Linux in the first sector.
Result<bool> is_table_dirty(FatTable& table, FatTable::Kind kind) {
    if (kind == FatTable::Kind::Fat12)
        return false;
    const std::uint32_t clean = kind == FatTable::Kind::Fat32 ? 0x0c000000 : 0xc000;
    const Result<std::uint32_t> flags = table.entry(1);
    if (!flags && flags.error().kind() == ErrorKind::Gone)
        return fail(flags.error());
    return flags && (*flags & clean) != clean;
}

/// Of a FAT32, if there is a whole one.
Result<FatBoot> read_backup(LineCache& cache) {
    for (Bytes sector = kBootBytes; sector <= kLargestSector; sector *= 2) {
        Boot bytes{};
        DRAY_TRY(cache.read(kBackupSector * sector, bytes));
        const Fields fields(bytes);
        if (fields.sector_size != sector || !fields.is_fat32 || short_in(bytes, 510) != 0xaa55)
            continue;
        Result<FatBoot> boot = understand(bytes, cache.device().size());
        if (!boot)
            continue;
        boot->is_backup = true;
        return boot;
    }
    return fail(ErrorKind::NotFound, "there is no copy of the first sector");
}

}  // namespace

Result<FatBoot> read_fat_boot(LineCache& cache) {
    Boot bytes{};
    Result<void> read = cache.read(0, bytes);
    if (!read && read.error().kind() != ErrorKind::Internal)
        return fail(std::move(read.error()));
    Result<FatBoot> boot = read ? understand(bytes, cache.device().size()) : fail(std::move(read.error()));
    if (!boot && boot.error().kind() != ErrorKind::Unsupported)
        if (Result<FatBoot> backup = read_backup(cache))
            boot = std::move(backup);
    if (!boot)
        return boot;
    FatTable table(cache, boot->heap, boot->table);
    DRAY_LET(const bool is_dirty, is_table_dirty(table, boot->kind));
    boot->is_dirty = boot->is_dirty || is_dirty;
    return boot;
}

}  // namespace dray::fs
