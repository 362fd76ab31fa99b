// SPDX-License-Identifier: Apache-2.0
//
// Read errors are only suspected at first (rules.md 1).
#include "tests/unit/transfer/copy_fixture.hpp"

namespace dray::test {
namespace {

using format::BlobOutcome;
using format::PieceOutcome;
using transfer::CopyEnd;

class SecondLookTest : public CopyTest {
protected:
    /// Blobs of every way a blob can go, "bad-*" among them.
    void fill() {
        add("bad-small", random(1000));
        add("bad-large", random(5 * kMiB), kMiB);
        add("bad-streamed", random(20 * kMiB), 100 * kMiB);
        add("good", random(3 * kMiB), kMiB);
    }
};

TEST_F(SecondLookTest, WhatIsReadTheSecondTimeIsAsGoodAsAtFirst) {
    fill();
    const Copied copied = copy([](FakeDrive& drive, transfer::Control&) {
        drive.fail_at_first("bad-small", 10, 1);
        drive.fail_at_first("bad-large", 2 * kMiB + 5, 1);
        drive.fail_at_first("bad-streamed", 9 * kMiB, 1);
    });
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    EXPECT_EQ(*copied.end, CopyEnd::Done);
    EXPECT_EQ(blobs(), expected());
    EXPECT_EQ(copied.counters.blobs_failed, 0U);
    EXPECT_EQ(copied.counters.bytes_done, 28 * kMiB + 1000) << "no byte counts twice";
    EXPECT_EQ(copied.counters.bytes_succeeded, 28 * kMiB + 1000);
    EXPECT_FALSE(has_uncommitted());
}

TEST_F(SecondLookTest, AFileWhoseInodeIsReadTheSecondTimeIsCopied) {
    add("file", random(3 * kMiB), kMiB);
    add("other", random(10));
    const Copied copied = copy([](FakeDrive& drive, transfer::Control&) {
        drive.refuse_to_open("file", 1);
        drive.refuse_to_open("other", 2);
    });
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    EXPECT_EQ(copied.records.at("lab/file")->outcome, BlobOutcome::Completed);
    EXPECT_EQ(copied.records.at("lab/other")->outcome, BlobOutcome::IOFailed);
    EXPECT_EQ(blobs().size(), 1U);
    EXPECT_EQ(blobs()["lab/file"], files_.at("file"));
}

TEST_F(SecondLookTest, WhatFailsTwiceIsJournaledAndAllElseHasCome) {
    fill();
    const Copied copied = copy([](FakeDrive& drive, transfer::Control&) {
        drive.fail_at_first("bad-small", 10, 2);
        drive.fail_at_first("bad-large", 2 * kMiB + 5, 2);
        drive.fail_at_first("bad-streamed", 9 * kMiB, 2);
    });
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    EXPECT_EQ(*copied.end, CopyEnd::Done);
    EXPECT_EQ(copied.counters.blobs_failed, 3U);
    EXPECT_EQ(copied.counters.bytes_done, 28 * kMiB + 1000);
    EXPECT_EQ(copied.counters.bytes_succeeded, 3 * kMiB);
    EXPECT_EQ(copied.records.at("lab/bad-large")->pieces[2], PieceOutcome::IOFailed);
    EXPECT_EQ(copied.records.at("lab/bad-large")->pieces[3], PieceOutcome::Uncommitted);
    EXPECT_EQ(blobs().size(), 1U);
    EXPECT_FALSE(has_uncommitted());
}

// In the journal, so that a log that is written by a later process has them, too.
TEST_F(SecondLookTest, TheBytesThatAreLostAreFoundAndJournaled) {
    using Lost = std::vector<format::LostRange>;
    fill();
    const Copied copied = copy([](FakeDrive& drive, transfer::Control&) {
        drive.fail_at("bad-small", 700, ErrorKind::Internal);
        drive.fail_at("bad-large", 2 * kMiB + 5, ErrorKind::Internal);
        drive.fail_at("bad-large", 3 * kMiB + 512, ErrorKind::Internal);
        drive.fail_at("bad-large", 3 * kMiB + 1024, ErrorKind::Internal);
        // Unreadable as a whole, twice, and then readable in parts.
        drive.fail_at_first("bad-streamed", 9 * kMiB, 2);
    });
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    EXPECT_EQ(copied.records.at("lab/bad-small")->lost, (Lost{{512, 488}}));
    EXPECT_EQ(copied.records.at("lab/bad-large")->lost, (Lost{{2 * kMiB, 512}, {3 * kMiB + 512, 1024}}));
    EXPECT_EQ(copied.records.at("lab/bad-streamed")->lost, (Lost{{0, 20 * kMiB, false}}));
    EXPECT_TRUE(copied.records.at("lab/good")->lost.empty());
    EXPECT_EQ(copied.counters.bytes_done, 28 * kMiB + 1000) << "no byte counts twice";
    EXPECT_EQ(blobs().size(), 1U);
}

TEST_F(SecondLookTest, ARemovalWithinTheWhileAfterASecondFailureJournalsNothing) {
    fill();
    removal_limit_ = std::chrono::minutes(5);
    // drayd says Stop when udev tells of the removal; here, at the second failure.
    const Copied copied = copy([](FakeDrive& drive, transfer::Control& control) {
        drive.fail_at_first("bad-large", 2 * kMiB + 5, 2, [&drive_control = control, count = 0]() mutable {
            if (++count == 2)
                drive_control.request_stop();
        });
    });
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    EXPECT_EQ(*copied.end, CopyEnd::Stopped);
    EXPECT_FALSE(copied.records.at("lab/bad-large").has_value());
    // The drive is back and sound: nothing was lost by it.
    copy_all();
}

TEST_F(SecondLookTest, ADeviceThatIsGoneAtTheSecondLookJournalsNothing) {
    fill();
    const Copied copied = copy([](FakeDrive& drive, transfer::Control&) {
        drive.fail_at_first("bad-large", 2 * kMiB + 5, 1);
        drive.fail_at("bad-large", 2 * kMiB + 5, ErrorKind::Gone);
    });
    ASSERT_FALSE(copied.end);
    EXPECT_EQ(copied.end.error().kind(), ErrorKind::Gone);
    EXPECT_FALSE(copied.records.at("lab/bad-large").has_value());
    copy_all();
}

TEST_F(SecondLookTest, MoreUnreadableBlobsThanFitInHandAllEnd) {
    constexpr unsigned kMany = 300;
    for (unsigned i = 0; i < kMany; ++i)
        add("bad" + std::to_string(i), random(100));
    add("good", random(100));
    const Copied copied = copy([](FakeDrive& drive, transfer::Control&) {
        for (unsigned i = 0; i < kMany; ++i)
            drive.fail_at("bad" + std::to_string(i), 50, ErrorKind::Internal);
    });
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    EXPECT_EQ(*copied.end, CopyEnd::Done);
    EXPECT_EQ(copied.counters.blobs_failed, kMany);
    EXPECT_EQ(blobs().size(), 1U);
}

TEST_F(SecondLookTest, ALaterBlobOfTheSameNameWaitsForTheOneThatIsLookedAtAgain) {
    format::ManifestBlob& first = add("a", random(1000));
    first.blob_path = "lab/name.txt";
    format::ManifestBlob& second = add("b", random(1000));
    second.blob_path = "lab/name.txt";
    second.disposition = format::Disposition::Rename;
    const Copied copied = copy([](FakeDrive& drive, transfer::Control&) { drive.fail_at_first("a", 10, 1); });
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    const auto found = blobs();
    EXPECT_EQ(found.at("lab/name.txt"), files_["a"]) << "the first in the document is the first in the store";
    EXPECT_EQ(found.at("lab/name (2).txt"), files_["b"]);
}

}  // namespace
}  // namespace dray::test
