// SPDX-License-Identifier: Apache-2.0
#include "daemon/format/xml_text.hpp"

#include <algorithm>
#include <limits>

#include "daemon/format/drive_manifest.hpp"
#include "daemon/model/utf8.hpp"

namespace dray::format {

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

/// The first character of `text` if it is UTF-8 and XML can hold it, else nothing.
std::string_view first_character(std::string_view text) {
    for (std::size_t size = 1; size <= std::min<std::size_t>(4, text.size()); ++size) {
        const std::string_view character = text.substr(0, size);
        if (!measure_utf8(character))
            continue;
        const char c = character.front();
        const bool is_control = size == 1 && c >= 0 && c < ' ' && c != '\t' && c != '\n' && c != '\r';
        const bool is_noncharacter = character == "\xEF\xBF\xBE" || character == "\xEF\xBF\xBF";
        return is_control || is_noncharacter ? std::string_view() : character;
    }
    return {};
}

}  // namespace

std::string_view trim(std::string_view text) {
    constexpr std::string_view kBlanks = " \t\r\n";
    const std::size_t first = text.find_first_not_of(kBlanks);
    if (first == std::string_view::npos)
        return {};
    return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

std::optional<std::uint64_t> parse_number(std::string_view digits) {
    constexpr std::uint64_t kLargest = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t value = 0;
    for (const char c : digits) {
        if (c < '0' || c > '9')
            return std::nullopt;
        const auto digit = static_cast<std::uint64_t>(c - '0');
        if (value > (kLargest - digit) / 10)
            return std::nullopt;
        value = value * 10 + digit;
    }
    return digits.empty() ? std::nullopt : std::optional(value);
}

bool is_xml_text(std::string_view text) {
    while (!text.empty()) {
        const std::string_view character = first_character(text);
        if (character.empty())
            return false;
        text.remove_prefix(character.size());
    }
    return true;
}

std::string shown(std::string_view text) {
    constexpr std::size_t kMost = 80;
    std::string result;
    while (!text.empty() && result.size() < kMost) {
        const std::string_view character = first_character(text);
        const bool is_plain = !character.empty() && character.front() != '\t' &&
                              character.front() != '\n' && character.front() != '\r' &&
                              character.front() != '\x7F';
        result += is_plain ? character : "?";
        text.remove_prefix(std::max<std::size_t>(1, character.size()));
    }
    if (!text.empty())
        result += "...";
    return result;
}

std::string escape_xml(std::string_view text) {
    std::string result;
    result.reserve(text.size());
    while (!text.empty()) {
        const std::string_view character = first_character(text);
        switch (character.empty() ? '\0' : character.front()) {
        case '\0': result += kReplacement; break;
        case '&': result += "&amp;"; break;
        case '<': result += "&lt;"; break;
        case '>': result += "&gt;"; break;
        case '"': result += "&quot;"; break;
        case '\t': result += "&#9;"; break;
        case '\n': result += "&#10;"; break;
        case '\r': result += "&#13;"; break;
        default: result += character; break;
        }
        text.remove_prefix(std::max<std::size_t>(1, character.size()));
    }
    return result;
}

}  // namespace dray::format
