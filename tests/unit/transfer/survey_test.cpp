// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/survey.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

namespace dray::transfer {
namespace {

using format::LostRange;

/// Asks a device whose bad sectors are `bad` until the survey is content. `most`: the longest it may take.
std::vector<LostRange> search(Survey& survey, Bytes sector, const std::set<Bytes>& bad, unsigned* failures = nullptr,
                              Microseconds each = Microseconds(0)) {
    while (const auto range = survey.next()) {
        EXPECT_LT(range->begin, range->end);
        EXPECT_LE(range->end - range->begin, kSurveyRead);
        const auto first = bad.lower_bound(range->begin / sector);
        const bool is_bad = first != bad.end() && *first * sector < range->end;
        if (failures != nullptr)
            *failures += is_bad ? 1 : 0;
        survey.took(*range, !is_bad, is_bad ? each : Microseconds(0));
    }
    return survey.lost();
}

TEST(Survey, FindsEverySectorAndJoinsThoseThatTouch) {
    struct Case {
        Survey::Range range;
        Bytes sector;
        std::set<Bytes> bad;
        std::vector<LostRange> lost;
    };
    const std::vector<Case> cases{
        {{0, 4 * kMiB}, 512, {}, {}},
        {{0, 4 * kMiB}, 512, {0}, {{0, 512}}},
        {{0, 4 * kMiB}, 512, {8191}, {{8191 * 512, 512}}},
        {{0, 4 * kMiB}, 4096, {255, 256, 700}, {{255 * 4096, 8192}, {700 * 4096, 4096}}},
        // Neither end at a border of sectors.
        {{100, 1300}, 512, {0, 2}, {{100, 412}, {1024, 276}}},
        {{300, 1000}, 512, {1}, {{512, 488}}},
        {{100, 500}, 512, {0}, {{100, 400}}},
        {{511, 513}, 512, {0, 1}, {{511, 2}}},
        // What lies beside the range does not count.
        {{512, 1024}, 512, {0, 2}, {}},
        {{7, 7}, 512, {0}, {}},
    };
    for (const Case& each : cases) {
        Survey survey(each.range, each.sector, {});
        EXPECT_EQ(search(survey, each.sector, each.bad), each.lost) << each.range.begin << " to " << each.range.end;
    }
}

TEST(Survey, EndsAtItsLimitsAndCallsTheRestLostAtMost) {
    std::set<Bytes> all;
    for (Bytes sector = 0; sector < 4 * kMiB / 512; ++sector)
        all.insert(sector);
    unsigned failures = 0;
    Survey everything({0, 4 * kMiB}, 512, {});
    EXPECT_EQ(search(everything, 512, all, &failures), (std::vector<LostRange>{{0, 4 * kMiB, false}}));
    EXPECT_EQ(failures, SurveyLimits().failures);

    // One sector takes the halves of 1 MiB down to 512 bytes: twelve failures.
    for (const unsigned limit : {11U, 12U}) {
        SurveyLimits limits;
        limits.failures = limit;
        Survey survey({0, kMiB}, 512, limits);
        const std::vector<LostRange> lost = search(survey, 512, {3});
        if (limit == 12)
            EXPECT_EQ(lost, (std::vector<LostRange>{{3 * 512, 512}}));
        else
            EXPECT_EQ(lost, (std::vector<LostRange>{{2 * 512, 1024, false}}));
    }
    for (const int seconds : {11, 12}) {
        SurveyLimits limits;
        limits.time = std::chrono::seconds(seconds);
        Survey survey({0, kMiB}, 512, limits);
        const std::vector<LostRange> lost = search(survey, 512, {3}, nullptr, std::chrono::seconds(1));
        EXPECT_EQ(lost.size(), 1U);
        EXPECT_EQ(lost.front().is_exact, seconds == 12);
    }
}

TEST(Survey, WithoutTimeNothingIsReadAndAllIsLostAtMost) {
    SurveyLimits limits;
    limits.time = Microseconds(0);
    Survey survey({10, 20}, 512, limits);
    EXPECT_FALSE(survey.next());
    EXPECT_EQ(survey.lost(), (std::vector<LostRange>{{10, 10, false}}));
}

}  // namespace
}  // namespace dray::transfer
