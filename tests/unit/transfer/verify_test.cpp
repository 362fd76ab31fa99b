// SPDX-License-Identifier: Apache-2.0
//
// What was verified is what is stored, whatever dray-drive does to the ring afterwards, and it is hashed once.
#include <filesystem>

#include "daemon/transfer/piece_memory.hpp"
#include "tests/unit/transfer/copy_fixture.hpp"

namespace dray::test {
namespace {

using format::BlobOutcome;
using format::PieceOutcome;

class VerifyTest : public CopyTest {
protected:
    /// Every way a piece can go, one blob each: in one request, as a piece of an upload, in parts.
    void add_all() {
        add("small", random(5000));
        format::ManifestBlob& page = add("page", random(kMiB), kMiB);
        page.is_page_blob = true;
        page.pieces.front().id.clear();
        add("parts", random(20 * kMiB + 5), 21 * kMiB);
    }
    /// Copies each blob by itself; with `is_spoilt` all of the ring is other bytes when the store gets to see the last
    /// of them.
    std::map<std::string, transfer::BlobRecord> copy_each(bool is_spoilt) {
        std::map<std::string, transfer::BlobRecord> records;
        const std::vector<format::ManifestBlob> all = manifest_;
        for (const format::ManifestBlob& blob : all) {
            manifest_ = {blob};
            std::filesystem::remove_all(scratch_ / "state");
            std::filesystem::create_directory(scratch_ / "state");
            const Copied copied = copy([&](FakeDrive& drive, transfer::Control&) {
                const Bytes last = (blob.length - 1) / drive::kMaxRead * drive::kMaxRead;
                faults_.before = [&drive, last, is_spoilt](const std::string& operation, const std::string&, Bytes offset) {
                    if (is_spoilt && (operation == "put-whole" || (operation == "put" && offset == last)))
                        std::ranges::fill(drive.ring(), std::byte{0xA5});
                    return Result<void>();
                };
            });
            EXPECT_TRUE(copied.end) << copied.end.error().text();
            records[blob.blob_path] = *copied.records.at(blob.blob_path);
        }
        manifest_ = all;
        return records;
    }
};

TEST_F(VerifyTest, StoresWhatWasVerifiedWhateverBecomesOfTheRing) {
    add_all();
    for (const auto& [name, record] : copy_each(true))
        EXPECT_EQ(record.outcome, BlobOutcome::Completed) << name;
    EXPECT_EQ(blobs(), expected());
    EXPECT_EQ(faults_.checked, 0U) << "nothing is hashed once more";
}

TEST_F(VerifyTest, LeavesTheLastLookToAStoreThatLooksInAnyCase) {
    faults_.checks_at_far_end = true;
    add_all();
    for (const auto& [name, record] : copy_each(false))
        EXPECT_EQ(record.outcome, BlobOutcome::Completed) << name;
    EXPECT_EQ(blobs(), expected());
    EXPECT_EQ(faults_.checked, 2U) << "whole pieces come from the ring with their hash";
}

TEST_F(VerifyTest, PublishesNothingThatSuchAStoreFoundChanged) {
    faults_.checks_at_far_end = true;
    add_all();
    auto records = copy_each(true);
    EXPECT_EQ(records["lab/small"].pieces, std::vector{PieceOutcome::Corrupted});
    EXPECT_EQ(records["lab/page"].pieces, std::vector{PieceOutcome::Corrupted});
    EXPECT_EQ(records["lab/parts"].outcome, BlobOutcome::Completed) << "parts are copied before they are hashed";
    auto wanted = expected();
    wanted.erase("lab/small");
    wanted["lab/page"] = Content(kMiB);
    EXPECT_EQ(blobs(), wanted);
}

TEST_F(VerifyTest, MakesDoWithTheSmallestRing) {
    ring_ = 16 * kMiB;
    for (const bool checks_at_far_end : {false, true}) {
        faults_.checks_at_far_end = checks_at_far_end;
        const std::string tag = checks_at_far_end ? "far" : "near";
        add(tag + "-longest", random(3 * drive::kMaxRead), drive::kMaxRead);
        add(tag + "-longer", random(3 * (drive::kMaxRead + 1)), drive::kMaxRead + 1);
        for (int i = 0; i < 200; ++i)
            add(tag + "-small" + std::to_string(i), random(4096 + static_cast<std::size_t>(i)));
        const Copied copied = copy();
        ASSERT_TRUE(copied.end) << copied.end.error().text();
        EXPECT_EQ(blobs(), expected());
        manifest_.clear();
        std::filesystem::remove_all(scratch_ / "state");
        std::filesystem::create_directory(scratch_ / "state");
    }
}

TEST_F(VerifyTest, TellsAReadErrorInTheMiddleOfAPieceOfManyPartsFromTheParts) {
    add("hole", random(40 * kMiB), 40 * kMiB);
    add("wrong", random(40 * kMiB), 40 * kMiB);
    add("right", random(40 * kMiB), 40 * kMiB);
    const Copied copied = copy([](FakeDrive& drive, transfer::Control&) {
        drive.fail_at("hole", 17 * kMiB, ErrorKind::Corrupt);
        drive.change("wrong", 17 * kMiB);
    });
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    EXPECT_EQ(copied.records.at("lab/hole")->outcome, BlobOutcome::IOFailed);
    EXPECT_EQ(copied.records.at("lab/wrong")->pieces, std::vector{PieceOutcome::Corrupted});
    EXPECT_EQ(copied.records.at("lab/right")->outcome, BlobOutcome::Completed);
    EXPECT_EQ(blobs().size(), 1U);
    EXPECT_FALSE(has_uncommitted());
}

// Answers that come together: the part before the one that cannot be read has not been looked at by then.
TEST_F(VerifyTest, TellsAReadErrorThatComesTogetherWithThePartBefore) {
    ring_ = 96 * kMiB;
    add("hole", random(24 * kMiB), 24 * kMiB);
    add("end", random(24 * kMiB), 24 * kMiB);
    add("right", random(24 * kMiB), 24 * kMiB);
    const Copied copied = copy([](FakeDrive& drive, transfer::Control&) {
        drive.fail_at("hole", 9 * kMiB, ErrorKind::Corrupt);
        drive.fail_at("end", 23 * kMiB, ErrorKind::Corrupt);
    });
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    EXPECT_EQ(copied.records.at("lab/hole")->outcome, BlobOutcome::IOFailed);
    EXPECT_EQ(copied.records.at("lab/end")->outcome, BlobOutcome::IOFailed);
    EXPECT_EQ(copied.records.at("lab/right")->outcome, BlobOutcome::Completed);
    EXPECT_EQ(blobs().size(), 1U);
    EXPECT_FALSE(has_uncommitted());
}

TEST(MemoryShare, HoldsNoMoreThanTheRingWasToHave) {
    for (const Bytes size : {16 * kMiB, 17 * kMiB + 4096, 32 * kMiB, 96 * kMiB, 4 * kGiB}) {
        const auto copied = transfer::MemoryShare::of(size, false);
        EXPECT_LE(copied.ring + copied.copies, size);
        EXPECT_GE(copied.ring, drive::kMaxRead);
        EXPECT_GE(copied.copies, copied.ring) << "most of it is for what waits for the store";
        const auto checked = transfer::MemoryShare::of(size, true);
        EXPECT_EQ(checked.ring, size);
        EXPECT_GE(checked.copies, drive::kMaxRead);
        EXPECT_LE(checked.copies, std::max(size / 3, 2 * drive::kMaxRead));
    }
}

TEST(MemoryShare, IsHalfAndHalfWhereThereIsHardlyAny) {
    for (const Bytes size : {2 * drive::kRingAlignment, 4 * kMiB, 16 * kMiB - drive::kRingAlignment}) {
        const auto share = transfer::MemoryShare::of(size, false);
        EXPECT_EQ(share.ring + share.copies, size);
        EXPECT_LE(share.copies - share.ring, drive::kRingAlignment);
    }
}

TEST(PieceMemory, IsBoundedAndCanBeUsedAgain) {
    transfer::PieceMemory memory(16 * kKiB);
    const std::vector<std::byte> one(8 * kKiB, std::byte{1});
    const std::vector<std::byte> two(8 * kKiB, std::byte{2});
    const auto first = memory.copy(one);
    const auto second = memory.copy(two);
    ASSERT_TRUE(first && second);
    EXPECT_FALSE(memory.copy(std::span(one).first(1)));
    EXPECT_TRUE(std::ranges::equal(memory.at(*first, one.size()), one));
    EXPECT_TRUE(std::ranges::equal(memory.at(*second, two.size()), two));
    memory.give_back(*first);
    EXPECT_EQ(memory.copy(two), first);
    EXPECT_TRUE(std::ranges::equal(memory.at(*first, two.size()), two));
}

}  // namespace
}  // namespace dray::test
