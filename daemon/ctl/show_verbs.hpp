// SPDX-License-Identifier: Apache-2.0
//
// The verbs that look: status, list, show, devices, stores. Each answers an exit status.
#pragma once

#include <string>
#include <vector>

#include "daemon/base/result.hpp"
#include "daemon/ctl/client.hpp"
#include "daemon/ctl/output.hpp"

namespace dray::ctl {

/// What is plugged in, what runs, what needs a hand.
Result<int> show_status(const Client& client, const OutputOptions& options);
Result<int> list_jobs(const Client& client, const OutputOptions& options);
Result<int> show_job(const Client& client, const OutputOptions& options, const std::string& job);
Result<int> list_devices(const Client& client, const OutputOptions& options);
/// Those of the names, or all. `is_checked`: each store is tried first, which may take up to 20 s a store; 1 where one
/// cannot be used.
Result<int> list_stores(const Client& client, const OutputOptions& options, const std::vector<std::string>& names,
                        bool is_checked);

/// "Transferring (draining)", "Received (faulted)": a drive's state in words.
std::string drive_state_words(const Properties& drive);

}  // namespace dray::ctl
