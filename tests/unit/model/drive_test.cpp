// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/drive.hpp"

#include <gtest/gtest.h>

#include "daemon/model/job_state.hpp"

namespace dray {
namespace {

TEST(Drive, WordsGoBothWays) {
    for (const DriveState state : all_drive_states())
        EXPECT_EQ(parse_drive_state(to_string(state)), state);
    for (const DrainMode mode : {DrainMode::Drive, DrainMode::Blob, DrainMode::Piece})
        EXPECT_EQ(parse_drain_mode(to_string(mode)), mode);
    EXPECT_EQ(to_string(DriveState::CompletedMoreInfo), "CompletedMoreInfo");
    EXPECT_EQ(to_string(DrainMode::Piece), "piece");
    EXPECT_FALSE(parse_drive_state("received"));
    EXPECT_FALSE(parse_drain_mode(""));
}

TEST(Drive, SerialsLoseTheirSpaces) {
    EXPECT_EQ(*check_serial("  WD-WX12 A45 "), "WD-WX12A45");
    EXPECT_EQ(check_serial(std::string(128, 'x'))->size(), 128U);
    EXPECT_EQ(check_serial(std::string(128, 'x') + " ")->size(), 128U);
}

TEST(Drive, RefusesSerialsThatAreNone) {
    for (const std::string& serial : {std::string(), std::string("   "), std::string(129, 'x'),
                                      std::string("a\tb"), std::string("a\x7F"), std::string("\xC3\xA9"),
                                      std::string("a\0b", 3)})
        EXPECT_EQ(check_serial(serial).error().kind(), ErrorKind::InvalidArgument) << serial;
}

TEST(Drive, SerialsCompareWithoutCaseAndSpaces) {
    EXPECT_EQ(fold_serial("WD wx12 "), fold_serial("wdWX12"));
    EXPECT_NE(fold_serial("WD1"), fold_serial("WD2"));
}

TEST(Drive, IsFinishedOnceItsCopyHasEnded) {
    Drive drive;
    for (const DriveState state : all_drive_states()) {
        drive.state = state;
        const bool expected = state == DriveState::Completed || state == DriveState::CompletedMoreInfo ||
                              state == DriveState::ShippedBack;
        EXPECT_EQ(drive.is_finished(), expected) << to_string(state);
    }
}

}  // namespace
}  // namespace dray
