// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/cluster/name_text.hpp"

#include <optional>

#include "daemon/model/utf8.hpp"

namespace dray::fs {
namespace {

constexpr char32_t kReplacement = 0xfffd;

// 0x80 and up.
constexpr std::u16string_view kCodePage850 =
    u"\u00c7\u00fc\u00e9\u00e2\u00e4\u00e0\u00e5\u00e7\u00ea\u00eb\u00e8\u00ef\u00ee\u00ec\u00c4\u00c5"
    u"\u00c9\u00e6\u00c6\u00f4\u00f6\u00f2\u00fb\u00f9\u00ff\u00d6\u00dc\u00f8\u00a3\u00d8\u00d7\u0192"
    u"\u00e1\u00ed\u00f3\u00fa\u00f1\u00d1\u00aa\u00ba\u00bf\u00ae\u00ac\u00bd\u00bc\u00a1\u00ab\u00bb"
    u"\u2591\u2592\u2593\u2502\u2524\u00c1\u00c2\u00c0\u00a9\u2563\u2551\u2557\u255d\u00a2\u00a5\u2510"
    u"\u2514\u2534\u252c\u251c\u2500\u253c\u00e3\u00c3\u255a\u2554\u2569\u2566\u2560\u2550\u256c\u00a4"
    u"\u00f0\u00d0\u00ca\u00cb\u00c8\u0131\u00cd\u00ce\u00cf\u2518\u250c\u2588\u2584\u00a6\u00cc\u2580"
    u"\u00d3\u00df\u00d4\u00d2\u00f5\u00d5\u00b5\u00fe\u00de\u00da\u00db\u00d9\u00fd\u00dd\u00af\u00b4"
    u"\u00ad\u00b1\u2017\u00be\u00b6\u00a7\u00f7\u00b8\u00b0\u00a8\u00b7\u00b9\u00b3\u00b2\u25a0\u00a0";
static_assert(kCodePage850.size() == 128);

bool is_high(char16_t unit) { return unit >= 0xd800 && unit < 0xdc00; }
bool is_low(char16_t unit) { return unit >= 0xdc00 && unit < 0xe000; }

}  // namespace

void append_utf8(std::string& text, char32_t character) {
    // XML has no place for the last two either.
    if (character < 0x20 || character == U'/' || (character >= 0xd800 && character < 0xe000) ||
        character == 0xfffe || character == 0xffff || character > 0x10ffff)
        character = kReplacement;
    const auto tail = [&text, character](unsigned shift) {
        text += static_cast<char>(0x80U | ((character >> shift) & 0x3fU));
    };
    if (character < 0x80) {
        text += static_cast<char>(character);
    } else if (character < 0x800) {
        text += static_cast<char>(0xc0U | (character >> 6U));
        tail(0);
    } else if (character < 0x10000) {
        text += static_cast<char>(0xe0U | (character >> 12U));
        tail(6);
        tail(0);
    } else {
        text += static_cast<char>(0xf0U | (character >> 18U));
        tail(12);
        tail(6);
        tail(0);
    }
}

std::string utf8_of(std::u16string_view name) {
    std::string text;
    text.reserve(name.size());
    for (std::size_t i = 0; i < name.size(); ++i) {
        char32_t character = name[i];
        if (is_high(name[i]) && i + 1 < name.size() && is_low(name[i + 1])) {
            character = 0x10000U + ((char32_t{name[i]} - 0xd800U) << 10U) + (char32_t{name[i + 1]} - 0xdc00U);
            ++i;
        }
        append_utf8(text, character);
    }
    return text;
}

std::u16string utf16_of(std::string_view name) {
    std::u16string units;
    units.reserve(name.size());
    while (!name.empty()) {
        const std::optional<Utf8Character> character = first_character(name);
        const char32_t code = character ? character->code : kReplacement;
        if (code >= 0x10000) {
            units += static_cast<char16_t>(0xd800U + ((code - 0x10000U) >> 10U));
            units += static_cast<char16_t>(0xdc00U + ((code - 0x10000U) & 0x3ffU));
        } else {
            units += static_cast<char16_t>(code);
        }
        name.remove_prefix(character ? character->size : 1);
    }
    return units;
}

char16_t code_page_850(unsigned char byte) { return byte < 0x80 ? byte : kCodePage850[byte - 0x80U]; }

}  // namespace dray::fs
