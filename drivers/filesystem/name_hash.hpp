// SPDX-License-Identifier: Apache-2.0
//
// Hashes of file names under a secret: whoever made the drive cannot choose names that meet.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace dray::fs {

using HashKey = std::array<std::byte, 16>;

/// SipHash-2-4.
std::uint64_t name_hash(const HashKey& key, std::string_view name);

}  // namespace dray::fs
