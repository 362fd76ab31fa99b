// SPDX-License-Identifier: Apache-2.0
//
// The drive header hash of azure-import-export.md 3.4: what places of the raw disk must still be as they were when the
// drive was made ready. Pure; any thread.
#pragma once

#include <string_view>
#include <vector>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"

namespace dray {

inline constexpr std::size_t kMaxHeaderRegions = 16;
/// Of all regions together.
inline constexpr Bytes kMaxHeaderBytes = 64 * kMiB;

struct HeaderRegion {
    /// On the raw disk.
    Bytes offset = 0;
    Bytes length = 0;
    std::vector<std::byte> sha512;
    bool operator==(const HeaderRegion&) const = default;
};

/// "0:1048576:HEX;135266304:143360:HEX", white space around it trimmed; "" has no regions. InvalidArgument: anything else,
/// or more than the limits.
Result<std::vector<HeaderRegion>> parse_header_hash(std::string_view text);

}  // namespace dray
