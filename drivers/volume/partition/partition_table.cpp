// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/partition/partition_table.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "drivers/volume/partition/partition_format.hpp"
#include "drivers/volume/signature.hpp"
#include "drivers/volume/slice.hpp"

namespace dray::volume {
namespace {

constexpr Bytes kLeastDevice = 8 * kKiB;
constexpr std::size_t kDescribed = 8;

/// Which of the units an MBR counts in only its content tells: where the first data partition begins there must be
/// something.
bool is_plausible(BlockDevice& device, const PartitionTable& table) {
    const Partition* data = table.first_data();
    if (data == nullptr)
        return false;
    Slice slice(device, data->offset, data->size);
    const Result<Signature> signature = read_signature(slice);
    return signature && *signature != Signature::Nothing;
}

Result<PartitionTable> read_any_mbr(BlockDevice& device, std::span<const std::byte> sector) {
    std::optional<Result<PartitionTable>> likely;
    for (const Bytes unit : kTableUnits) {
        if (unit < device.sector_size())
            continue;
        Result<PartitionTable> table = read_mbr(device, unit, sector);
        if (table && is_plausible(device, *table))
            return table;
        if (!likely)
            likely = std::move(table);
    }
    return *std::move(likely);
}

Result<PartitionTable> read_any_gpt(BlockDevice& device) {
    for (const Bytes unit : kTableUnits) {
        if (unit < device.sector_size())
            continue;
        Result<PartitionTable> table = read_gpt(device, unit);
        if (table || table.error().kind() != ErrorKind::NotFound)
            return table;
    }
    return fail(ErrorKind::Corrupt, "the partition table (GPT) is damaged in both places");
}

}  // namespace

const Partition* PartitionTable::first_data() const {
    const auto found = std::ranges::find_if(partitions, &Partition::is_data);
    return found == partitions.end() ? nullptr : &*found;
}

const Partition* PartitionTable::find(unsigned number) const {
    const auto found = std::ranges::find(partitions, number, &Partition::number);
    return found == partitions.end() ? nullptr : &*found;
}

std::size_t PartitionTable::data_count() const {
    return static_cast<std::size_t>(std::ranges::count_if(partitions, &Partition::is_data));
}

std::string PartitionTable::describe() const {
    std::string text;
    for (std::size_t i = 0; i < partitions.size() && i < kDescribed; ++i)
        text += fmt::format("{}{}: {}", i == 0 ? "" : ", ", partitions[i].number, partitions[i].kind);
    return text.empty() ? "it is empty" : text + (partitions.size() > kDescribed ? ", ..." : "");
}

std::string_view table_name(const PartitionTable& table) { return table.type == "gpt" ? "GPT" : "MBR"; }

Result<void> put_in_order(std::vector<Partition>& partitions) {
    std::ranges::sort(partitions, {}, &Partition::offset);
    const auto overlap = std::ranges::adjacent_find(partitions, [](const Partition& left, const Partition& right) {
        return right.offset - left.offset < left.size;
    });
    if (overlap != partitions.end())
        return fail(ErrorKind::Corrupt, "partitions {} and {} overlap", overlap->number, std::next(overlap)->number);
    return {};
}

Result<PartitionTable> read_partition_table(BlockDevice& device) {
    if (device.size() < kLeastDevice)
        return fail(ErrorKind::NotFound, "the device is too short for a partition table");
    const Bytes sector_size = std::max<Bytes>(kMbrBytes, device.sector_size());
    std::vector<std::byte> sector(static_cast<std::size_t>(sector_size));
    DRAY_TRY(device.read(0, sector));
    return is_protective(sector) ? read_any_gpt(device) : read_any_mbr(device, sector);
}

}  // namespace dray::volume
