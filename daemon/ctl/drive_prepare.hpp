// SPDX-License-Identifier: Apache-2.0
//
// The verb `drive prepare`: encrypted drives with files and manifest, made by dray-drive without mount, root or daemon.
#pragma once

#include <string>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"
#include "daemon/ctl/blob_sources.hpp"
#include "daemon/ctl/output.hpp"

namespace dray::ctl {

struct PrepareOptions {
    SourceOptions sources;
    /// A file that names drives; then `serial`, `output` and `size` are not given.
    std::string driveset;
    std::string serial;
    /// In a drive set: of the drives that have none of their own there.
    std::string key_file;
    /// An image file or a block device.
    std::string output;
    /// 0: a device's own size, and for an image what is needed.
    Bytes size = 0;
    Bytes block_size = 4 * kMiB;
    bool is_overwrite_allowed = false;
};

/// Answers an exit status; kExitInterrupted when a signal stopped it. Whatever went wrong, nothing
/// half-made has the output's name.
Result<int> drive_prepare(const PrepareOptions& options, const OutputOptions& output);

}  // namespace dray::ctl
