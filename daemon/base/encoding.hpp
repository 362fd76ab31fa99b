// SPDX-License-Identifier: Apache-2.0
//
// Base16 and Base64.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.hpp"

namespace dray {

/// Upper case, as manifests and logs want it.
std::string to_hex(std::span<const std::byte> bytes);
/// Either case. InvalidArgument: an odd number of characters or one that is no hex digit.
Result<std::vector<std::byte>> from_hex(std::string_view text);
std::string to_base64(std::span<const std::byte> bytes);
/// With padding, no white space. InvalidArgument otherwise.
Result<std::vector<std::byte>> from_base64(std::string_view text);

}  // namespace dray
