// SPDX-License-Identifier: Apache-2.0
#include "daemon/bus/bus_text.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>

#include "daemon/model/utf8.hpp"

namespace dray::bus {
namespace {

constexpr std::size_t kMaxLine = 200;

/// sd-bus takes no non-characters.
bool is_allowed(std::uint32_t code) {
    return (code < 0xFDD0 || code > 0xFDEF) && (code & 0xFFFE) != 0xFFFE;
}

}  // namespace

std::string as_utf8(std::string_view text) {
    std::string result;
    result.reserve(text.size());
    while (!text.empty()) {
        const std::optional<Utf8Character> character = first_character(text);
        const bool is_good = character && is_allowed(character->code);
        const std::size_t size = is_good ? character->size : 1;
        result += is_good ? text.substr(0, size) : "?";
        text.remove_prefix(size);
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
