// SPDX-License-Identifier: Apache-2.0
//
// What a device or volume seems to hold, by its magic bytes.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "daemon/base/result.hpp"
#include "drivers/volume/volume.hpp"

namespace dray::volume {

enum class Signature {
    Nothing,
    Luks,
    BitLocker,
    PartitionTable,
    LinuxRaid,
    Lvm,
    Ext,
    Ntfs,
    ExFat,
    Fat,
    Xfs,
    Btrfs,
    HfsPlus,
    Apfs,
    ReFs,
    F2fs,
    Zfs,
    Udf,
    Iso9660,
};

/// The name people know it by: "NTFS"; "nothing known" for Nothing.
std::string_view to_string(Signature signature);
/// Whether it is a file system.
bool is_filesystem(Signature signature);

/// How many bytes from the start signature_of wants to see; fewer are fine.
inline constexpr std::size_t kSignatureBytes = 68 * kKiB;
Signature signature_of(std::span<const std::byte> start);
/// The same, of a device: Gone, Internal as read.
Result<Signature> read_signature(BlockDevice& device);

}  // namespace dray::volume
