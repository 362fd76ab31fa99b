// SPDX-License-Identifier: Apache-2.0
//
// The path map of a repair (azure-import-export.md 7.6): a text file with a line for each file whose original was not
// found: its path on the drive. Who knows better writes a tab and the real path behind it.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"

namespace dray::ctl {

/// Path on the drive to real path, "" where nobody has written one.
using PathMap = std::map<std::string, std::string>;

inline constexpr Bytes kMaxPathMap = 64 * kMiB;

/// Empty lines are passed over. InvalidArgument with the line: a path twice with different real paths, one on the drive
/// that is none.
Result<PathMap> read_path_map(std::string_view text);
std::string write_path_map(const PathMap& map);

}  // namespace dray::ctl
