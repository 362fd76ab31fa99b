// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/control.hpp"

#include <gtest/gtest.h>

namespace dray::transfer {
namespace {

TEST(ProgressCounters, AStoreThatDoesNotAnswerIsShownUntilItDoes) {
    ProgressCounters progress;
    EXPECT_STREQ(progress.shown_phase(), "Unlocking");
    progress.phase = "Transferring";
    progress.blobs_done = 2;
    EXPECT_STREQ(progress.shown_phase(), "Transferring");
    progress.store_has_told();
    EXPECT_STREQ(progress.shown_phase(), "WaitingForStore");
    progress.bytes_done = 5;
    EXPECT_STREQ(progress.shown_phase(), "WaitingForStore") << "what was read is not in the store yet";
    progress.store_has_told();
    EXPECT_STREQ(progress.shown_phase(), "Transferring");
}

TEST(ProgressCounters, WhatGetsThroughShowsThatTheStoreAnswers) {
    for (std::atomic<std::uint64_t> ProgressCounters::* counter :
         {&ProgressCounters::pieces_journaled, &ProgressCounters::blobs_done}) {
        ProgressCounters progress;
        progress.phase = "Transferring";
        progress.store_has_told();
        EXPECT_STREQ(progress.shown_phase(), "WaitingForStore");
        ++(progress.*counter);
        EXPECT_STREQ(progress.shown_phase(), "Transferring");
        progress.store_has_told();
        EXPECT_STREQ(progress.shown_phase(), "WaitingForStore");
    }
}

}  // namespace
}  // namespace dray::transfer
