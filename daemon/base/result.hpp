// SPDX-License-Identifier: Apache-2.0
//
// Result<T> and the few words to return and pass on errors.
#pragma once

#include <expected>
#include <utility>

#include <fmt/format.h>

#include "daemon/base/error.hpp"

namespace dray {

template <typename T>
using Result = std::expected<T, Error>;

template <typename... Args>
std::unexpected<Error> fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
    return std::unexpected(Error(kind, fmt::format(format, std::forward<Args>(args)...)));
}

/// Passes `cause` on with this layer's sentence in front.
template <typename... Args>
std::unexpected<Error> fail(Error cause, fmt::format_string<Args...> format, Args&&... args) {
    return std::unexpected(Error(std::move(cause), fmt::format(format, std::forward<Args>(args)...)));
}

/// Passes `cause` on as it is.
inline std::unexpected<Error> fail(Error cause) { return std::unexpected(std::move(cause)); }

std::string errno_text(int error_number);

/// For a failed system call: kind from errno, text "<sentence>: No such file or directory".
template <typename... Args>
std::unexpected<Error> fail_errno(int error_number, fmt::format_string<Args...> format,
                                  Args&&... args) {
    return std::unexpected(Error(kind_of_errno(error_number),
                                 fmt::format(format, std::forward<Args>(args)...) + ": " +
                                     errno_text(error_number)));
}

}  // namespace dray

/// Returns the error of a Result<void> expression to the caller, as it is.
#define DRAY_TRY(expression)                                              \
    do {                                                                  \
        if (auto dray_result = (expression); !dray_result)                \
            return std::unexpected(std::move(dray_result).error());       \
    } while (false)

#define DRAY_CONCAT_(a, b) a##b
#define DRAY_CONCAT(a, b) DRAY_CONCAT_(a, b)

/// `DRAY_LET(Thing thing, make_thing());` declares `thing` from a Result, or returns its error as it is.
// NOLINTBEGIN(bugprone-macro-parentheses): a declaration cannot stand in parentheses.
#define DRAY_LET(declaration, expression)                                  \
    auto DRAY_CONCAT(dray_let_, __LINE__) = (expression);                  \
    if (!DRAY_CONCAT(dray_let_, __LINE__))                                 \
        return std::unexpected(std::move(DRAY_CONCAT(dray_let_, __LINE__)).error()); \
    declaration = *std::move(DRAY_CONCAT(dray_let_, __LINE__))
// NOLINTEND(bugprone-macro-parentheses)
