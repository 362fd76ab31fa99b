// SPDX-License-Identifier: Apache-2.0
//
// The verbs about exports. Each answers an exit status.
#pragma once

#include <string>

#include "daemon/ctl/client.hpp"
#include "daemon/ctl/job_verbs.hpp"
#include "daemon/ctl/output.hpp"

namespace dray::ctl {

struct PreviewOptions {
    std::string store;
    SelectionOptions selection;
    /// As in 500GB.
    std::string drive_size;
};

/// What an export would take, and how many drives it would need. Takes as long as the store takes to list it.
Result<int> preview_export(const Client& client, const OutputOptions& output, const PreviewOptions& options);

}  // namespace dray::ctl
