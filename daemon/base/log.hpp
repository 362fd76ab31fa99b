// SPDX-License-Identifier: Apache-2.0
//
// Lines for the operator, to standard error: with a priority prefix under systemd, with time and
// level elsewhere. Any thread may call it. Whoever handles an error logs it, whoever passes it on
// does not.
#pragma once

#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "daemon/base/result.hpp"

namespace dray::log {

enum class Level { Debug, Info, Warning, Error };

/// InvalidArgument unless it is debug, info, warning or error.
Result<Level> parse_level(std::string_view text);

/// Names the program in each line. Until it is called, lines go out at level Info.
void start(std::string_view program, Level level);
void set_level(Level level);
Level level();
void write(Level level, std::string_view line);

template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
    if (level() == Level::Debug)
        write(Level::Debug, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
    write(Level::Info, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
    write(Level::Warning, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
    write(Level::Error, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace dray::log
