// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/little_endian.hpp"

#include <fmt/format.h>

#include <array>

namespace dray::volume {

std::string guid_text(std::span<const std::byte> guid) {
    constexpr std::array<std::size_t, kGuidBytes> kOrder{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    std::string text;
    for (std::size_t i = 0; i < kGuidBytes; ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text += '-';
        text += fmt::format("{:02x}", static_cast<unsigned>(guid[kOrder[i]]));
    }
    return text;
}

std::uint32_t crc32(std::span<const std::byte> bytes) {
    static constexpr auto kTable = [] {
        std::array<std::uint32_t, 256> table{};
        for (std::uint32_t i = 0; i < table.size(); ++i) {
            std::uint32_t value = i;
            for (int bit = 0; bit < 8; ++bit)
                value = value >> 1 ^ ((value & 1) != 0 ? 0xedb88320U : 0);
            table[i] = value;
        }
        return table;
    }();
    std::uint32_t crc = ~0U;
    for (const std::byte byte : bytes)
        crc = crc >> 8 ^ kTable[(crc ^ static_cast<std::uint32_t>(byte)) & 0xff];
    return ~crc;
}

}  // namespace dray::volume
