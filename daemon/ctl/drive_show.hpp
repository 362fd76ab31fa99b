// SPDX-License-Identifier: Apache-2.0
//
// The verb `drive show`: what a drive is and what it is good for.
#pragma once

#include <string>

#include "daemon/base/result.hpp"
#include "daemon/ctl/drive_reader.hpp"
#include "daemon/ctl/output.hpp"

namespace dray::ctl {

struct ShowDriveOptions {
    DriveSource drive;
    /// Path on the drive; "" for whatever its root has.
    std::string manifest;
};

/// Answers an exit status; kExitInterrupted when a signal stopped it.
Result<int> drive_show(const ShowDriveOptions& options, const OutputOptions& output);

}  // namespace dray::ctl
