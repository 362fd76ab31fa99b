// SPDX-License-Identifier: Apache-2.0
//
// LZNT1, the compression of NTFS. Our own, because libntfs-3g's goes a byte too far with hostile input.
#pragma once

#include <cstddef>
#include <span>

#include "daemon/base/result.hpp"

namespace dray::fs::ntfs {

/// One compression unit; what it does not say is zeros. Corrupt: nothing that Windows writes.
Result<void> decompress(std::span<const std::byte> packed, std::span<std::byte> content);

}  // namespace dray::fs::ntfs
