// SPDX-License-Identifier: Apache-2.0
//
// Partition tables, GPT and MBR, read by ourselves: the kernel is never asked to look at a customer's drive. Whatever
// the device holds, every call ends, in bounded memory, with a table that makes sense or an error.
#pragma once

#include <string>
#include <vector>

#include "drivers/volume/volume.hpp"

namespace dray::volume {

struct Partition {
    /// As the kernel counts: the 2 of sdb2.
    unsigned number = 0;
    Bytes offset = 0;
    Bytes size = 0;
    /// Whether content of the drive's owner may be in it: no boot, recovery, swap or reserved partition.
    bool is_data = false;
    /// "EFI system", "Microsoft reserved"; for a kind without a name its number or identifier.
    std::string kind;
};

struct PartitionTable {
    /// udev's words: "gpt", "dos".
    std::string type;
    /// In the order in which they lie on the disk. None overlaps another, and all lie within the device.
    std::vector<Partition> partitions;
    /// What is odd about it but harmless, or "".
    std::string notice;

    const Partition* first_data() const;
    /// By number; null where there is none.
    const Partition* find(unsigned number) const;
    std::size_t data_count() const;
    /// "1: EFI system, 2: Microsoft reserved"; the first few of them.
    std::string describe() const;
};

/// "GPT", "MBR", as people say.
std::string_view table_name(const PartitionTable& table);

/// NotFound: there is none. Corrupt: there is one, but it does not fit the device, overlaps or is damaged in both
/// places. Gone, Internal: as read.
Result<PartitionTable> read_partition_table(BlockDevice& device);

}  // namespace dray::volume
