// SPDX-License-Identifier: Apache-2.0
//
// Whether the disk is still as it was when its drive header hash was made (azure-import-export.md 3.4).
#pragma once

#include <span>
#include <string>

#include "daemon/model/header_hash.hpp"
#include "drivers/volume/volume.hpp"

namespace dray::drive {

/// A sentence for the operator about the first place that is another; "" where all agree. Gone, Internal: as read.
Result<std::string> check_header(volume::BlockDevice& device, std::span<const HeaderRegion> regions);

}  // namespace dray::drive
