// SPDX-License-Identifier: Apache-2.0
//
// What drayd gives up before it touches its state or a device: root, capabilities, core dumps, being traced.
// And as whom its children run.
#pragma once

#include <optional>
#include <string>

#include "daemon/base/result.hpp"
#include "daemon/engine/transfer_process.hpp"

namespace dray {

/// Started as root, becomes the user `dray`, or where there is none the first unused uid from 60,000 on, with
/// the supplementary group `disk`; the state directory is made if missing, and becomes that user's. Of the
/// capabilities it has, from root or from its unit, it keeps those that dray-drive and dray-transfer need to
/// become users of their own (SETUID, SETGID) and that it needs to end them (KILL). Where one of the three or
/// one of the users is missing it keeps none: the answer is empty, all three run with drayd's uid, and one
/// warning says so. Before the first thread.
Result<std::optional<ChildUsers>> settle_users(const std::string& state_directory);

/// No core dumps, no tracing by the same user, files for the owner alone, and as many descriptors as the
/// hard limit allows: keys are in this process's memory.
Result<void> harden_process();

}  // namespace dray
