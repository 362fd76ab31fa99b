// SPDX-License-Identifier: Apache-2.0
#include "daemon/base/clock.hpp"

#include <sys/timerfd.h>
#include <sys/timex.h>
#include <unistd.h>

#include <cstdint>
#include <ctime>

namespace dray {
namespace {

Microseconds read_clock(clockid_t id) {
    timespec time{};
    (void)clock_gettime(id, &time);  // cannot fail for the clocks asked here
    return std::chrono::duration_cast<Microseconds>(std::chrono::seconds(time.tv_sec) +
                                                    std::chrono::nanoseconds(time.tv_nsec));
}

/// timerfd_create(2): a timer that never elapses, and is cancelled when the clock is set.
void await_jump(int timer) {
    constexpr std::time_t kYear2200 = 7'258'118'400;
    itimerspec never{};
    never.it_value.tv_sec = kYear2200;
    (void)timerfd_settime(timer, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, nullptr);
}

}  // namespace

TimePoint SystemClock::now() const { return TimePoint(read_clock(CLOCK_REALTIME)); }

Microseconds SystemClock::since_boot() const { return read_clock(CLOCK_BOOTTIME); }

bool SystemClock::is_synchronised() const {
    timex state{};
    return adjtimex(&state) >= 0 && (state.status & STA_UNSYNC) == 0;
}

int SystemClock::jump_descriptor() const {
    if (!jumps_) {
        jumps_ = FileDescriptor(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC));
        if (jumps_)
            await_jump(jumps_.get());
    }
    return jumps_.get();
}

void SystemClock::heed_jump() const {
    std::uint64_t count = 0;
    (void)!read(jumps_.get(), &count, sizeof count);  // ECANCELED is what it is about
    await_jump(jumps_.get());
}

}  // namespace dray
