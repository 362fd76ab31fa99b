// SPDX-License-Identifier: Apache-2.0
//
// Numbers, identifiers and checksums as GPT, BitLocker and their kin write them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace dray::volume {

inline constexpr std::size_t kGuidBytes = 16;

template <typename Number>
Number little_endian(std::span<const std::byte> bytes, std::size_t offset) {
    Number value = 0;
    for (std::size_t i = sizeof(Number); i-- > 0;)
        value = static_cast<Number>(value << 8 | static_cast<Number>(bytes[offset + i]));
    return value;
}

/// In lower case: "4967d63b-2e29-4ad8-8399-f6a339e3d001". The first three groups are little-endian.
std::string guid_text(std::span<const std::byte> guid);

/// Also called CRC-32/ISO-HDLC.
std::uint32_t crc32(std::span<const std::byte> bytes);

}  // namespace dray::volume
