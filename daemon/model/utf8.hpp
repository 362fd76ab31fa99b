// SPDX-License-Identifier: Apache-2.0
//
// How long a text is, in the units in which limits on names are given.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace dray {

struct TextLength {
    std::size_t characters = 0;
    std::size_t utf16_units = 0;
};

/// Nothing when the text is not UTF-8: over-long forms, surrogates and values above U+10FFFF included.
std::optional<TextLength> measure_utf8(std::string_view text);

}  // namespace dray
