// SPDX-License-Identifier: Apache-2.0
#include "daemon/base/clock.hpp"

#include <sys/timex.h>

#include <ctime>

namespace dray {
namespace {

Microseconds read_clock(clockid_t id) {
    timespec time{};
    (void)clock_gettime(id, &time);  // cannot fail for the clocks asked here
    return std::chrono::duration_cast<Microseconds>(std::chrono::seconds(time.tv_sec) +
                                                    std::chrono::nanoseconds(time.tv_nsec));
}

}  // namespace

TimePoint SystemClock::now() const { return TimePoint(read_clock(CLOCK_REALTIME)); }

Microseconds SystemClock::since_boot() const { return read_clock(CLOCK_BOOTTIME); }

bool SystemClock::is_synchronised() const {
    timex state{};
    return adjtimex(&state) >= 0 && (state.status & STA_UNSYNC) == 0;
}

}  // namespace dray
