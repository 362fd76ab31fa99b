// SPDX-License-Identifier: Apache-2.0
//
// A clock that stands where a test puts it.
#pragma once

#include "daemon/base/clock.hpp"

namespace dray::test {

class FakeClock : public Clock {
public:
    TimePoint now() const override { return wall; }
    Microseconds since_boot() const override { return boot; }
    bool is_synchronised() const override { return is_synced; }
    int jump_descriptor() const override { return -1; }
    void heed_jump() const override {}

    /// As time does when nobody touches the clock.
    void pass(Microseconds time) {
        wall += time;
        boot += time;
    }

    TimePoint wall = from_usec(1'764'000'000'000'000);
    Microseconds boot = std::chrono::hours(5);
    bool is_synced = true;
};

}  // namespace dray::test
