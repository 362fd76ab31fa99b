// SPDX-License-Identifier: Apache-2.0
//
// Partition tables: those of sfdisk are read as sfdisk reads them, and no table that someone made up does harm.
#include "drivers/volume/partition/partition_table.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <random>

#include <nlohmann/json.hpp>

#include "daemon/base/file.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/unit/filesystem/memory_device.hpp"

namespace dray::volume {
namespace {

using Content = std::vector<std::byte>;
using nlohmann::json;
using test::MemoryDevice;
using test::ScratchDirectory;

constexpr std::size_t kDisk = 4 * 1024 * 1024;

template <typename Number>
void put(Content& disk, std::size_t offset, Number value) {
    std::memcpy(disk.data() + offset, &value, sizeof value);
}

std::uint32_t crc_of(const Content& disk, std::size_t offset, std::size_t length) {
    std::uint32_t crc = ~0U;
    for (std::size_t i = 0; i < length; ++i) {
        crc ^= static_cast<std::uint32_t>(disk[offset + i]);
        for (int bit = 0; bit < 8; ++bit)
            crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xedb88320U : 0U);
    }
    return ~crc;
}

/// What sfdisk makes of a script, on a disk of zeros.
Content by_sfdisk(const std::string& script, std::size_t size = kDisk) {
    const ScratchDirectory scratch;
    std::ofstream(scratch / "disk").close();
    std::filesystem::resize_file(scratch / "disk", size);
    std::ofstream(scratch / "script") << script;
    EXPECT_EQ(std::system(("sfdisk -q " + (scratch / "disk") + " <" + (scratch / "script")).c_str()), 0);
    const Result<std::string> content = read_file(scratch / "disk", size);
    const auto bytes = std::as_bytes(std::span(content->data(), content->size()));
    return {bytes.begin(), bytes.end()};
}

/// {number: (offset, size)} as sfdisk says.
std::map<unsigned, std::pair<Bytes, Bytes>> as_sfdisk_says(const Content& disk) {
    const ScratchDirectory scratch;
    std::ofstream(scratch / "disk").write(reinterpret_cast<const char*>(disk.data()),
                                          static_cast<std::streamsize>(disk.size()));
    EXPECT_EQ(std::system(("sfdisk --json " + (scratch / "disk") + " >" + (scratch / "json")).c_str()), 0);
    std::map<unsigned, std::pair<Bytes, Bytes>> found;
    const json said = json::parse(std::ifstream(scratch / "json"))["partitiontable"];
    for (const json& partition : said.value("partitions", json::array())) {
        const std::string type = partition["type"];
        if (type == "5" || type == "f")
            continue;  // the extended one is no place for data
        const std::string node = partition["node"];
        const std::size_t digits = node.find_last_not_of("0123456789") + 1;
        found[static_cast<unsigned>(std::stoul(node.substr(digits)))] = {partition["start"].get<Bytes>() * 512,
                                                                         partition["size"].get<Bytes>() * 512};
    }
    return found;
}

Result<PartitionTable> read(Content disk, Bytes sector = 512) {
    MemoryDevice device(std::move(disk), sector);
    return read_partition_table(device);
}

/// A GPT with one entry for data (sectors 40 to 799) after a reserved one (34 to 39), made here.
struct Gpt {
    std::size_t unit = 512;
    std::uint32_t count = 128;
    std::uint32_t entry_size = 128;
    std::uint64_t first_usable = 34;
    std::uint64_t last_usable = 900;
    std::uint64_t entries = 2;
    std::uint64_t data_first = 40;
    std::uint64_t data_last = 799;
    std::uint64_t reserved_first = 34;
    std::uint64_t reserved_last = 39;
    std::uint32_t header_size = 92;
    std::uint64_t lba = 1;
    std::uint64_t where = 1;

    void add_to(Content& disk) const {
        constexpr unsigned char kData[] = {0xa2, 0xa0, 0xd0, 0xeb, 0xe5, 0xb9, 0x33, 0x44,
                                           0x87, 0xc0, 0x68, 0xb6, 0xb7, 0x26, 0x99, 0xc7};
        constexpr unsigned char kReserved[] = {0x16, 0xe3, 0xc9, 0xe3, 0x5c, 0x0b, 0xb8, 0x4d,
                                               0x81, 0x7d, 0xf9, 0x2d, 0xf0, 0x02, 0x15, 0xae};
        disk[510] = std::byte{0x55};
        disk[511] = std::byte{0xaa};
        disk[446 + 4] = std::byte{0xee};
        put<std::uint32_t>(disk, 446 + 8, 1);
        put<std::uint32_t>(disk, 446 + 12, 0xffffffff);
        const std::size_t table = static_cast<std::size_t>(entries) * unit;
        const std::size_t bytes = static_cast<std::size_t>(count) * entry_size;
        const bool fits = entries < disk.size() / unit && bytes <= disk.size() - table;
        if (fits) {
            std::memcpy(disk.data() + table, kReserved, 16);
            put(disk, table + 32, reserved_first);
            put(disk, table + 40, reserved_last);
            std::memcpy(disk.data() + table + entry_size, kData, 16);
            put(disk, table + entry_size + 32, data_first);
            put(disk, table + entry_size + 40, data_last);
        }
        const std::size_t header = static_cast<std::size_t>(where) * unit;
        std::memcpy(disk.data() + header, "EFI PART\0\0\1\0", 12);
        put(disk, header + 12, header_size);
        put(disk, header + 24, lba);
        put(disk, header + 40, first_usable);
        put(disk, header + 48, last_usable);
        put(disk, header + 72, entries);
        put(disk, header + 80, count);
        put(disk, header + 84, entry_size);
        put(disk, header + 88, fits ? crc_of(disk, table, bytes) : 0U);
        put(disk, header + 16, std::uint32_t{0});
        put(disk, header + 16, crc_of(disk, header, std::min<std::size_t>(header_size, unit)));
    }
};

TEST(PartitionTable, ReadsWhatSfdiskMadeAsSfdiskReadsIt) {
    struct Row {
        const char* what;
        const char* script;
        const char* type;
        std::optional<unsigned> first_data;
    };
    const Row rows[] = {
        {"one partition, GPT", "label: gpt\n,,L\n", "gpt", 1},
        {"as Windows does it",
         "label: gpt\nsize=256, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\n"
         "size=256, type=E3C9E316-0B5C-4DB8-817D-F92DF00215AE\nsize=2048, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7\n"
         "size=256, type=DE94BBA4-06D1-4D40-A16A-BFD50179D6AC\n",
         "gpt", 3},
        {"numbers out of order",
         "label: gpt\nfirst-lba: 34\nstart=4000, size=2000, type=L\nstart=2048, size=1000, type=L\n", "gpt", 2},
        {"no data", "label: gpt\nsize=256, type=U\n", "gpt", std::nullopt},
        {"empty", "label: gpt\n", "gpt", std::nullopt},
        {"one partition, MBR", "label: dos\n,,L\n", "dos", 1},
        {"EFI and recovery first, MBR", "label: dos\nsize=256, type=ef\nsize=256, type=27\n,,7\n", "dos", 3},
        {"logical partitions", "label: dos\nsize=256, type=27\n,,E\nsize=512, type=82\nsize=1024, type=83\n,,83\n",
         "dos", 6},
    };
    for (const Row& row : rows) {
        const Content disk = by_sfdisk(row.script);
        const Result<PartitionTable> table = read(disk);
        ASSERT_TRUE(table) << row.what << ": " << table.error().text();
        EXPECT_EQ(table->type, row.type) << row.what;
        EXPECT_EQ(table->notice, "") << row.what;
        std::map<unsigned, std::pair<Bytes, Bytes>> found;
        for (const Partition& partition : table->partitions)
            found[partition.number] = {partition.offset, partition.size};
        EXPECT_EQ(found, as_sfdisk_says(disk)) << row.what;
        const Partition* data = table->first_data();
        EXPECT_EQ(data != nullptr ? std::optional(data->number) : std::nullopt, row.first_data)
            << row.what << ": " << table->describe();
    }
}

TEST(PartitionTable, AGptOfADiskWithLargeSectors) {
    for (const Bytes sector : {Bytes{512}, Bytes{4096}}) {
        Content disk(kDisk);
        Gpt gpt;
        gpt.unit = 4096;
        gpt.first_usable = 6;
        gpt.reserved_first = 6;
        gpt.last_usable = 1000;
        gpt.add_to(disk);
        const Result<PartitionTable> table = read(disk, sector);
        ASSERT_TRUE(table) << table.error().text();
        const Partition* data = table->first_data();
        ASSERT_NE(data, nullptr);
        EXPECT_EQ(data->offset, 40U * 4096);
        EXPECT_EQ(data->size, 760U * 4096);
    }
}

TEST(PartitionTable, AnMbrCountsInTheSectorsWhereItsContentIs) {
    for (const std::size_t unit : {std::size_t{512}, std::size_t{4096}}) {
        Content disk(kDisk);
        disk[510] = std::byte{0x55};
        disk[511] = std::byte{0xaa};
        disk[446 + 4] = std::byte{0x83};
        put<std::uint32_t>(disk, 446 + 8, 64);
        put<std::uint32_t>(disk, 446 + 12, 128);
        std::memcpy(disk.data() + 64 * unit, "LUKS\xba\xbe", 6);
        const Result<PartitionTable> table = read(disk);
        ASSERT_TRUE(table) << table.error().text();
        EXPECT_EQ(table->first_data()->offset, 64 * unit);
        EXPECT_EQ(table->first_data()->size, 128 * unit);
    }
}

TEST(PartitionTable, OneDamagedCopyOfAGptLeavesTheOther) {
    const Content disk = by_sfdisk("label: gpt\n,,L\n");
    const Result<PartitionTable> whole = read(disk);
    ASSERT_TRUE(whole);
    const std::size_t last = disk.size() - 512;
    for (const std::size_t place : {std::size_t{512}, std::size_t{512 + 40}, std::size_t{1024 + 5}}) {
        Content damaged = disk;
        damaged[place] ^= std::byte{1};
        const Result<PartitionTable> table = read(damaged);
        ASSERT_TRUE(table) << place << ": " << table.error().text();
        EXPECT_NE(table->notice.find("damaged"), std::string::npos);
        EXPECT_EQ(table->first_data()->offset, whole->first_data()->offset);
        damaged[last + 40] ^= std::byte{1};
        EXPECT_EQ(read(damaged).error().kind(), ErrorKind::Corrupt) << place;
        EXPECT_NE(read(damaged).error().text().find("both places"), std::string::npos) << place;
    }
    Content other = disk;
    other[last] ^= std::byte{1};
    ASSERT_TRUE(read(other));
    EXPECT_EQ(read(other)->notice, "");
}

TEST(PartitionTable, AGptOnBothSidesOfEachBound) {
    struct Row {
        const char* what;
        std::function<void(Gpt&)> edit;
        const char* refusal;
    };
    const std::uint64_t sectors = kDisk / 512;
    const Row rows[] = {
        {"an honest one", [](Gpt&) {}, nullptr},
        {"up to the last sector", [&](Gpt& g) { g.last_usable = g.data_last = sectors - 1; }, nullptr},
        {"one sector more than the device", [&](Gpt& g) { g.last_usable = g.data_last = sectors; }, "the device has 8192"},
        {"for a disk beyond all bounds", [](Gpt& g) { g.last_usable = g.data_last = ~0ULL; }, "the device has 8192"},
        {"a partition of one sector", [](Gpt& g) { g.data_first = g.data_last = 900; }, nullptr},
        {"a partition that ends before it begins", [](Gpt& g) { g.data_last = 39; }, "partition 2"},
        {"a partition that begins before the first usable sector", [](Gpt& g) { g.reserved_first = 33; }, "partition 1"},
        {"a partition that ends behind the last usable sector", [](Gpt& g) { g.data_last = 901; }, "partition 2"},
        {"a partition that begins nowhere", [](Gpt& g) { g.data_first = ~0ULL; }, "partition 2"},
        {"partitions that overlap by a sector", [](Gpt& g) { g.reserved_last = 40; }, "partitions 1 and 2 overlap"},
        {"one partition within the other", [](Gpt& g) { g.data_first = 35, g.data_last = 36; }, "overlap"},
        {"entries over the partitions", [](Gpt& g) { g.entries = 100; }, "entries of the GPT do not lie"},
        {"entries on the header", [](Gpt& g) { g.entries = 1; }, "entries of the GPT do not lie"},
        {"entries beyond the device", [&](Gpt& g) { g.entries = sectors; }, "entries of the GPT do not lie"},
        {"entries across the end of the device", [&](Gpt& g) { g.entries = sectors - 31; }, "entries of the GPT do not lie"},
        {"entries at the end of the device", [&](Gpt& g) { g.entries = sectors - 32; }, nullptr},
        {"entries beyond all bounds", [](Gpt& g) { g.entries = ~0ULL; }, "entries of the GPT do not lie"},
        {"two large entries", [](Gpt& g) { g.count = 4, g.entry_size = 4096; }, nullptr},
        {"entries that are too large", [](Gpt& g) { g.count = 2, g.entry_size = 8192; }, "entries of 8192 bytes"},
        {"entries that are too small", [](Gpt& g) { g.entry_size = 64; }, "entries of 64 bytes"},
        {"entries of an odd size", [](Gpt& g) { g.entry_size = 136; }, "entries of 136 bytes"},
        {"1 MiB of entries", [](Gpt& g) { g.count = 8192, g.entries = 1000; }, nullptr},
        {"more entries", [](Gpt& g) { g.count = 8193, g.entries = 1000; }, "8193 entries"},
        {"entries without end", [](Gpt& g) { g.count = ~0U; }, "4294967295 entries"},
        {"no entries", [](Gpt& g) { g.count = 0; }, "0 entries"},
        {"no room", [](Gpt& g) { g.last_usable = 33; }, "no room"},
        {"a header of 512 bytes", [](Gpt& g) { g.header_size = 512; }, nullptr},
        {"a header of 513 bytes", [](Gpt& g) { g.header_size = 513; }, "both places"},
        {"a header of 91 bytes", [](Gpt& g) { g.header_size = 91; }, "both places"},
        {"a header for another place", [](Gpt& g) { g.lba = 2; }, "both places"},
    };
    for (const Row& row : rows) {
        Gpt gpt;
        row.edit(gpt);
        Content disk(kDisk);
        gpt.add_to(disk);
        const Result<PartitionTable> table = read(disk);
        EXPECT_EQ(table.has_value(), row.refusal == nullptr) << row.what << (table ? "" : ": " + table.error().text());
        if (!table && row.refusal != nullptr) {
            EXPECT_EQ(table.error().kind(), ErrorKind::Corrupt) << row.what;
            EXPECT_NE(table.error().text().find(row.refusal), std::string::npos) << row.what << ": " << table.error().text();
        }
    }
}

/// Entry `i` of the table in that sector.
void put_mbr(Content& disk, std::size_t sector, unsigned i, std::uint8_t type, std::uint32_t first, std::uint32_t count,
             std::uint8_t flag = 0) {
    const std::size_t table = sector * 512;
    disk[table + 510] = std::byte{0x55};
    disk[table + 511] = std::byte{0xaa};
    disk[table + 446 + 16 * i] = std::byte{flag};
    disk[table + 446 + 16 * i + 4] = std::byte{type};
    put(disk, table + 446 + 16 * i + 8, first);
    put(disk, table + 446 + 16 * i + 12, count);
}

TEST(PartitionTable, AnMbrOnBothSidesOfEachBound) {
    using enum ErrorKind;
    const auto sectors = static_cast<std::uint32_t>(kDisk / 512);
    struct Row {
        const char* what;
        std::function<void(Content&)> make;
        std::optional<ErrorKind> error;
        unsigned partitions = 0;
    };
    /// `count` logical partitions of one sector, one behind the other.
    const auto chain = [&](unsigned count, std::uint32_t last_link) {
        return [=](Content& disk) {
            put_mbr(disk, 0, 0, 0x05, 100, sectors - 100);
            for (unsigned i = 0; i < count; ++i) {
                put_mbr(disk, 100 + 2 * i, 0, 0x83, 1, 1);
                if (i + 1 < count)
                    put_mbr(disk, 100 + 2 * i, 1, 0x05, 2 * (i + 1), 2);
                else if (last_link != 0)
                    put_mbr(disk, 100 + 2 * i, 1, 0x05, last_link - 1, 2);
            }
        };
    };
    const Row rows[] = {
        {"up to the last sector", [&](Content& d) { put_mbr(d, 0, 0, 0x83, 1, sectors - 1); }, std::nullopt, 1},
        {"one sector more", [&](Content& d) { put_mbr(d, 0, 0, 0x83, 1, sectors); }, Corrupt},
        {"beyond all bounds", [&](Content& d) { put_mbr(d, 0, 0, 0x83, ~0U, ~0U); }, Corrupt},
        {"over the table itself", [&](Content& d) { put_mbr(d, 0, 0, 0x83, 0, 10); }, Corrupt},
        {"side by side",
         [&](Content& d) { put_mbr(d, 0, 0, 0x83, 10, 10), put_mbr(d, 0, 3, 0x07, 20, 10, 0x80); }, std::nullopt, 2},
        {"overlapping by a sector",
         [&](Content& d) { put_mbr(d, 0, 0, 0x83, 10, 11), put_mbr(d, 0, 3, 0x07, 20, 10); }, Corrupt},
        {"a boot sector with code for a table", [&](Content& d) { put_mbr(d, 0, 0, 0x83, 10, 10, 0x33); }, NotFound},
        {"no partitions", [&](Content& d) { put_mbr(d, 0, 0, 0, 0, 0); }, NotFound},
        {"an extended partition that is empty", [&](Content& d) { put_mbr(d, 0, 0, 0x05, 100, 100); }, std::nullopt, 0},
        {"100 logical partitions", chain(100, 0), std::nullopt, 100},
        {"101 logical partitions", chain(101, 0), Corrupt},
        {"a chain that comes back to its first link", chain(5, 1), Corrupt},
        {"a chain that comes back to its third link", chain(5, 5), Corrupt},
        {"a chain that leaves the extended partition", chain(3, sectors - 100 + 1), Corrupt},
        {"a chain whose last link is in the last sector", chain(3, sectors - 100), std::nullopt, 3},
        {"a logical partition that leaves the extended one",
         [&](Content& d) { put_mbr(d, 0, 0, 0x05, 100, 50), put_mbr(d, 100, 0, 0x83, 1, 50); }, Corrupt},
        {"a logical partition up to its end",
         [&](Content& d) { put_mbr(d, 0, 0, 0x05, 100, 50), put_mbr(d, 100, 0, 0x83, 1, 49); }, std::nullopt, 1},
        {"two extended partitions that share their chain",
         [&](Content& d) {
             put_mbr(d, 0, 0, 0x05, 100, 50), put_mbr(d, 0, 1, 0x0f, 100, 60), put_mbr(d, 100, 0, 0x83, 1, 5);
         },
         Corrupt},
    };
    for (const Row& row : rows) {
        Content disk(kDisk);
        row.make(disk);
        const Result<PartitionTable> table = read(disk);
        EXPECT_EQ(table.has_value(), !row.error) << row.what << (table ? "" : ": " + table.error().text());
        if (table && !row.error) {
            EXPECT_EQ(table->partitions.size(), row.partitions) << row.what;
        }
        if (!table && row.error) {
            EXPECT_EQ(table.error().kind(), *row.error) << row.what << ": " << table.error().text();
        }
    }
}

TEST(PartitionTable, NoBytesMakeItStumble) {
    const auto seed = std::random_device{}();
    std::cout << "seed " << seed << '\n';
    std::mt19937 random(seed);
    const Content honest[] = {by_sfdisk("label: gpt\n,,L\n", 2 * 1024 * 1024),
                              by_sfdisk("label: dos\nsize=256, type=27\n,,E\nsize=128, type=82\n,,83\n", 2 * 1024 * 1024)};
    for (int round = 0; round < 400; ++round) {
        Content disk = honest[round % 2];
        for (unsigned i = 0; i < 1 + random() % 8; ++i)
            disk[random() % 2 == 0 ? 446 + random() % 66 : random() % 2048] = static_cast<std::byte>(random());
        const Bytes size = disk.size();
        const Result<PartitionTable> table = read(std::move(disk));
        if (!table)
            continue;
        Bytes end = 0;
        for (const Partition& partition : table->partitions) {
            ASSERT_GE(partition.offset, end);
            end = partition.offset + partition.size;
            ASSERT_LE(end, size);
        }
    }
}

}  // namespace
}  // namespace dray::volume
