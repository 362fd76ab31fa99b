// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/journal.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>

#include "tests/support/scratch_directory.hpp"

namespace dray::transfer {
namespace {

using format::BlobOutcome;
using format::DispositionOutcome;
using format::PieceOutcome;

const JournalBinding kBinding{"HASH", "volume", "store", "boot-1"};

class JournalTest : public testing::Test {
protected:
    std::unique_ptr<Journal> open(const JournalBinding& binding = kBinding) {
        Result<Journal::Opened> opened = Journal::open(scratch_.path().string(), binding, clock_);
        EXPECT_TRUE(opened) << opened.error().text();
        set_aside_ = opened->set_aside;
        return std::move(opened->journal);
    }
    BlobRecord record(std::uint64_t index) {
        BlobRecord record;
        record.index = index;
        record.outcome = BlobOutcome::CompletedWithErrors;
        record.disposition = DispositionOutcome::Renamed;
        record.name = "lab/a (2).txt";
        record.pieces = {PieceOutcome::Completed, PieceOutcome::Corrupted};
        record.metadata = format::SideFileOutcome::XmlReadFailed;
        record.bytes_succeeded = 77;
        return record;
    }

    test::ScratchDirectory scratch_;
    SystemClock clock_;
    std::string set_aside_;
};

TEST_F(JournalTest, KnowsEverythingAgainAfterItWasClosed) {
    std::string id;
    {
        const auto journal = open();
        id = journal->id();
        journal->record_begin(3, "lab/three", true);
        journal->record_begin(4, "lab/four", false);
        journal->record_piece(3, 0);
        journal->record_piece(3, 9);
        journal->record_blob(record(4));
        ASSERT_TRUE(journal->record_intent(5, "lab/five", true));
    }
    const auto journal = open();
    EXPECT_EQ(set_aside_, "");
    EXPECT_EQ(journal->id(), id);
    EXPECT_EQ(*journal->pieces(3), (std::vector<std::uint64_t>{0, 9}));
    const auto uploads = *journal->uploads(true);
    ASSERT_EQ(uploads.size(), 3U) << "begun and no blob, or about to be committed";
    EXPECT_EQ(uploads[0].id, id + "-3");
    EXPECT_EQ(uploads[0].name, "lab/three");
    EXPECT_TRUE(uploads[0].is_page_blob);
    EXPECT_EQ(uploads[1].id, id + "-4") << "it has an outcome, but what was put of it did not become a blob";
    EXPECT_EQ(uploads[2].id, id + "-5");
    EXPECT_EQ(uploads[2].name, "lab/five");
    EXPECT_EQ(journal->uploads(false)->size(), 2U);
    const auto blob = *journal->blob(4);
    ASSERT_TRUE(blob);
    EXPECT_EQ(blob->outcome, BlobOutcome::CompletedWithErrors);
    EXPECT_EQ(blob->disposition, DispositionOutcome::Renamed);
    EXPECT_EQ(blob->name, "lab/a (2).txt");
    EXPECT_EQ(blob->pieces, record(4).pieces);
    EXPECT_EQ(blob->metadata, format::SideFileOutcome::XmlReadFailed);
    EXPECT_FALSE(blob->properties);
    EXPECT_EQ(blob->bytes_succeeded, 77U);
    EXPECT_FALSE(*journal->blob(3));
    const auto intent = *journal->intent(5);
    ASSERT_TRUE(intent);
    EXPECT_EQ(intent->name, "lab/five");
    EXPECT_TRUE(intent->replaces);
    EXPECT_LE(intent->time, clock_.now());
}

TEST_F(JournalTest, StartsAnewAndSaysWhyWhenItBelongsToAnotherDriveOrStore) {
    struct Case {
        JournalBinding binding;
        const char* why;
    };
    for (const Case& other : {Case{{"OTHER", "volume", "store", "boot-1"}, "manifest"},
                              Case{{"HASH", "other", "store", "boot-1"}, "made anew"},
                              Case{{"HASH", "volume", "other", "boot-1"}, "store"}}) {
        open()->record_piece(1, 1);
        const auto journal = open(other.binding);
        EXPECT_NE(set_aside_.find(other.why), std::string::npos) << set_aside_;
        EXPECT_TRUE(journal->pieces(1)->empty());
        open(other.binding);
        EXPECT_EQ(set_aside_, "");
        open();
    }
}

TEST_F(JournalTest, GoesOnWithAFileOfTheVersionBeforeAndSetsALaterOneAside) {
    open()->record_piece(3, 7);
    {
        // As version 1 made it: names were found at the commit, so none were reserved.
        Result<Database> database = Database::open(scratch_ / "journal.sqlite");
        ASSERT_TRUE(database);
        ASSERT_TRUE(database->execute("DROP TABLE reservation"));
        ASSERT_TRUE(database->execute("PRAGMA user_version=1"));
    }
    {
        const auto journal = open();
        EXPECT_EQ(set_aside_, "");
        EXPECT_EQ(*journal->pieces(3), std::vector<std::uint64_t>{7});
        EXPECT_FALSE(journal->is_new());
        ASSERT_TRUE(journal->wait_for(journal->record_reservation(3, "lab/three (2)")));
        EXPECT_EQ(*journal->reservation(3), "lab/three (2)");
    }
    {
        Result<Database> database = Database::open(scratch_ / "journal.sqlite");
        ASSERT_TRUE(database);
        ASSERT_TRUE(database->execute("PRAGMA user_version=99"));
    }
    const auto journal = open();
    EXPECT_NE(set_aside_.find("later version"), std::string::npos) << set_aside_;
    EXPECT_TRUE(journal->is_new());
    EXPECT_TRUE(journal->pieces(3)->empty());
}

TEST_F(JournalTest, KeepsReservationsUntilTheBlobHasEndedAndIntentsAfterwards) {
    {
        const auto journal = open();
        journal->record_reservation(1, "lab/a (2)");
        journal->record_reservation(1, "lab/a (3)");
        journal->record_reservation(2, "lab/b (2)");
        ASSERT_TRUE(journal->record_intent(2, "lab/b (2)", false));
        journal->record_blob(record(2));
    }
    {
        const auto journal = open();
        EXPECT_EQ(*journal->reservation(1), "lab/a (3)") << "the last one holds";
        EXPECT_FALSE(*journal->reservation(3));
    }
    // The blob is gone after a power cut; its name is known from its intent.
    JournalBinding rebooted = kBinding;
    rebooted.boot_id = "boot-2";
    const auto journal = open(rebooted);
    EXPECT_FALSE(*journal->blob(2));
    EXPECT_EQ(*journal->reservation(2), "lab/b (2)");
    EXPECT_EQ(*journal->reservation(1), "lab/a (3)");
}

TEST_F(JournalTest, CountsAfterARebootOnlyWhatTheStoreHadSynced) {
    {
        const auto journal = open();
        journal->record_piece(1, 0);
        journal->record_blob(record(2));
        const std::uint64_t mark = journal->mark();
        journal->record_piece(1, 1);
        journal->record_blob(record(3));
        journal->mark_synced(mark);
        ASSERT_TRUE(journal->record_intent(3, "lab/three", false));
    }
    {
        const auto same_boot = open();
        EXPECT_EQ(same_boot->pieces(1)->size(), 2U);
        EXPECT_TRUE(*same_boot->blob(3));
    }
    JournalBinding rebooted = kBinding;
    rebooted.boot_id = "boot-2";
    const auto journal = open(rebooted);
    EXPECT_EQ(*journal->pieces(1), std::vector<std::uint64_t>{0});
    EXPECT_TRUE(*journal->blob(2));
    EXPECT_FALSE(*journal->blob(3));
    EXPECT_TRUE(*journal->intent(3)) << "the intent tells whether the blob survived";
}

TEST_F(JournalTest, TrustsOnlyWhatWasSyncedAfterTheStoreLostSomething) {
    {
        const auto journal = open();
        journal->record_piece(1, 0);
        journal->mark_synced(journal->mark());
        journal->record_piece(1, 1);
        journal->distrust();
    }
    EXPECT_EQ(*open()->pieces(1), std::vector<std::uint64_t>{0});
    EXPECT_EQ(*open()->pieces(1), std::vector<std::uint64_t>{0});
}

TEST_F(JournalTest, SurvivesAKillWithEverythingThatWasFlushed) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        const auto journal = open();
        for (std::uint64_t piece = 0; piece < 500; ++piece)
            journal->record_piece(7, piece);
        (void)journal->flush();
        journal->record_piece(7, 500);
        (void)kill(getpid(), SIGKILL);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    EXPECT_GE(open()->pieces(7)->size(), 500U);
}

TEST_F(JournalTest, ListsTheUploadsOfJournalsThatWereSetAside) {
    const JournalBinding other{"OTHER", "volume", "store", "boot-1"};
    std::vector<std::string> ids;
    for (int round = 0; round < 3; ++round) {
        const auto journal = open(round % 2 == 0 ? kBinding : other);
        ids.push_back(journal->id() + "-7");
        journal->record_begin(7, "lab/seven", false);
    }
    const auto names = [](const std::vector<Upload>& uploads) {
        std::vector<std::string> found;
        for (const Upload& upload : uploads)
            found.push_back(upload.id);
        std::ranges::sort(found);
        return found;
    };
    std::ranges::sort(ids);
    EXPECT_EQ(names(*open()->uploads(false)), ids);
    EXPECT_TRUE(Journal::uploads_in(scratch_.path().string(), "another store").empty());
    // A kill between the setting aside and the making of the next one.
    for (const char* suffix : {"", "-wal", "-shm"}) {
        const std::string file = (scratch_ / "journal.sqlite") + suffix;
        if (std::filesystem::exists(file))
            std::filesystem::rename(file, (scratch_ / "journal.sqlite.old") + suffix);
    }
    EXPECT_EQ(names(Journal::uploads_in(scratch_.path().string(), "store")), ids);
    EXPECT_EQ(names(*open(other)->uploads(false)), ids);
    // In another store there is nothing of them.
    EXPECT_TRUE(open({"HASH", "volume", "other", "boot-1"})->uploads(false)->empty());
}

TEST_F(JournalTest, OpensOrIsSetAsideAfterTruncationAtAnyByte) {
    // As a power cut leaves it: the file, and beside it the log that the file does not have yet.
    const std::string file = scratch_ / "journal.sqlite";
    const std::string log = file + "-wal";
    const test::ScratchDirectory kept;
    const std::string whole = kept / "journal";
    const std::string whole_log = kept / "log";
    {
        const auto journal = open();
        for (std::uint64_t piece = 0; piece < 2000; ++piece)
            journal->record_piece(piece % 7, piece);
        ASSERT_TRUE(journal->flush());
        std::filesystem::copy_file(log, whole_log);
    }
    std::filesystem::copy_file(file, whole);
    const unsigned seed = std::random_device{}();
    std::mt19937 random(seed);
    int gone_on = 0;
    int set_aside = 0;
    const auto look = [&](const std::string& cut, std::uintmax_t length) {
        std::filesystem::resize_file(cut, length);
        const Result<Journal::Opened> opened = Journal::open(scratch_.path().string(), kBinding, clock_);
        ASSERT_TRUE(opened) << "seed " << seed << ", " << length << ": " << opened.error().text();
        ++(opened->set_aside.empty() ? gone_on : set_aside);
        const auto pieces = opened->journal->pieces(3);
        ASSERT_TRUE(pieces) << "seed " << seed << ", " << length << ": damage shows at the opening";
        for (const std::uint64_t piece : *pieces)
            EXPECT_EQ(piece % 7, 3U) << "seed " << seed << ", " << length;
        opened->journal->record_piece(3, 3);
        EXPECT_TRUE(opened->journal->flush()) << "seed " << seed << ", " << length;
    };
    const auto place = [&](bool with_log) {
        for (const auto& entry : std::filesystem::directory_iterator(scratch_.path()))
            std::filesystem::remove(entry.path());
        std::filesystem::copy_file(whole, file);
        if (with_log)
            std::filesystem::copy_file(whole_log, log);
    };
    // Pages and headers are where it matters; and places at random.
    std::vector<std::uintmax_t> lengths{0, 1, 15, 16, 99, 100, 101, 4095, 4096, 4097, 8192};
    const auto size = std::filesystem::file_size(whole);
    for (int round = 0; round < 60; ++round)
        lengths.push_back(random() % (size + 1));
    for (const std::uintmax_t length : lengths) {
        place(false);
        look(file, std::min(length, size));
    }
    const auto log_size = std::filesystem::file_size(whole_log);
    lengths = {0, 1, 31, 32, 33, 55, 56, 57, 4152};
    for (int round = 0; round < 60; ++round)
        lengths.push_back(random() % (log_size + 1));
    for (const std::uintmax_t length : lengths) {
        place(true);
        look(log, std::min(length, log_size));
    }
    EXPECT_GT(gone_on, 0);
    EXPECT_GT(set_aside, 0);
}

TEST_F(JournalTest, SaysWhenItsDiskIsFull) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        (void)signal(SIGXFSZ, SIG_IGN);
        const auto journal = open();
        const rlimit small{64 * 1024, 64 * 1024};
        (void)setrlimit(RLIMIT_FSIZE, &small);
        for (std::uint64_t piece = 0; piece < 100'000; ++piece)
            journal->record_piece(1, piece);
        _exit(!journal->flush() && journal->failure() ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace dray::transfer
