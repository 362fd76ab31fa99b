// SPDX-License-Identifier: Apache-2.0
//
// Finds out which file system a volume holds and opens it for reading.
#pragma once

#include <memory>

#include "drivers/filesystem/filesystem.hpp"
#include "drivers/volume/open_error.hpp"
#include "drivers/volume/volume.hpp"

namespace dray::fs {

/// Unsupported, status VolumeNotNtfs: another file system, by name, or none. Else DiskOperationFailed.
/// `volume` must outlive the file system.
volume::OpenResult<std::unique_ptr<FileSystem>> open_filesystem(volume::BlockDevice& volume);

}  // namespace dray::fs
