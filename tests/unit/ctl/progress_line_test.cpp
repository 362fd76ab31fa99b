// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/progress_line.hpp"

#include <gtest/gtest.h>

namespace dray::ctl {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(ProgressLine, TellsPartSpeedAndTimeLeft) {
    EXPECT_EQ(progress_text(kGiB, 4 * kGiB, seconds(2)),
              "[#####...............]  25%  1.0GiB of 4.0GiB  512MiB/s  6s left");
}

TEST(ProgressLine, GuessesNothingAtTheStartAndDividesByNothing) {
    EXPECT_EQ(progress_text(0, kGiB, seconds(5)), "[....................]   0%  0B of 1.0GiB");
    EXPECT_EQ(progress_text(kMiB, 4 * kMiB, milliseconds(10)),
              "[#####...............]  25%  1.0MiB of 4.0MiB");
    EXPECT_EQ(progress_text(0, 0, seconds(2)), "[####################] 100%  0B of 0B");
    EXPECT_EQ(progress_text(kMiB, kMiB, seconds(1)),
              "[####################] 100%  1.0MiB of 1.0MiB  1.0MiB/s");
}

}  // namespace
}  // namespace dray::ctl
