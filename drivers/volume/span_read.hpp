// SPDX-License-Identifier: Apache-2.0
//
// Reads of any offset and length from a device that reads whole sectors.
#pragma once

#include <span>
#include <vector>

#include "drivers/volume/volume.hpp"

namespace dray::volume {

/// Whole sectors in the middle go straight into `content`, what is left at both ends over `scratch`, which
/// is kept between calls only to save its allocation.
Result<void> read_span(BlockDevice& device, Bytes offset, std::span<std::byte> content,
                       std::vector<std::byte>& scratch);

}  // namespace dray::volume
