// SPDX-License-Identifier: Apache-2.0
//
// What drayd gives up before it touches its state or a device: root, core dumps, being traced.
#pragma once

#include <string>

#include "daemon/base/result.hpp"

namespace dray {

/// Started as root, becomes the user `dray`, or where there is none the first unused uid from 60,000 on,
/// with the supplementary group `disk`, and keeps no capability. The state directory is made if missing,
/// and becomes that user's. Not root: does nothing. Before the first thread.
Result<void> leave_root(const std::string& state_directory);

/// No core dumps, no tracing by the same user, files for the owner alone, and as many descriptors as the
/// hard limit allows: keys are in this process's memory.
Result<void> harden_process();

}  // namespace dray
