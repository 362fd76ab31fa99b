// SPDX-License-Identifier: Apache-2.0
//
// Small files and directories that live in their inode: 60 bytes where other files have their extents, the
// rest as an attribute called "system.data" behind the inode's own fields.
#pragma once

#include <ext2fs/ext2fs.h>

#include <cstddef>
#include <span>
#include <vector>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"

namespace dray::fs {

/// `inode`: all its bytes, as many as the superblock says; `size`: how long its content is. Corrupt: attributes that
/// make no sense, or none where the content is longer than the first part.
Result<std::vector<std::byte>> inline_content(std::span<const std::byte> inode, Bytes size);

}  // namespace dray::fs
