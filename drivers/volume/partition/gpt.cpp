// SPDX-License-Identifier: Apache-2.0
//
// UEFI 2.10, chapter 5.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <string_view>

#include "drivers/volume/partition/partition_format.hpp"

namespace dray::volume {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kLeastHeader = 92;
constexpr std::uint32_t kRevision = 0x00010000;
constexpr std::uint32_t kLeastEntry = 128;
constexpr std::uint32_t kMostEntry = 4096;
/// Honest tables have 16 KiB of entries.
constexpr Bytes kMostEntries = kMiB;

struct Kind {
    std::string_view guid;
    std::string_view name;
    bool is_data;
};

/// What has a name here. All others are data of a kind we need not know: what is in it tells.
constexpr std::array kKinds{
    Kind{"c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "EFI system", false},
    Kind{"e3c9e316-0b5c-4db8-817d-f92df00215ae", "Microsoft reserved", false},
    Kind{"de94bba4-06d1-4d40-a16a-bfd50179d6ac", "Windows recovery", false},
    Kind{"5808c8aa-7e8f-42e0-85d2-e1e90434cfb3", "LDM metadata", false},
    Kind{"21686148-6449-6e6f-744e-656564454649", "BIOS boot", false},
    Kind{"0657fd6d-a4ab-43c4-84e5-0933c84b4f4f", "Linux swap", false},
    Kind{"8da63339-0007-60c0-c436-083ac8230908", "Linux reserved", false},
    Kind{"bc13c2ff-59e6-4262-a352-b275fd6f7172", "Linux extended boot", false},
    Kind{"426f6f74-0000-11aa-aa11-00306543ecac", "Apple boot", false},
    Kind{"52637672-7900-11aa-aa11-00306543ecac", "Apple recovery", false},
    Kind{"69646961-6700-11aa-aa11-00306543ecac", "Apple recovery", false},
    Kind{"ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", "Microsoft basic data", true},
    Kind{"0fc63daf-8483-4772-8e79-3d69d8477de4", "Linux data", true},
    Kind{"ca7d7ccb-63ed-4c53-861c-1742536059cc", "Linux LUKS", true},
};

struct Header {
    std::uint64_t first_usable = 0;
    std::uint64_t last_usable = 0;
    std::uint64_t entries = 0;
    std::uint32_t count = 0;
    std::uint32_t entry_size = 0;
    std::uint32_t entries_crc = 0;

    Bytes entries_bytes() const { return static_cast<Bytes>(count) * entry_size; }
};

/// Nothing: the sector holds no header at all, or one that is damaged.
std::optional<Header> parse_header(std::span<const std::byte> sector, std::uint64_t lba) {
    if (std::memcmp(sector.data(), "EFI PART", 8) != 0 || little_endian<std::uint32_t>(sector, 8) != kRevision)
        return std::nullopt;
    const auto size = little_endian<std::uint32_t>(sector, 12);
    if (size < kLeastHeader || size > sector.size())
        return std::nullopt;
    std::vector<std::byte> copy(sector.begin(), sector.begin() + size);
    std::fill_n(copy.begin() + 16, 4, std::byte{0});
    if (crc32(copy) != little_endian<std::uint32_t>(sector, 16) || little_endian<std::uint64_t>(sector, 24) != lba)
        return std::nullopt;
    Header header;
    header.first_usable = little_endian<std::uint64_t>(sector, 40);
    header.last_usable = little_endian<std::uint64_t>(sector, 48);
    header.entries = little_endian<std::uint64_t>(sector, 72);
    header.count = little_endian<std::uint32_t>(sector, 80);
    header.entry_size = little_endian<std::uint32_t>(sector, 84);
    header.entries_crc = little_endian<std::uint32_t>(sector, 88);
    return header;
}

/// A header whose checksum is right can still be made to harm.
Result<void> check_header(const Header& header, std::uint64_t sectors, Bytes unit) {
    if (header.entry_size < kLeastEntry || header.entry_size > kMostEntry || !std::has_single_bit(header.entry_size) ||
        header.count == 0 || header.entries_bytes() > kMostEntries)
        return fail(ErrorKind::Corrupt, "the GPT has {} entries of {} bytes, which cannot be", header.count,
                    header.entry_size);
    if (header.first_usable > header.last_usable)
        return fail(ErrorKind::Corrupt, "the GPT leaves no room for partitions");
    if (header.last_usable >= sectors)
        return fail(ErrorKind::Corrupt, "the GPT is for a disk of {} sectors at least, but the device has {}",
                    header.last_usable, sectors);
    const std::uint64_t length = (header.entries_bytes() + unit - 1) / unit;
    if (header.entries < 2 || header.entries >= sectors || length > sectors - header.entries ||
        (header.entries <= header.last_usable && header.entries + length > header.first_usable))
        return fail(ErrorKind::Corrupt, "the entries of the GPT do not lie where they may");
    return {};
}

Result<std::optional<Partition>> parse_entry(std::span<const std::byte> entry, unsigned number, const Header& header,
                                             Bytes unit) {
    const std::span<const std::byte> type = entry.first(kGuidBytes);
    if (std::ranges::all_of(type, [](std::byte byte) { return byte == std::byte{0}; }))
        return std::optional<Partition>();
    const auto first = little_endian<std::uint64_t>(entry, 32);
    const auto last = little_endian<std::uint64_t>(entry, 40);
    if (first > last || first < header.first_usable || last > header.last_usable)
        return fail(ErrorKind::Corrupt, "partition {} of the GPT reaches from sector {} to {}, outside of {} to {}",
                    number, first, last, header.first_usable, header.last_usable);
    Partition partition{number, first * unit, (last - first + 1) * unit, true, guid_text(type)};
    const auto* known = std::ranges::find(kKinds, partition.kind, &Kind::guid);
    if (known != kKinds.end()) {
        partition.is_data = known->is_data;
        partition.kind = known->name;
    }
    return std::optional(std::move(partition));
}

/// The table whose header is in that sector. NotFound: no header, or a damaged one.
Result<PartitionTable> read_at(BlockDevice& device, Bytes unit, std::uint64_t lba, std::uint64_t sectors) {
    std::vector<std::byte> sector(static_cast<std::size_t>(unit));
    DRAY_TRY(device.read(lba * unit, sector));
    const std::optional<Header> header = parse_header(sector, lba);
    if (!header)
        return fail(ErrorKind::NotFound, "there is no whole GPT header in sector {}", lba);
    DRAY_TRY(check_header(*header, sectors, unit));
    std::vector<std::byte> entries(static_cast<std::size_t>((header->entries_bytes() + unit - 1) / unit * unit));
    DRAY_TRY(device.read(header->entries * unit, entries));
    const std::span<const std::byte> used = std::span(entries).first(static_cast<std::size_t>(header->entries_bytes()));
    if (crc32(used) != header->entries_crc)
        return fail(ErrorKind::NotFound, "the entries of the GPT in sector {} are damaged", header->entries);
    PartitionTable table;
    table.type = "gpt";
    for (unsigned i = 0; i < header->count; ++i) {
        DRAY_LET(std::optional<Partition> partition,
                 parse_entry(used.subspan(static_cast<std::size_t>(i) * header->entry_size, header->entry_size), i + 1,
                             *header, unit));
        if (partition)
            table.partitions.push_back(*std::move(partition));
    }
    DRAY_TRY(put_in_order(table.partitions));
    return table;
}

}  // namespace

Result<PartitionTable> read_gpt(BlockDevice& device, Bytes unit) {
    const std::uint64_t sectors = device.size() / unit;
    // Two headers, sector 0 and at least one of entries and one of content.
    if (sectors < 6)
        return fail(ErrorKind::NotFound, "the device is too short for a GPT");
    Result<PartitionTable> table = read_at(device, unit, 1, sectors);
    if (table || table.error().kind() != ErrorKind::NotFound)
        return table;
    table = read_at(device, unit, sectors - 1, sectors);
    if (table)
        table->notice = "the first copy of the partition table (GPT) is damaged; the second one at the disk's end was used";
    return table;
}

}  // namespace dray::volume
