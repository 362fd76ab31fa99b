// SPDX-License-Identifier: Apache-2.0
//
// Each of the clock's guards, just before and just after it holds.
#include "daemon/engine/clock_guard.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/fake_clock.hpp"

using namespace std::chrono_literals;

namespace dray {
namespace {

using std::chrono::days;
using testing::HasSubstr;

constexpr Microseconds kMoment{1};

class ClockGuardTest : public testing::Test {
protected:
    /// A guard that has looked once, as drayd does at its start.
    ClockGuard started(ClockRecord record = {}) {
        ClockGuard guard(clock_, std::move(record));
        (void)guard.look(true);
        return guard;
    }

    test::FakeClock clock_;
};

TEST_F(ClockGuardTest, TrustsASynchronisedClockThatWasNeverSeenBefore) {
    ClockGuard guard = started();
    EXPECT_TRUE(guard.is_trusted()) << guard.problem();
    EXPECT_EQ(guard.record().last_seen, clock_.wall);
    EXPECT_FALSE(guard.look(true)) << "nothing has changed";
}

TEST_F(ClockGuardTest, DoesNotTrustAnUnsynchronisedClockUnlessTheSiteSaysSo) {
    clock_.is_synced = false;
    ClockGuard guard = started();
    EXPECT_FALSE(guard.is_trusted());
    EXPECT_THAT(guard.problem(), HasSubstr("not synchronised"));
    EXPECT_THAT(guard.problem(), HasSubstr("clock.require-sync"));
    EXPECT_FALSE(guard.look(true)) << "it is said once";
    EXPECT_TRUE(guard.look(false));
    EXPECT_TRUE(guard.is_trusted());
    clock_.is_synced = true;
    EXPECT_FALSE(guard.look(true));
    EXPECT_TRUE(guard.is_trusted()) << "no day of waiting once it is";
}

TEST_F(ClockGuardTest, HoldsForADayAfterAJumpOfMoreThanAnHourEitherWay) {
    for (const auto sign : {1, -1}) {
        SCOPED_TRACE(sign);
        ClockGuard guard = started();
        clock_.pass(days(100));
        clock_.wall += sign * Microseconds(1h);
        EXPECT_FALSE(guard.look(true));
        EXPECT_TRUE(guard.is_trusted()) << "an hour is not too much: " << guard.problem();
        clock_.wall += sign * kMoment;
        EXPECT_TRUE(guard.look(true));
        EXPECT_THAT(guard.problem(), HasSubstr(sign > 0 ? "set forward by 1h" : "set back by 1h"));
        clock_.pass(24h - kMoment);
        EXPECT_FALSE(guard.look(true));
        EXPECT_FALSE(guard.is_trusted());
        clock_.pass(kMoment);
        EXPECT_TRUE(guard.look(true));
        EXPECT_TRUE(guard.is_trusted());
    }
}

TEST_F(ClockGuardTest, AddsSmallJumpsUp) {
    ClockGuard guard = started();
    for (int i = 0; i < 2; ++i) {
        clock_.wall += 30min;
        (void)guard.look(true);
        EXPECT_TRUE(guard.is_trusted());
    }
    clock_.wall += kMoment;
    EXPECT_TRUE(guard.look(true));
    EXPECT_FALSE(guard.is_trusted());
}

TEST_F(ClockGuardTest, ASecondJumpStartsTheDayAnew) {
    ClockGuard guard = started();
    clock_.wall += days(365);
    (void)guard.look(true);
    clock_.pass(23h);
    clock_.wall -= days(365);  // somebody has mended it
    EXPECT_TRUE(guard.look(true));
    EXPECT_EQ(guard.record().held_until, clock_.wall + 24h);
    clock_.pass(24h);
    (void)guard.look(true);
    EXPECT_TRUE(guard.is_trusted());
}

TEST_F(ClockGuardTest, HoldsForADayAfterAStartMoreThanThirtyDaysAfterTheLastTimeSeen) {
    const TimePoint seen = clock_.wall;
    clock_.pass(days(30));
    EXPECT_TRUE(started({seen, {}, ""}).is_trusted());
    clock_.pass(kMoment);
    ClockGuard guard = started({seen, {}, ""});
    EXPECT_FALSE(guard.is_trusted());
    EXPECT_THAT(guard.problem(), HasSubstr("had not run for 30d"));
    clock_.pass(24h - kMoment);
    (void)guard.look(true);
    EXPECT_FALSE(guard.is_trusted());
    clock_.pass(kMoment);
    (void)guard.look(true);
    EXPECT_TRUE(guard.is_trusted());
}

TEST_F(ClockGuardTest, HoldsForADayAfterAStartBeforeTheLastTimeSeen) {
    const TimePoint seen = clock_.wall;
    clock_.wall -= 1h;
    EXPECT_TRUE(started({seen, {}, ""}).is_trusted());
    clock_.wall -= kMoment;
    EXPECT_FALSE(started({seen, {}, ""}).is_trusted());
}

TEST_F(ClockGuardTest, TheDayGoesOnAfterARestartAndReboot) {
    ClockGuard before = started();
    clock_.wall += days(2);
    (void)before.look(true);
    clock_.pass(10h);
    (void)before.look(true);
    clock_.boot = 1min;
    ClockGuard after = started(before.record());
    EXPECT_FALSE(after.is_trusted());
    EXPECT_EQ(after.problem(), before.problem());
    clock_.pass(14h);
    EXPECT_TRUE(after.look(true));
    EXPECT_TRUE(after.is_trusted());
}

}  // namespace
}  // namespace dray
