// SPDX-License-Identifier: Apache-2.0
//
// Copies over several drives: which file goes onto which, so that no file is split.
#pragma once

#include <string>
#include <vector>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"
#include "daemon/ctl/blob_sources.hpp"
#include "daemon/ctl/drive_plan.hpp"

namespace dray::ctl {

/// `drives` are their sizes. Each file, in the order of the sources, goes onto the first drive that still has room for it,
/// its directories and its part of the manifest. Directories without files go where the directory above them is, else onto the first drive with room. Answers
/// the items of each drive in the order of DrivePlan::all_items(); some drives may get none. NoSpace: one fits onto no
/// drive any more; the error names it. Cancelled: a signal came.
Result<std::vector<std::vector<DriveItem>>> distribute(const BlobSources& sources, const std::vector<Bytes>& drives,
                                                       Bytes block_size);

}  // namespace dray::ctl
