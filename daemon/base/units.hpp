// SPDX-License-Identifier: Apache-2.0
//
// Sizes, spans of time and points in time as people write and read them.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "daemon/base/result.hpp"

namespace dray {

/// A size or an offset in bytes.
using Bytes = std::uint64_t;

inline constexpr Bytes kKiB = 1024;
inline constexpr Bytes kMiB = 1024 * kKiB;
inline constexpr Bytes kGiB = 1024 * kMiB;

using Microseconds = std::chrono::microseconds;
/// UTC, microseconds since the epoch. The value 0 is "not yet" in records and on the bus.
using TimePoint = std::chrono::time_point<std::chrono::system_clock, Microseconds>;

inline std::uint64_t to_usec(TimePoint time) {
    return static_cast<std::uint64_t>(time.time_since_epoch().count());
}
inline TimePoint from_usec(std::uint64_t usec) {
    return TimePoint(Microseconds(static_cast<std::int64_t>(usec)));
}

/// "96MiB", "1GiB", "512", "1.5TiB", "10kB". InvalidArgument otherwise, or above 2^63-1.
Result<Bytes> parse_bytes(std::string_view text);
/// "90d", "30s", "250ms", "2h30min", "14d". InvalidArgument otherwise.
Result<Microseconds> parse_duration(std::string_view text);

/// "1.2GiB", "512B": at most four significant characters, for eyes.
std::string format_bytes(Bytes bytes);
/// "3d 4h", "44min", "12s": the two largest units, for eyes.
std::string format_duration(Microseconds duration);
/// "2026-01-31T12:00:00Z" for logs and JSON; "" for 0.
std::string format_utc(TimePoint time);
/// "2026-01-31 13:00:00 +0100", in local time with its offset, for eyes; "-" for 0.
std::string format_local(TimePoint time);

}  // namespace dray
