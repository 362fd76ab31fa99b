// SPDX-License-Identifier: Apache-2.0
#include "daemon/bus/bus_text.hpp"

#include <cstddef>
#include <cstdint>

namespace dray::bus {
namespace {

constexpr std::size_t kMaxLine = 200;

/// Length of the sequence that `lead` announces; 0 for a byte that starts none.
std::size_t sequence_length(unsigned char lead) {
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

/// The code points that sd-bus takes: no surrogates, nothing above U+10FFFF, no non-characters.
bool is_allowed(std::uint32_t code, std::size_t length) {
    constexpr std::uint32_t kLeast[] = {0, 1, 0x80, 0x800, 0x10000};
    return code >= kLeast[length] && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF) &&
           (code < 0xFDD0 || code > 0xFDEF) && (code & 0xFFFE) != 0xFFFE;
}

/// Bytes of the valid character at the front of `text`; 0 for none.
std::size_t valid_character(std::string_view text) {
    const auto lead = static_cast<unsigned char>(text.front());
    const std::size_t length = sequence_length(lead);
    if (length == 0 || length > text.size())
        return 0;
    std::uint32_t code = length == 1 ? lead : lead & (0x7FU >> length);
    for (std::size_t i = 1; i < length; ++i) {
        const auto next = static_cast<unsigned char>(text[i]);
        if ((next & 0xC0U) != 0x80)
            return 0;
        code = (code << 6) | (next & 0x3FU);
    }
    return is_allowed(code, length) ? length : 0;
}

}  // namespace

std::string as_utf8(std::string_view text) {
    std::string result;
    result.reserve(text.size());
    while (!text.empty()) {
        const std::size_t length = valid_character(text);
        if (length == 0)
            result += '?';
        else
            result += text.substr(0, length);
        text.remove_prefix(length == 0 ? 1 : length);
    }
    return result;
}

std::string as_line(std::string_view text) {
    std::string result = as_utf8(text.substr(0, kMaxLine));
    for (char& character : result) {
        const auto byte = static_cast<unsigned char>(character);
        if (byte < 0x20 || byte == 0x7F)
            character = '?';
    }
    return result;
}

}  // namespace dray::bus
