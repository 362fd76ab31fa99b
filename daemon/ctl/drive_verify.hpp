// SPDX-License-Identifier: Apache-2.0
//
// The verb `drive verify`: whether everything on a prepared or exported drive is as its manifest says.
#pragma once

#include <string>

#include "daemon/base/result.hpp"
#include "daemon/ctl/drive_reader.hpp"
#include "daemon/ctl/output.hpp"

namespace dray::ctl {

struct VerifyOptions {
    DriveSource drive;
    /// Path on the drive; "" for the only one in its root.
    std::string manifest;
    /// MD5, SHA-256 or SHA-512 in hex that the manifest must have; "" for any.
    std::string manifest_hash;
};

/// Answers an exit status: 0 all is right, 1 something is not, kExitInterrupted when a signal stopped it.
Result<int> drive_verify(const VerifyOptions& options, const OutputOptions& output);

}  // namespace dray::ctl
