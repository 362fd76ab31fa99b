// SPDX-License-Identifier: Apache-2.0
//
// When a request is tried again, how long is waited, when an endpoint is given up; on a clock of the test's own.
#include "drivers/store/http/patience.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <semaphore>
#include <thread>
#include <vector>

#include "tests/support/fake_clock.hpp"

namespace dray::store::http {
namespace {

using namespace std::chrono_literals;
using Outcome = Trial::Outcome;

Trial trial(Outcome outcome, std::optional<Microseconds> wait = {}) {
    return {outcome, Error(ErrorKind::Unreachable, "it answers 503"), wait};
}

class PatienceTest : public testing::Test {
protected:
    Patience::Settings settings() {
        Patience::Settings settings;
        settings.name = "blue";
        settings.clock = &clock_;
        settings.tell = [this](const std::string& sentence) { told_.push_back(sentence); };
        settings.pause = [this](Microseconds time, const std::stop_token&) {
            waits_.push_back(time);
            clock_.pass(time);
        };
        settings.seed = 7;
        return settings;
    }

    test::FakeClock clock_;
    std::vector<Microseconds> waits_;
    std::vector<std::string> told_;
};

TEST_F(PatienceTest, AnAnswerIsTakenAtOnce) {
    Patience patience(settings());
    int attempts = 0;
    EXPECT_TRUE(patience.run([&] { ++attempts; return trial(Outcome::Answered); }, {}));
    EXPECT_EQ(attempts, 1);
    EXPECT_TRUE(waits_.empty());
    EXPECT_TRUE(told_.empty());
}

TEST_F(PatienceTest, WhatIsHopelessIsNotTriedAgain) {
    Patience patience(settings());
    int attempts = 0;
    const auto done = patience.run([&] {
        ++attempts;
        return Trial{Outcome::Hopeless, Error(ErrorKind::Denied, "no key"), {}};
    }, {});
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().kind(), ErrorKind::Denied);
    EXPECT_EQ(attempts, 1);
}

TEST_F(PatienceTest, WaitsGrowToTwoMinutesAndNoFurther) {
    Patience patience(settings());
    int attempts = 0;
    EXPECT_TRUE(patience.run([&] { return trial(++attempts < 14 ? Outcome::Again : Outcome::Answered); }, {}));
    ASSERT_EQ(waits_.size(), 13U);
    for (std::size_t i = 0; i < waits_.size(); ++i)
        EXPECT_LE(waits_[i], std::min<Microseconds>(2min, Microseconds(1s) * (1 << i))) << i;
}

TEST_F(PatienceTest, AnOutageOfHalfAnHourIsSurvivedAndALongerOneIsNot) {
    for (const auto& [outage, survives] : {std::pair{29min, true}, std::pair{33min, false}}) {
        Patience patience(settings());
        const Microseconds end = clock_.boot + outage;
        const auto done = patience.run([&] { return trial(clock_.boot >= end ? Outcome::Answered : Outcome::Again); }, {});
        EXPECT_EQ(done.has_value(), survives) << outage;
        if (!done) {
            EXPECT_EQ(done.error().kind(), ErrorKind::Unreachable);
            EXPECT_TRUE(done.error().text().contains("it answers 503; it has not answered for 3")) << done.error().text();
        }
    }
}

TEST_F(PatienceTest, ARequestThatAloneIsNotAnsweredIsGivenUpAfterEightAttempts) {
    Patience::Settings given = settings();
    int probes = 0;
    given.probe = [&] { return ++probes > 0; };
    Patience patience(given);
    int attempts = 0;
    const auto done = patience.run([&] { ++attempts; return trial(Outcome::Again); }, {});
    ASSERT_FALSE(done);
    EXPECT_EQ(attempts, 8);
    EXPECT_EQ(probes, 1);
    EXPECT_TRUE(done.error().text().contains("tried 8 times")) << done.error().text();
}

TEST_F(PatienceTest, AnsweredOthersAreProofEnough) {
    Patience patience(settings());
    int attempts = 0;
    const auto done = patience.run([&] {
        if (++attempts == 3) {
            clock_.pass(1s);
            EXPECT_TRUE(patience.run([] { return trial(Outcome::Answered); }, {}));
        }
        return trial(Outcome::Again);
    }, {});
    ASSERT_FALSE(done);
    EXPECT_EQ(attempts, 8);
}

TEST_F(PatienceTest, WhatTheEndpointAsksForIsWaitedByAll) {
    Patience patience(settings());
    int attempts = 0;
    const Microseconds begun = clock_.boot;
    EXPECT_TRUE(patience.run([&] {
        return ++attempts == 1 ? trial(Outcome::Throttled, 30s) : trial(Outcome::Answered);
    }, {}));
    EXPECT_GE(clock_.boot - begun, 30s);
    // More than anybody should ask for is cut.
    attempts = 0;
    const Microseconds again = clock_.boot;
    EXPECT_TRUE(patience.run([&] {
        return ++attempts == 1 ? trial(Outcome::Throttled, 24h) : trial(Outcome::Answered);
    }, {}));
    EXPECT_LE(clock_.boot - again, 20min);
}

TEST_F(PatienceTest, BeingThrottledHalvesWhatMayBeUnderWayAndTwentyAnswersAddOne) {
    Patience patience(settings());
    EXPECT_EQ(patience.allowed(), 64U);
    const auto once = [&](Outcome outcome) {
        bool is_first = true;
        (void)patience.run([&] { return trial(std::exchange(is_first, false) ? outcome : Outcome::Answered); }, {});
    };
    once(Outcome::Throttled);
    EXPECT_EQ(patience.allowed(), 32U);
    for (int i = 0; i < 18; ++i)
        once(Outcome::Answered);
    EXPECT_EQ(patience.allowed(), 32U);
    once(Outcome::Answered);
    EXPECT_EQ(patience.allowed(), 33U);
    for (int i = 0; i < 10; ++i) {
        clock_.pass(5s);
        once(Outcome::Throttled);
    }
    EXPECT_EQ(patience.allowed(), 1U) << "and never none";
}

TEST_F(PatienceTest, NoMoreThanAllowedAreUnderWay) {
    Patience::Settings given = settings();
    given.most = 3;
    given.tell = {};
    Patience patience(given);
    std::atomic<int> now = 0;
    std::atomic<int> most = 0;
    std::counting_semaphore<> may_end(0);
    std::counting_semaphore<> has_begun(0);
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i)
        threads.emplace_back([&] {
            (void)patience.run([&] {
                const int count = ++now;
                for (int seen = most; seen < count && !most.compare_exchange_weak(seen, count);) {}
                has_begun.release();
                may_end.acquire();
                --now;
                return trial(Outcome::Answered);
            }, {});
        });
    for (int i = 0; i < 3; ++i)
        has_begun.acquire();
    EXPECT_FALSE(has_begun.try_acquire()) << "a fourth one";
    may_end.release(8);
    threads.clear();
    EXPECT_EQ(most, 3);
}

TEST_F(PatienceTest, SilenceIsToldOnceAndItsEndToo) {
    Patience patience(settings());
    int attempts = 0;
    EXPECT_TRUE(patience.run([&] { return trial(++attempts < 12 ? Outcome::Again : Outcome::Answered); }, {}));
    ASSERT_EQ(told_.size(), 2U);
    EXPECT_EQ(told_[0], "store \"blue\" does not answer: it answers 503; it is tried again for up to 30 min");
    EXPECT_TRUE(told_[1].starts_with("store \"blue\" answers again after ")) << told_[1];
}

TEST_F(PatienceTest, StoppingEndsWaiting) {
    Patience::Settings given = settings();
    given.pause = {};  // the real one
    Patience patience(given);
    std::stop_source stop;
    Result<void> done;
    {
        const std::jthread lane([&] {
            done = patience.run([&] {
                stop.request_stop();
                return trial(Outcome::Throttled, 10min);
            }, stop.get_token());
        });
    }
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().kind(), ErrorKind::Cancelled);
}

TEST_F(PatienceTest, WhoWaitsIsToldAfterAFewAttempts) {
    Patience patience(settings());
    int attempts = 0;
    const Microseconds begun = clock_.boot;
    const auto done = patience.run_briefly([&] { ++attempts; return trial(Outcome::Again); }, {});
    ASSERT_FALSE(done);
    EXPECT_GT(attempts, 1);
    EXPECT_LE(clock_.boot - begun, 20s) << "rules.md 27";
}

}  // namespace
}  // namespace dray::store::http
