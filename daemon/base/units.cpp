// SPDX-License-Identifier: Apache-2.0
#include "daemon/base/units.hpp"

#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <ctime>
#include <limits>

namespace dray {
namespace {

struct Unit {
    std::string_view name;
    double factor;
};

constexpr std::array<Unit, 13> kSizeUnits{{{"", 1},
                                           {"B", 1},
                                           {"KiB", 0x1p10},
                                           {"MiB", 0x1p20},
                                           {"GiB", 0x1p30},
                                           {"TiB", 0x1p40},
                                           {"PiB", 0x1p50},
                                           {"kB", 1e3},
                                           {"KB", 1e3},
                                           {"MB", 1e6},
                                           {"GB", 1e9},
                                           {"TB", 1e12},
                                           {"PB", 1e15}}};

constexpr std::array<Unit, 7> kTimeUnits{{{"us", 1},
                                          {"ms", 1e3},
                                          {"s", 1e6},
                                          {"min", 60e6},
                                          {"h", 3600e6},
                                          {"d", 86400e6},
                                          {"w", 604800e6}}};

/// Takes a number off the front of `text`; empty text afterwards is fine.
bool take_number(std::string_view& text, double& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value,
                                              std::chars_format::fixed);
    if (error != std::errc() || value < 0 || !std::isfinite(value))
        return false;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return true;
}

std::string_view take_word(std::string_view& text) {
    std::size_t length = 0;
    while (length < text.size() && std::isalpha(static_cast<unsigned char>(text[length])) != 0)
        ++length;
    const std::string_view word = text.substr(0, length);
    text.remove_prefix(length);
    return word;
}

void skip_blanks(std::string_view& text) {
    while (!text.empty() && text.front() == ' ')
        text.remove_prefix(1);
}

}  // namespace

Result<Bytes> parse_bytes(std::string_view text) {
    std::string_view rest = text;
    // Whole numbers go without floating point, so that 2^53 and above stay exact.
    std::uint64_t whole = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), whole);
    const bool is_whole = error == std::errc() && (end == rest.data() + rest.size() || *end != '.');
    double value = 0;
    if (is_whole)
        rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    else if (!take_number(rest, value))
        return fail(ErrorKind::InvalidArgument, "\"{}\" is not a size; write it like 96MiB", text);
    skip_blanks(rest);
    for (const Unit& unit : kSizeUnits) {
        if (rest != unit.name)
            continue;
        constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
        const auto factor = static_cast<std::uint64_t>(unit.factor);
        if (is_whole ? whole > kMost / factor : value * unit.factor > 9.2e18)
            return fail(ErrorKind::InvalidArgument, "\"{}\" is too large for a size", text);
        return is_whole ? whole * factor : static_cast<Bytes>(std::llround(value * unit.factor));
    }
    return fail(ErrorKind::InvalidArgument, "\"{}\" is not a size; write it like 96MiB", text);
}

Result<Microseconds> parse_duration(std::string_view text) {
    std::string_view rest = text;
    double total = 0;
    if (rest.empty())
        return fail(ErrorKind::InvalidArgument, "a time is missing; write it like 90d or 30s");
    while (!rest.empty()) {
        double value = 0;
        if (!take_number(rest, value))
            return fail(ErrorKind::InvalidArgument, "\"{}\" is not a time; write it like 90d or 30s",
                        text);
        skip_blanks(rest);
        const std::string_view word = take_word(rest);
        skip_blanks(rest);
        bool known = false;
        for (const Unit& unit : kTimeUnits) {
            if (word == unit.name) {
                total += value * unit.factor;
                known = true;
            }
        }
        if (!known)
            return fail(ErrorKind::InvalidArgument,
                        "\"{}\" needs a unit (s, min, h, d), as in 90d or 30s", text);
    }
    if (total > 9.2e18)
        return fail(ErrorKind::InvalidArgument, "\"{}\" is too long a time", text);
    return Microseconds(std::llround(total));
}

std::string format_bytes(Bytes bytes) {
    constexpr std::array<std::string_view, 7> kNames{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024)
        return fmt::format("{}B", bytes);
    auto value = static_cast<double>(bytes);
    std::size_t unit = 0;
    while (value >= 1023.5 && unit + 1 < kNames.size()) {
        value /= 1024;
        ++unit;
    }
    return fmt::format("{:.{}f}{}", value, value < 99.95 ? 1 : 0, kNames[unit]);
}

std::string format_duration(Microseconds duration) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(duration).count();
    if (seconds < 1)
        return fmt::format("{}ms", duration.count() / 1000);
    if (seconds < 60)
        return fmt::format("{}s", seconds);
    if (seconds < 3600)
        return seconds % 60 == 0 || seconds > 600 ? fmt::format("{}min", seconds / 60)
                                                  : fmt::format("{}min {}s", seconds / 60, seconds % 60);
    if (seconds < 86400)
        return seconds % 3600 < 60 ? fmt::format("{}h", seconds / 3600)
                                   : fmt::format("{}h {}min", seconds / 3600, seconds % 3600 / 60);
    return seconds % 86400 < 3600
               ? fmt::format("{}d", seconds / 86400)
               : fmt::format("{}d {}h", seconds / 86400, seconds % 86400 / 3600);
}

namespace {

std::string format_time(TimePoint time, const char* format, bool utc) {
    const std::time_t seconds = time.time_since_epoch() / std::chrono::seconds(1);
    std::tm fields{};
    if (utc)
        (void)gmtime_r(&seconds, &fields);  // fails for years beyond an int only
    else
        (void)localtime_r(&seconds, &fields);
    char buffer[64];
    const std::size_t length = std::strftime(buffer, sizeof buffer, format, &fields);
    return {buffer, length};
}

}  // namespace

std::string format_utc(TimePoint time) {
    return time == TimePoint() ? "" : format_time(time, "%Y-%m-%dT%H:%M:%SZ", true);
}

std::string format_local(TimePoint time) {
    return time == TimePoint() ? "-" : format_time(time, "%Y-%m-%d %H:%M:%S %z", false);
}

}  // namespace dray
