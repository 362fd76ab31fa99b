// SPDX-License-Identifier: Apache-2.0
//
// Numbers and protected records as NTFS has them on disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "daemon/base/result.hpp"

namespace dray::fs::ntfs {

/// The bytes must be there.
template <typename Number>
Number load(std::span<const std::byte> bytes, std::size_t offset) {
    Number value = 0;
    for (std::size_t i = sizeof(Number); i-- > 0;)
        value = static_cast<Number>(value << 8 | static_cast<Number>(bytes[offset + i]));
    return value;
}

/// Puts back the last two bytes of each 512, which stand in front while a record is on disk. Corrupt: another
/// `magic`, or a record of which only a part was written.
Result<void> unprotect(std::span<std::byte> record, std::uint32_t magic);

inline constexpr std::uint32_t kIndexMagic = 0x58444e49;    // "INDX"
inline constexpr std::uint32_t kRestartMagic = 0x52545352;  // "RSTR"

}  // namespace dray::fs::ntfs
