// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/utf8.hpp"

#include <cstdint>

namespace dray {

namespace {

/// Bytes of the character that starts with `lead`, 0 when none can.
std::size_t character_size(unsigned char lead) {
    if (lead < 0x80)
        return 1;
    if (lead >= 0xC2 && lead <= 0xDF)
        return 2;
    if (lead >= 0xE0 && lead <= 0xEF)
        return 3;
    if (lead >= 0xF0 && lead <= 0xF4)
        return 4;
    return 0;
}

}  // namespace

std::optional<TextLength> measure_utf8(std::string_view text) {
    TextLength length;
    for (std::size_t i = 0; i < text.size();) {
        const auto lead = static_cast<unsigned char>(text[i]);
        const std::size_t size = character_size(lead);
        if (size == 0 || size > text.size() - i)
            return std::nullopt;
        std::uint32_t value = size == 1 ? lead : lead & (0x7FU >> size);
        for (std::size_t k = 1; k < size; ++k) {
            const auto byte = static_cast<unsigned char>(text[i + k]);
            if ((byte & 0xC0U) != 0x80U)
                return std::nullopt;
            value = (value << 6) | (byte & 0x3FU);
        }
        const bool is_overlong = (size == 3 && value < 0x800) || (size == 4 && value < 0x10000);
        if (is_overlong || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
            return std::nullopt;
        length.characters += 1;
        length.utf16_units += size == 4 ? 2 : 1;
        i += size;
    }
    return length;
}

}  // namespace dray
