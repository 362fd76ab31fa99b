// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/utf8.hpp"

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

std::optional<Utf8Character> first_character(std::string_view text) {
    if (text.empty())
        return std::nullopt;
    const auto lead = static_cast<unsigned char>(text.front());
    const std::size_t size = character_size(lead);
    if (size == 0 || size > text.size())
        return std::nullopt;
    std::uint32_t code = size == 1 ? lead : lead & (0x7FU >> size);
    for (std::size_t i = 1; i < size; ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        if ((byte & 0xC0U) != 0x80U)
            return std::nullopt;
        code = (code << 6) | (byte & 0x3FU);
    }
    const bool is_overlong = (size == 3 && code < 0x800) || (size == 4 && code < 0x10000);
    if (is_overlong || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
        return std::nullopt;
    return Utf8Character{size, code};
}

std::optional<TextLength> measure_utf8(std::string_view text) {
    TextLength length;
    while (!text.empty()) {
        const std::optional<Utf8Character> character = first_character(text);
        if (!character)
            return std::nullopt;
        length.characters += 1;
        length.utf16_units += character->size == 4 ? 2 : 1;
        text.remove_prefix(character->size);
    }
    return length;
}

std::string tame(std::string_view text) {
    std::string tamed;
    tamed.reserve(text.size());
    while (!text.empty()) {
        const std::optional<Utf8Character> character = first_character(text);
        const std::size_t size = character ? character->size : 1;
        if (!character || character->code < 0x20 || (character->code >= 0x7F && character->code < 0xA0))
            tamed += '?';
        else
            tamed += text.substr(0, size);
        text.remove_prefix(size);
    }
    return tamed;
}

}  // namespace dray
