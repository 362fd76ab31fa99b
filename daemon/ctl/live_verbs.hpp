// SPDX-License-Identifier: Apache-2.0
//
// The verbs that stay: watch and wait. Ctrl-C ends them and leaves the work running. They sit through a
// restart of drayd.
#pragma once

#include <optional>
#include <string>

#include "daemon/base/result.hpp"
#include "daemon/ctl/client.hpp"
#include "daemon/ctl/output.hpp"

namespace dray::ctl {

/// The job failed or was cancelled.
inline constexpr int kExitJobFailed = 3;
/// The time given was over before the job was finished.
inline constexpr int kExitTimeout = 6;
/// Ctrl-C.
inline constexpr int kExitInterrupted = 130;

/// A progress line per drive with rate and time left: redrawn on a terminal, elsewhere a line per change
/// of state and every tenth part. Of one job until it is finished, or with "" of all until Ctrl-C.
Result<int> watch(Client& client, const OutputOptions& output, const std::string& job);

/// Until the job is finished. 0 Completed without errors, kExitJobFailed, kExitTimeout, kExitInterrupted.
Result<int> wait_for_job(Client& client, const OutputOptions& output, const std::string& job,
                         std::optional<Microseconds> timeout);

}  // namespace dray::ctl
