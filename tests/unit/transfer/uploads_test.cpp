// SPDX-License-Identifier: Apache-2.0
//
// Whatever becomes of a copy, in the end nothing lies in the store that no name leads to.
#include <atomic>

#include "daemon/transfer/tasks.hpp"
#include "tests/unit/transfer/copy_fixture.hpp"

namespace dray::transfer {
namespace {

using format::BlobOutcome;
using format::DispositionOutcome;

class UploadsTest : public test::CopyTest {
protected:
    /// A copy of one large blob that is stopped when some of its pieces are in the store.
    void copy_half() {
        add("large", random(32 * kMiB), 64 * kKiB);
        ring_ = 16 * kMiB;
        const Copied copied = copy([this](test::FakeDrive&, Control& control) {
            faults_.after = [this, &control](const std::string& operation, const std::string&, Bytes) {
                if (operation == "put" && ++puts_ == 20)
                    control.request_stop();
                return Result<void>();
            };
        });
        faults_.after = [](const std::string&, const std::string&, Bytes) { return Result<void>(); };
        ASSERT_TRUE(copied.end) << copied.end.error().text();
        ASSERT_EQ(*copied.end, CopyEnd::Stopped);
        ASSERT_TRUE(has_uncommitted());
    }
    /// Somebody else's blob of that name.
    void put_another(const std::string& name) {
        const Content content = random(100);
        store::CreateOptions options;
        options.length = content.size();
        options.upload_id = "another";
        store::Piece piece;
        piece.length = content.size();
        piece.content = content;
        ASSERT_TRUE(store_->put_whole({"lab", name}, options, piece, {}, {}, {}));
    }

    std::atomic<int> puts_ = 0;
};

TEST_F(UploadsTest, ThrowsAwayWhatWasPutOfABlobThatIsSkippedInTheEnd) {
    copy_half();
    put_another("large");
    const Copied copied = copy();
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    EXPECT_EQ(copied.records.at("lab/large")->disposition, DispositionOutcome::Skipped);
    EXPECT_FALSE(has_uncommitted());
}

TEST_F(UploadsTest, ThrowsAwayWhatAKillLeftBetweenOutcomeAndThrowingAway) {
    copy_half();
    {
        // As give_up() does it, up to the kill.
        const auto record = journal();
        BlobRecord given_up;
        given_up.outcome = BlobOutcome::CompletedWithErrors;
        given_up.disposition = DispositionOutcome::Cancelled;
        record->record_blob(given_up);
    }
    ASSERT_TRUE(copy().end);
    EXPECT_FALSE(has_uncommitted());
}

TEST_F(UploadsTest, ThrowsAwayWhatASetAsideJournalLeft) {
    copy_half();
    const std::string state = scratch_ / "state";
    auto opened = Journal::open(state, {"OTHER", "volume", store_->identity(), "boot"}, clock_);
    ASSERT_TRUE(opened);
    EXPECT_NE(opened->set_aside, "");
    ASSERT_TRUE(throw_away(*opened->journal->uploads(false), *store_));
    EXPECT_FALSE(has_uncommitted());
    // Again, and where nothing is, it is nothing to complain about.
    EXPECT_TRUE(throw_away(*opened->journal->uploads(false), *store_));
}

TEST_F(UploadsTest, LeavesNothingListedAfterACleanCopy) {
    copy_half();
    copy_all();
    EXPECT_TRUE(journal()->uploads(true)->empty());
}

}  // namespace
}  // namespace dray::transfer
