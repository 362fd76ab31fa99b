// SPDX-License-Identifier: Apache-2.0
//
// The verb `drive repair`: from the log of an import, which files have to be brought again; whether their originals are
// there as they were; and a new drive with just these blobs.
#pragma once

#include <string>
#include <vector>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"
#include "daemon/ctl/drive_reader.hpp"
#include "daemon/ctl/output.hpp"

namespace dray::ctl {

struct RepairOptions {
    /// The drive that was imported; only its manifest and its metadata and properties files are read.
    DriveSource drive;
    /// Path on the drive; "" for the only one in its root.
    std::string manifest;
    /// The error log or the verbose log.
    std::string log;
    /// Directories in which the originals are.
    std::vector<std::string> sources;
    /// Read if it is there, and written anew; "" for none.
    std::string path_map;
    /// The new drive; "" to make none.
    std::string output;
    std::string serial;
    /// "" for that of the old one.
    std::string output_key_file;
    Bytes size = 0;
    bool is_overwrite_allowed = false;
};

/// Answers an exit status: 0 when there is nothing to repair, or every original was found (and the drive is made, if it
/// was asked for); 1 when some were not; kExitInterrupted when a signal stopped it.
Result<int> drive_repair(const RepairOptions& options, const OutputOptions& output);

}  // namespace dray::ctl
