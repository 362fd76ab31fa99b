// SPDX-License-Identifier: Apache-2.0
//
// Files of checksums as sha256sum of GNU coreutils writes and checks them.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "daemon/base/units.hpp"

namespace dray::format {

/// "<digest in lower-case hex>  <path>\n". A path with a backslash or a line break has these escaped, and a backslash
/// stands in front of its line.
std::string checksum_line(std::span<const std::byte> digest, std::string_view path);
/// How long that line is, for a digest of so many bytes.
Bytes checksum_line_size(std::size_t digest_size, std::string_view path);

}  // namespace dray::format
