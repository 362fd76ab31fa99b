// SPDX-License-Identifier: Apache-2.0
//
// The table in the first sector of a disk, and the chain of further tables in an extended partition.
#include <algorithm>
#include <array>
#include <set>

#include "drivers/volume/partition/partition_format.hpp"

namespace dray::volume {
namespace {

constexpr std::size_t kEntries = 446;
constexpr std::size_t kEntry = 16;
constexpr std::size_t kMark = 510;
constexpr unsigned kPrimary = 4;
/// As many as Linux follows.
constexpr std::size_t kMostLogical = 100;
constexpr std::uint8_t kProtective = 0xee;

struct Entry {
    std::uint8_t flag = 0;
    std::uint8_t type = 0;
    std::uint64_t first = 0;
    std::uint64_t count = 0;

    bool is_empty() const { return type == 0 || count == 0; }
    bool is_extended() const { return type == 0x05 || type == 0x0f || type == 0x85; }
};

struct Kind {
    std::uint8_t type;
    const char* name;
};
/// No place for data; all others are.
constexpr std::array kSkipped{Kind{0xef, "EFI system"}, Kind{0x27, "Windows recovery"}, Kind{0x12, "recovery"},
                              Kind{0x82, "Linux swap"}, Kind{0xee, "protective"}};

bool has_mark(std::span<const std::byte> sector) {
    return sector[kMark] == std::byte{0x55} && sector[kMark + 1] == std::byte{0xaa};
}

std::array<Entry, kPrimary> entries_of(std::span<const std::byte> sector) {
    std::array<Entry, kPrimary> entries;
    for (std::size_t i = 0; i < entries.size(); ++i) {
        const std::span<const std::byte> bytes = sector.subspan(kEntries + i * kEntry, kEntry);
        entries[i] = {static_cast<std::uint8_t>(bytes[0]), static_cast<std::uint8_t>(bytes[4]),
                      little_endian<std::uint32_t>(bytes, 8), little_endian<std::uint32_t>(bytes, 12)};
    }
    return entries;
}

/// Reads one table and its chain.
class Reader {
public:
    Reader(BlockDevice& device, Bytes unit) : device_(device), unit_(unit), sectors_(device.size() / unit) {}

    Result<PartitionTable> read(std::span<const Entry, kPrimary> entries) {
        table_.type = "dos";
        for (unsigned i = 0; i < kPrimary; ++i) {
            const Entry& entry = entries[i];
            if (entry.is_empty())
                continue;
            DRAY_TRY(check(i + 1, entry.first, entry.count, 1, sectors_));
            if (entry.is_extended())
                extended_.push_back(entry);
            else
                add(i + 1, entry.type, entry.first, entry.count);
        }
        for (const Entry& entry : extended_)
            DRAY_TRY(follow(entry));
        DRAY_TRY(put_in_order(table_.partitions));
        return std::move(table_);
    }

private:
    static Result<void> check(unsigned number, std::uint64_t first, std::uint64_t count, std::uint64_t from,
                              std::uint64_t to) {
        if (first < from || first >= to || count > to - first)
            return fail(ErrorKind::Corrupt, "partition {} of the MBR reaches from sector {} to {}, outside of {} to {}",
                        number, first, first + count - 1, from, to - 1);
        return {};
    }

    void add(unsigned number, std::uint8_t type, std::uint64_t first, std::uint64_t count) {
        const auto* skipped = std::ranges::find(kSkipped, type, &Kind::type);
        const bool is_data = skipped == kSkipped.end();
        table_.partitions.push_back(
            {number, first * unit_, count * unit_, is_data, is_data ? fmt::format("type {:02x}", type) : skipped->name});
    }

    /// Each link of the chain is a table with one partition, placed from the link on, and the next link, placed from
    /// the extended partition on.
    Result<void> follow(const Entry& extended) {
        const std::uint64_t end = extended.first + extended.count;
        std::vector<std::byte> sector(static_cast<std::size_t>(unit_));
        std::uint64_t link = extended.first;
        for (;;) {
            if (seen_.size() >= kMostLogical || !seen_.insert(link).second)
                return fail(ErrorKind::Corrupt, "the logical partitions of the MBR go round in a circle, or are more than {}",
                            kMostLogical);
            DRAY_TRY(device_.read(link * unit_, sector));
            if (!has_mark(sector))
                return {};  // an extended partition that was never filled
            const Entry* next = nullptr;
            const std::array<Entry, kPrimary> entries = entries_of(sector);
            for (const Entry& entry : std::span(entries).first(2)) {
                if (entry.is_empty())
                    continue;
                if (entry.is_extended()) {
                    next = &entry;
                    continue;
                }
                DRAY_TRY(check(logical_, link + entry.first, entry.count, link + 1, end));
                add(logical_++, entry.type, link + entry.first, entry.count);
            }
            if (next == nullptr)
                return {};
            if (next->first >= extended.count)
                return fail(ErrorKind::Corrupt, "the chain of logical partitions leaves the extended partition");
            link = extended.first + next->first;
        }
    }

    BlockDevice& device_;
    Bytes unit_;
    std::uint64_t sectors_;
    PartitionTable table_;
    std::vector<Entry> extended_;
    std::set<std::uint64_t> seen_;
    unsigned logical_ = kPrimary + 1;
};

}  // namespace

bool is_protective(std::span<const std::byte> sector) {
    return has_mark(sector) && std::ranges::any_of(entries_of(sector), [](const Entry& entry) {
        return entry.type == kProtective;
    });
}

Result<PartitionTable> read_mbr(BlockDevice& device, Bytes unit, std::span<const std::byte> sector) {
    const std::array<Entry, kPrimary> entries = entries_of(sector);
    // Boot sectors of file systems carry the same mark, with code where a table has its entries.
    const bool is_table = has_mark(sector) && std::ranges::all_of(entries, [](const Entry& entry) {
        return entry.flag == 0 || entry.flag == 0x80;
    });
    if (!is_table || std::ranges::all_of(entries, &Entry::is_empty))
        return fail(ErrorKind::NotFound, "there is no MBR with partitions");
    return Reader(device, unit).read(entries);
}

}  // namespace dray::volume
