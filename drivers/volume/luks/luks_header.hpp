// SPDX-License-Identifier: Apache-2.0
//
// Where a LUKS header begins and ends, read by ourselves, so that libcryptsetup can be given a copy: a
// boxed process cannot open the device by its path.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "daemon/base/file_descriptor.hpp"
#include "drivers/volume/open_error.hpp"
#include "drivers/volume/volume.hpp"

namespace dray::volume {

/// No header with its key slots is longer.
inline constexpr Bytes kMaxHeaderCopy = 64 * kMiB;

struct LuksHeader {
    /// 1 or 2.
    int version = 0;
    /// Bytes from the start of the device that hold both headers and all key slots.
    Bytes length = 0;
    /// The header at the very start of the device is whole: its checksum is right (version 1 has none, and
    /// its magic bytes must do). Else what is there may be the rest of an earlier use of the device.
    bool is_first_whole = false;
    /// Version 1: what keys are derived with, and how many rounds its digest of the volume key takes.
    std::string hash;
    std::uint32_t digest_iterations = 0;
};

/// NotFound: there is no LUKS header. Corrupt: there is one, but it makes no sense (BitLockerFailed) or the device
/// ends within it (DiskOperationFailed). LimitReached: longer than kMaxHeaderCopy. Unsupported: an unknown
/// version, or data elsewhere. Gone: as read. Internal: neither copy can be read.
OpenResult<LuksHeader> find_luks_header(BlockDevice& device);

struct HeaderCopy {
    /// Sealed.
    FileDescriptor memory;
    /// The first of the places that could not be read and are zeros in the copy: of a copy of the header that is not
    /// needed, of key slots that another key opens, or what is missing in the end.
    std::optional<Error> unread;
};
Result<HeaderCopy> copy_luks_header(BlockDevice& device, const LuksHeader& header);

}  // namespace dray::volume
