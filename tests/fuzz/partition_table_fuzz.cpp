// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as the start of a disk: a table whose partitions lie side by side within the disk, or an error. The last
// KiB is the disk's end as well, where the second copy of a GPT lies. All is read twice: as it is, and with the
// checksums of a GPT put right, which no mutation would come past.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "drivers/volume/partition/partition_table.hpp"
#include "tests/unit/filesystem/memory_device.hpp"

namespace {

using Content = std::vector<std::byte>;

constexpr std::size_t kDisk = 256 * 1024;
constexpr std::size_t kTail = 1024;

std::uint32_t crc_of(const std::byte* bytes, std::size_t length) {
    std::uint32_t crc = ~0U;
    for (std::size_t i = 0; i < length; ++i) {
        crc ^= static_cast<std::uint32_t>(bytes[i]);
        for (int bit = 0; bit < 8; ++bit)
            crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xedb88320U : 0U);
    }
    return ~crc;
}

template <typename Number>
Number get(const Content& disk, std::size_t offset) {
    Number value{};
    std::memcpy(&value, disk.data() + offset, sizeof value);
    return value;
}

void put_right(Content& disk, std::size_t header, std::size_t unit) {
    if (std::memcmp(disk.data() + header, "EFI PART", 8) != 0)
        return;
    const auto entries = get<std::uint64_t>(disk, header + 72);
    const std::uint64_t bytes = std::uint64_t{get<std::uint32_t>(disk, header + 80)} * get<std::uint32_t>(disk, header + 84);
    if (entries < disk.size() / unit && bytes <= disk.size() - entries * unit) {
        const std::uint32_t crc = crc_of(disk.data() + entries * unit, bytes);
        std::memcpy(disk.data() + header + 88, &crc, sizeof crc);
    }
    std::memset(disk.data() + header + 16, 0, 4);
    const std::uint32_t crc = crc_of(disk.data() + header, std::min<std::size_t>(get<std::uint32_t>(disk, header + 12), unit));
    std::memcpy(disk.data() + header + 16, &crc, sizeof crc);
}

void look_at(Content disk) {
    dray::test::MemoryDevice device(std::move(disk), 512);
    const dray::Result<dray::volume::PartitionTable> table = dray::volume::read_partition_table(device);
    if (!table) {
        if (table.error().text().empty())
            std::abort();
        return;
    }
    dray::Bytes end = 0;
    for (const dray::volume::Partition& partition : table->partitions) {
        if (partition.offset < end || partition.size == 0 || partition.offset > kDisk ||
            partition.size > kDisk - partition.offset || partition.offset % 512 != 0 || partition.size % 512 != 0)
            std::abort();
        end = partition.offset + partition.size;
    }
    if (table->describe().empty() || (table->type != "gpt" && table->type != "dos") ||
        table->data_count() > table->partitions.size())
        std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Content disk(kDisk);
    std::memcpy(disk.data(), data, std::min(size, kDisk));
    if (size >= kTail)
        std::memcpy(disk.data() + kDisk - kTail, data + size - kTail, kTail);
    look_at(disk);
    for (const std::size_t unit : {std::size_t{512}, std::size_t{4096}}) {
        put_right(disk, unit, unit);
        put_right(disk, kDisk - unit, unit);
    }
    look_at(std::move(disk));
    return 0;
}
