// SPDX-License-Identifier: Apache-2.0
//
// Paths on a drive.
#pragma once

#include <string_view>
#include <vector>

#include "daemon/base/result.hpp"

namespace dray::fs {

/// The components of a path, empty ones left out. InvalidArgument: ".", "..", or a zero byte.
Result<std::vector<std::string_view>> components_of(std::string_view path);

}  // namespace dray::fs
