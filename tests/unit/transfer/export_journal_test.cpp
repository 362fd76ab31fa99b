// SPDX-License-Identifier: Apache-2.0
//
// An export's journal: what counts is what the drive's last checkpoint says.
#include "daemon/transfer/export_journal.hpp"

#include <gtest/gtest.h>

#include <filesystem>

#include "daemon/transfer/export.hpp"
#include "tests/support/scratch_directory.hpp"

namespace dray::transfer {
namespace {

using format::BlobOutcome;

Md5Hash hash_of(unsigned char byte) {
    Md5Hash hash{};
    hash.fill(std::byte{byte});
    return hash;
}

class ExportJournals : public testing::Test {
protected:
    std::string directory() const { return scratch_.path().string(); }

    std::unique_ptr<ExportJournal> make(std::uint64_t count = 5) {
        auto made = ExportJournal::make(directory(), [&](ExportJournal& journal) -> Result<void> {
            for (std::uint64_t i = 0; i < count; ++i)
                DRAY_TRY(journal.add({i, {"cat", "f" + std::to_string(i), ""}, false, 100 + i, "cat/f" + std::to_string(i)}));
            return {};
        });
        EXPECT_TRUE(made) << made.error().text();
        return std::move(*made);
    }
    std::unique_ptr<ExportJournal> reopen() {
        auto opened = ExportJournal::open(directory());
        EXPECT_TRUE(opened) << opened.error().text();
        return std::move(*opened);
    }
    static std::vector<std::uint64_t> open_ones(const ExportJournal& journal) {
        std::vector<std::uint64_t> indexes;
        for (std::uint64_t index = 0;;) {
            const auto next = journal.next(index);
            EXPECT_TRUE(next);
            if (!next || !*next)
                return indexes;
            indexes.push_back((*next)->index);
            index = (*next)->index + 1;
        }
    }
    test::ScratchDirectory scratch_;
};

using Indexes = std::vector<std::uint64_t>;

TEST_F(ExportJournals, WhatHasEndedComesBackAsItWas) {
    {
        const auto journal = make();
        ExportOutcome whole;
        whole.index = 1;
        whole.length = 4711;
        whole.modified = from_usec(1'700'000'000'123'456);
        whole.pieces = {{0, 4000, "AAAA", hash_of(1)}, {4000, 711, "", hash_of(2)}};
        whole.properties = format::SideFile{"\\cat\\f1.properties", hash_of(3), false};
        ExportOutcome failed;
        failed.index = 3;
        failed.outcome = BlobOutcome::BlobRequestForbidden;
        ExportOutcome without_room;
        without_room.index = 4;
        without_room.outcome = BlobOutcome::Failed;
        without_room.has_no_room = true;
        ASSERT_EQ(*journal->commit({whole, failed, without_room}, {{0, "etag", {hash_of(7), hash_of(8)}, {"cat/f0.properties", "cat/f0.metadata"}}}), 1U);
    }
    const auto journal = reopen();
    EXPECT_EQ(open_ones(*journal), (Indexes{0, 2}));
    std::map<std::uint64_t, ExportOutcome> found;
    ASSERT_TRUE(journal->walk(false, [&](const ExportEntry& entry, const std::optional<ExportOutcome>& outcome) -> Result<void> {
        EXPECT_EQ(entry.path, "cat/f" + std::to_string(entry.index));
        found[entry.index] = *outcome;
        return {};
    }));
    ASSERT_EQ(found.size(), 3U);
    EXPECT_EQ(found[1].length, 4711U);
    EXPECT_EQ(to_usec(found[1].modified), 1'700'000'000'123'456U);
    ASSERT_EQ(found[1].pieces.size(), 2U);
    EXPECT_EQ(found[1].pieces[0].id, "AAAA");
    EXPECT_EQ(found[1].pieces[1].hash, hash_of(2));
    EXPECT_EQ(found[1].properties->path, "\\cat\\f1.properties");
    EXPECT_FALSE(found[1].metadata);
    EXPECT_EQ(found[3].outcome, BlobOutcome::BlobRequestForbidden);
    EXPECT_TRUE(found[4].has_no_room);
    const auto begun = journal->begun();
    ASSERT_TRUE(begun && begun->size() == 1);
    EXPECT_EQ((*begun)[0].etag, "etag");
    EXPECT_EQ((*begun)[0].hashes, (std::vector{hash_of(7), hash_of(8)}));
    EXPECT_EQ((*begun)[0].sides, (std::vector<std::string>{"cat/f0.properties", "cat/f0.metadata"}));
    const auto done = journal->done();
    EXPECT_EQ(done->blobs, 3U);
    EXPECT_EQ(done->failed, 2U);
    EXPECT_EQ(done->bytes_succeeded, 101U);
    EXPECT_EQ(journal->totals()->bytes, 510U);
}

TEST_F(ExportJournals, WhatIsNewerThanTheDrivesCheckpointIsForgotten) {
    const auto outcome = [](std::uint64_t index) {
        ExportOutcome one;
        one.index = index;
        return one;
    };
    const auto journal = make();
    ASSERT_EQ(*journal->commit({outcome(0)}, {{2, "a", {hash_of(1)}}}), 1U);
    ASSERT_EQ(*journal->commit({outcome(1)}, {{2, "a", {hash_of(1), hash_of(2)}}, {3, "b", {}}}), 2U);
    // The checkpoint that belongs to the second never came to be.
    ASSERT_TRUE(journal->go_back_to(1));
    EXPECT_EQ(open_ones(*journal), (Indexes{1, 2, 3, 4}));
    const auto begun = journal->begun();
    ASSERT_EQ(begun->size(), 1U);
    EXPECT_EQ((*begun)[0].hashes, std::vector{hash_of(1)});
    // And the numbers go on from there.
    EXPECT_EQ(*journal->commit({outcome(1)}, {}), 2U);
    EXPECT_TRUE(journal->begun()->empty());
    ASSERT_TRUE(journal->go_back_to(0));
    EXPECT_EQ(open_ones(*journal), (Indexes{0, 1, 2, 3, 4}));
}

TEST_F(ExportJournals, OneThatWasNotFinishedIsNone) {
    EXPECT_EQ(ExportJournal::open(directory()).error().kind(), ErrorKind::NotFound);
    EXPECT_FALSE(ExportJournal::make(directory(), [](ExportJournal&) -> Result<void> { return fail(ErrorKind::Cancelled, "stopped"); }));
    EXPECT_EQ(ExportJournal::open(directory()).error().kind(), ErrorKind::NotFound);
    make(2);
    EXPECT_EQ(open_ones(*reopen()), (Indexes{0, 1}));
    EXPECT_EQ(reopen()->entry(2).error().kind(), ErrorKind::Corrupt);
}

TEST(ExportProgressText, ComesBackAsItWasAndFitsACheckpoint) {
    ExportProgress progress;
    progress.generation = UINT64_MAX;
    for (std::uint32_t file = 0; file < drive::kMaxFiles; ++file)
        progress.files[file] = UINT64_MAX - file;
    EXPECT_LE(progress.text().size(), drive::kMaxProgress);
    const auto parsed = ExportProgress::parse(progress.text());
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->generation, progress.generation);
    EXPECT_EQ(parsed->files, progress.files);
    EXPECT_TRUE(ExportProgress::parse("0"));
    for (const char* text : {"", "x", "1 ", "1 2", "1 =2", "1 2=", "1=2", "1 512=3", "1 2=3 x", "-1", "99999999999999999999"})
        EXPECT_EQ(ExportProgress::parse(text).error().kind(), ErrorKind::Corrupt) << text;
}

}  // namespace
}  // namespace dray::transfer
