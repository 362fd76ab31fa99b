// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ntfs/ntfs_names.hpp"

#include <cstddef>

namespace dray::fs::ntfs {
namespace {

constexpr std::size_t kMaxName = 255;

bool is_high(char32_t unit) { return unit >= 0xd800 && unit < 0xdc00; }
bool is_low(char32_t unit) { return unit >= 0xdc00 && unit < 0xe000; }

char tail(char32_t code, unsigned shift) { return static_cast<char>(0x80 | (code >> shift & 0x3f)); }

void append(std::string& text, char32_t code) {
    if (code < 0x80) {
        text += static_cast<char>(code);
    } else if (code < 0x800) {
        text += {static_cast<char>(0xc0 | code >> 6), tail(code, 0)};
    } else if (code < 0x10000) {
        text += {static_cast<char>(0xe0 | code >> 12), tail(code, 6), tail(code, 0)};
    } else {
        text += {static_cast<char>(0xf0 | code >> 18), tail(code, 12), tail(code, 6), tail(code, 0)};
    }
}

/// The next character, taken off the front. Overlong forms are none.
std::optional<char32_t> take(std::string_view& text) {
    const auto first = static_cast<unsigned char>(text.front());
    const std::size_t length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    if (length == 0 || length > text.size())
        return std::nullopt;
    char32_t code = length == 1 ? first : first & (0xffU >> (length + 1));
    for (std::size_t i = 1; i < length; ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        if ((byte & 0xc0) != 0x80)
            return std::nullopt;
        code = code << 6 | (byte & 0x3fU);
    }
    if ((length == 3 && code < 0x800) || (length == 4 && (code < 0x10000 || code > 0x10ffff)))
        return std::nullopt;
    text.remove_prefix(length);
    return code;
}

}  // namespace

std::string to_utf8(std::u16string_view name) {
    std::string text;
    for (std::size_t i = 0; i < name.size(); ++i) {
        char32_t code = name[i];
        if (is_high(code) && i + 1 < name.size() && is_low(name[i + 1]))
            code = 0x10000 + ((code - 0xd800) << 10) + (name[++i] - 0xdc00U);
        append(text, code);
    }
    return text;
}

std::optional<std::u16string> to_utf16(std::string_view name) {
    std::u16string units;
    while (!name.empty()) {
        const std::optional<char32_t> code = take(name);
        if (!code || units.size() >= kMaxName)
            return std::nullopt;
        if (*code >= 0x10000) {
            units += static_cast<char16_t>(0xd800 + ((*code - 0x10000) >> 10));
            units += static_cast<char16_t>(0xdc00 + ((*code - 0x10000) & 0x3ff));
        } else {
            units += static_cast<char16_t>(*code);
        }
    }
    if (units.size() > kMaxName)
        return std::nullopt;
    return units;
}

}  // namespace dray::fs::ntfs
