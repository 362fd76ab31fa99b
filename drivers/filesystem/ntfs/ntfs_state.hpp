// SPDX-License-Identifier: Apache-2.0
//
// What the system files of an NTFS say about it: its table of upper case, and whether it was left in order.
#pragma once

#include <string>

#include "daemon/base/result.hpp"
#include "drivers/filesystem/ntfs/ntfs_directory.hpp"
#include "drivers/filesystem/ntfs/ntfs_volume.hpp"

namespace dray::fs {

/// Takes the volume's own table if it is whole. Gone: the device went away.
Result<void> load_upcase(NtfsVolume& volume);

/// A sentence if Windows hibernated or did not unmount the volume cleanly, else "". Gone as above.
Result<std::string> notice_of(NtfsVolume& volume, NtfsDirectory& root);

}  // namespace dray::fs
