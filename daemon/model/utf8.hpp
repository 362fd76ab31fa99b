// SPDX-License-Identifier: Apache-2.0
//
// Reading UTF-8, and how long a text is in the units in which limits on names are given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dray {

struct Utf8Character {
    std::size_t size = 0;
    std::uint32_t code = 0;
};

/// The character at the front; nothing when there is none: over-long forms, surrogates and values above U+10FFFF are none.
std::optional<Utf8Character> first_character(std::string_view text);

struct TextLength {
    std::size_t characters = 0;
    std::size_t utf16_units = 0;
};

/// Nothing when the text is not UTF-8.
std::optional<TextLength> measure_utf8(std::string_view text);

/// For eyes, whoever wrote it: control characters, those of C1 too, and what is not UTF-8 become '?'.
std::string tame(std::string_view text);

}  // namespace dray
