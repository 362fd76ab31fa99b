// SPDX-License-Identifier: Apache-2.0
//
// What the two kinds of partition tables share while they are read. Only partition_table.cpp and the two readers
// include this.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "drivers/volume/little_endian.hpp"
#include "drivers/volume/partition/partition_table.hpp"

namespace dray::volume {

inline constexpr std::size_t kMbrBytes = 512;

/// Addresses in a table count in the disk's logical sectors, which an image does not tell.
inline constexpr Bytes kTableUnits[] = {512, 4096};

/// Sorted by place. Corrupt: two of them overlap.
Result<void> put_in_order(std::vector<Partition>& partitions);

/// Whether sector 0 says that the table is a GPT.
bool is_protective(std::span<const std::byte> sector);

/// NotFound: none for this unit. Corrupt: damaged in both places, or not for this device.
Result<PartitionTable> read_gpt(BlockDevice& device, Bytes unit);

/// The same of an MBR with its chain of logical partitions. NotFound: sector 0 is none, or one without partitions.
Result<PartitionTable> read_mbr(BlockDevice& device, Bytes unit, std::span<const std::byte> sector);

}  // namespace dray::volume
