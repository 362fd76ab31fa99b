// SPDX-License-Identifier: Apache-2.0
#include "daemon/engine/clock_guard.hpp"

#include <utility>

#include <fmt/format.h>

namespace dray {
namespace {

constexpr Microseconds kLargestJump = std::chrono::hours(1);
constexpr Microseconds kLongestPause = std::chrono::days(30);
constexpr Microseconds kHold = std::chrono::hours(24);
constexpr const char* kHeld = "nothing is deleted, overdue or closed for its age";

}  // namespace

bool ClockGuard::look(bool is_sync_required) {
    const TimePoint now = clock_.now();
    if (!boot_)
        look_at_start(now);
    else
        look_for_jump(now);
    record_.last_seen = now;
    if (now >= record_.held_until) {
        record_.held_until = TimePoint();
        record_.reason.clear();
    }
    std::string problem;
    if (is_sync_required && !clock_.is_synchronised())
        problem = fmt::format("the clock is not synchronised (no time server answers): {} until it is; for a site "
                              "without one there is clock.require-sync",
                              kHeld);
    else if (record_.held_until != TimePoint())
        problem = fmt::format("{}: {} before {}; see that the time is right", record_.reason, kHeld,
                              format_utc(record_.held_until));
    return std::exchange(problem_, problem) != problem;
}

void ClockGuard::look_at_start(TimePoint now) {
    boot_ = now - clock_.since_boot();
    if (record_.last_seen == TimePoint())
        return;
    if (now - record_.last_seen > kLongestPause)
        hold(now, fmt::format("drayd had not run for {} when it started, or the clock is wrong",
                              format_duration(now - record_.last_seen)));
    else if (record_.last_seen - now > kLargestJump)
        hold(now, fmt::format("the clock was behind by {} when drayd started, compared with its last run",
                              format_duration(record_.last_seen - now)));
}

void ClockGuard::look_for_jump(TimePoint now) {
    const TimePoint boot = now - clock_.since_boot();
    const Microseconds jump = boot - *boot_;
    if (std::chrono::abs(jump) <= kLargestJump)
        return;
    boot_ = boot;
    hold(now, fmt::format("the clock was set {} by {}", jump > Microseconds(0) ? "forward" : "back",
                          format_duration(std::chrono::abs(jump))));
}

void ClockGuard::hold(TimePoint now, std::string reason) {
    record_.held_until = now + kHold;
    record_.reason = std::move(reason);
}

}  // namespace dray
