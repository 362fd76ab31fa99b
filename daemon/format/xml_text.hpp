// SPDX-License-Identifier: Apache-2.0
//
// Small things that all our XML formats need: blanks, numbers, and text that is safe to show or to write.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dray::format {

/// Without XML's white space at both ends.
std::string_view trim(std::string_view text);

/// Decimal digits only: no sign, no blank. Nothing when there is anything else or it exceeds 64 bits.
std::optional<std::uint64_t> parse_number(std::string_view digits);

/// Whether an XML 1.0 document can hold the text: UTF-8, no control characters but tab and line breaks.
bool is_xml_text(std::string_view text);

/// For messages: the first characters, without control characters.
std::string shown(std::string_view text);

}  // namespace dray::format
