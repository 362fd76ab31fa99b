// SPDX-License-Identifier: Apache-2.0
//
// The hash tree of an ext4 directory: which of its blocks may hold a name. Only very large directories are
// looked at through it; all others have an index in memory, which also finds names in another case.
#pragma once

#include <ext2fs/ext2fs.h>

#include <functional>
#include <string_view>

#include "drivers/filesystem/ext4/ext4_file_map.hpp"

namespace dray::fs {

/// Calls `visit` with the place of each block that may hold exactly this name, until it answers false.
/// Corrupt: the tree makes no sense. Unsupported: there is none, or its hash is not known.
Result<void> visit_hashed(FileMap& directory, std::string_view name,
                          const std::function<Result<bool>(Bytes)>& visit);

}  // namespace dray::fs
