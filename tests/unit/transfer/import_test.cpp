// SPDX-License-Identifier: Apache-2.0
//
// The copy itself, over a drive in memory and a store that fails on command: what is published is right,
// whatever happens on the way, and what was put is not put again.
#include "daemon/transfer/import.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "daemon/database/database.hpp"
#include "tests/unit/transfer/copy_fixture.hpp"

namespace dray::test {
namespace {

using format::BlobOutcome;
using format::DispositionOutcome;
using format::PieceOutcome;
using transfer::CopyEnd;

using ImportTest = CopyTest;

TEST_F(ImportTest, BringsEveryLengthWhole) {
    for (const std::size_t size : {0UL, 1UL, 4095UL, 4096UL, 4097UL, 100'000UL})
        add("small" + std::to_string(size), random(size));
    add("pieces", random(10 * kMiB + 7), kMiB);
    for (int i = 0; i < 300; ++i)
        add("many/f" + std::to_string(i), random(static_cast<std::size_t>(i * 37)));
    copy_all();
}

TEST_F(ImportTest, BringsPiecesThatComeInSeveralParts) {
    add("one-piece", random(20 * kMiB + 1), 100 * kMiB);
    add("just-one-part", random(drive::kMaxRead), 100 * kMiB);
    add("one-byte-more", random(drive::kMaxRead + 1), 100 * kMiB);
    add("two-pieces", random(30 * kMiB), 18 * kMiB);
    copy_all();
}

TEST_F(ImportTest, PublishesNothingOfABlobWithAWrongByteAndEverythingElse) {
    add("good", random(5 * kMiB), kMiB);
    add("bad", random(5 * kMiB), kMiB);
    add("small-bad", random(1000));
    add("large-bad", random(17 * kMiB), 100 * kMiB);
    const Copied copied = copy([](FakeDrive& drive, transfer::Control&) {
        drive.change("bad", 3 * kMiB + 5);
        drive.change("small-bad", 999);
        drive.change("large-bad", 17 * kMiB - 1);
    });
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    EXPECT_EQ(blobs().size(), 1U);
    EXPECT_TRUE(blobs().contains("lab/good"));
    EXPECT_FALSE(has_uncommitted());
    const auto bad = copied.records.at("lab/bad");
    ASSERT_TRUE(bad);
    EXPECT_EQ(bad->outcome, BlobOutcome::CompletedWithErrors);
    EXPECT_EQ(bad->pieces, (std::vector{PieceOutcome::Uncommitted, PieceOutcome::Uncommitted,
                                        PieceOutcome::Uncommitted, PieceOutcome::Corrupted,
                                        PieceOutcome::Uncommitted}));
    EXPECT_EQ(copied.records.at("lab/small-bad")->pieces, std::vector{PieceOutcome::Corrupted});
    EXPECT_EQ(copied.records.at("lab/large-bad")->pieces, std::vector{PieceOutcome::Corrupted});
    EXPECT_EQ(copied.counters.blobs_failed, 3U);
    EXPECT_EQ(copied.counters.bytes_done, copied.counters.bytes_total == 0 ? 27 * kMiB + 1000 : 0);
    EXPECT_EQ(copied.counters.bytes_succeeded, 5 * kMiB);
}

TEST_F(ImportTest, TellsMissingShortAndUnreadableFilesApart) {
    add("missing", random(100));
    add("short", random(3 * kMiB), kMiB);
    add("unreadable", random(3 * kMiB), kMiB);
    add("unreadable-part", random(20 * kMiB), 100 * kMiB);
    add("good", random(100));
    files_.erase("missing");
    files_["short"].resize(2 * kMiB + 10);
    const Copied copied = copy([](FakeDrive& drive, transfer::Control&) {
        drive.fail_at("unreadable", kMiB, ErrorKind::Internal);
        drive.fail_at("unreadable-part", 5, ErrorKind::Internal);
    });
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    EXPECT_EQ(copied.records.at("lab/missing")->outcome, BlobOutcome::FileNotFound);
    EXPECT_EQ(copied.records.at("lab/short")->pieces.back(), PieceOutcome::FileUnexpectedEnd);
    EXPECT_EQ(copied.records.at("lab/unreadable")->pieces[1], PieceOutcome::IOFailed);
    EXPECT_EQ(copied.records.at("lab/unreadable")->outcome, BlobOutcome::CompletedWithErrors);
    EXPECT_EQ(copied.records.at("lab/unreadable-part")->outcome, BlobOutcome::IOFailed);
    EXPECT_EQ(blobs().size(), 1U);
    EXPECT_FALSE(has_uncommitted());
}

TEST_F(ImportTest, ImportsAPageBlobWithAHoleWhereAPieceIsBad) {
    format::ManifestBlob& blob = add("disk", random(4096), 1024);
    blob.is_page_blob = true;
    for (format::ManifestPiece& piece : blob.pieces)
        piece.id.clear();
    blob.pieces.erase(blob.pieces.begin() + 1);
    const Copied copied = copy([](FakeDrive& drive, transfer::Control&) { drive.change("disk", 2048); });
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    Content content = files_["disk"];
    std::fill(content.begin() + 1024, content.begin() + 3072, std::byte{0});
    EXPECT_EQ(blobs()["lab/disk"], content);
    EXPECT_EQ(copied.records.at("lab/disk")->pieces,
              (std::vector{PieceOutcome::Completed, PieceOutcome::Corrupted, PieceOutcome::Completed}));
}

TEST_F(ImportTest, KeepsDispositionsInDocumentOrder) {
    add("a.txt", random(10));
    add("b.txt", random(2 * kMiB), kMiB);
    ASSERT_TRUE(copy().end);
    manifest_.clear();
    const auto old = files_;
    std::filesystem::remove_all(scratch_ / "state");
    std::filesystem::create_directory(scratch_ / "state");
    add("a.txt", random(20)).disposition = format::Disposition::Rename;
    add("b.txt", random(3 * kMiB), kMiB).disposition = format::Disposition::Rename;
    const auto renamed = files_;
    Copied copied = copy();
    ASSERT_TRUE(copied.end);
    EXPECT_EQ(copied.records.at("lab/a.txt")->disposition, DispositionOutcome::Renamed);
    EXPECT_EQ(copied.records.at("lab/b.txt")->name, "lab/b (2).txt");
    EXPECT_EQ(blobs(), (std::map<std::string, Content>{{"lab/a.txt", old.at("a.txt")},
                                                       {"lab/b.txt", old.at("b.txt")},
                                                       {"lab/a (2).txt", renamed.at("a.txt")},
                                                       {"lab/b (2).txt", renamed.at("b.txt")}}));
    for (const auto& [disposition, outcome] :
         {std::pair(format::Disposition::NoOverwrite, DispositionOutcome::Skipped),
          std::pair(format::Disposition::Overwrite, DispositionOutcome::Overwritten)}) {
        manifest_.clear();
        std::filesystem::remove_all(scratch_ / "state");
        std::filesystem::create_directory(scratch_ / "state");
        add("a.txt", random(30)).disposition = disposition;
        add("b.txt", random(3 * kMiB), kMiB).disposition = disposition;
        copied = copy();
        ASSERT_TRUE(copied.end);
        EXPECT_EQ(copied.records.at("lab/a.txt")->disposition, outcome);
        EXPECT_EQ(copied.records.at("lab/b.txt")->disposition, outcome);
        const bool is_there = outcome == DispositionOutcome::Overwritten;
        EXPECT_EQ(blobs()["lab/a.txt"] == files_["a.txt"], is_there);
        EXPECT_EQ(blobs()["lab/b.txt"] == files_["b.txt"], is_there);
    }
}

TEST_F(ImportTest, CarriesSideFilesAlongAndSaysWhatIsWrongWithThem) {
    const auto text = [](std::string_view xml) {
        const auto bytes = std::as_bytes(std::span(xml));
        return Content(bytes.begin(), bytes.end());
    };
    const Content metadata = text("<Metadata><site>dc7</site></Metadata>");
    const Content properties = text("<Properties><Content-Type>text/plain</Content-Type></Properties>");
    format::ManifestBlob& good = add("good", random(3 * kMiB), kMiB);
    good.metadata = format::SideFile{"\\meta.xml", md5(metadata), false};
    good.properties = format::SideFile{"\\props.xml", md5(properties), false};
    add("wrong-hash", random(10)).metadata = format::SideFile{"\\meta.xml", md5(properties), false};
    add("missing", random(10)).properties = format::SideFile{"\\nowhere.xml", md5(properties), false};
    const auto content = files_;
    files_["meta.xml"] = metadata;
    files_["props.xml"] = properties;
    const Copied copied = copy();
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    EXPECT_EQ(blobs().size(), content.size());
    const auto status = store_->stat({"lab", "good"});
    ASSERT_TRUE(status);
    EXPECT_EQ(status->metadata, (store::BlobMetadata{{"site", "dc7"}}));
    EXPECT_EQ(status->properties.content_type, "text/plain");
    EXPECT_EQ(copied.records.at("lab/good")->outcome, BlobOutcome::Completed);
    EXPECT_EQ(copied.records.at("lab/wrong-hash")->outcome, BlobOutcome::CompletedWithErrors);
    EXPECT_EQ(copied.records.at("lab/wrong-hash")->metadata, format::SideFileOutcome::Corrupted);
    EXPECT_EQ(copied.records.at("lab/missing")->properties, format::SideFileOutcome::FileNotFound);
}

TEST_F(ImportTest, GoesOnAtTheNextPieceAfterACrashOfTheDrive) {
    add("large", random(40 * kMiB), kMiB);
    add("parts", random(40 * kMiB), 20 * kMiB);
    for (int i = 0; i < 20; ++i)
        add("small" + std::to_string(i), random(5000));
    const Copied first = copy([](FakeDrive& drive, transfer::Control&) { drive.die_after(30); });
    ASSERT_FALSE(first.end);
    EXPECT_EQ(first.end.error().kind(), ErrorKind::Internal);
    copy_all();
    unsigned twice = 0;
    for (const auto& [piece, count] : faults_.puts)
        twice += count - 1;
    EXPECT_LE(twice, 2 * requests_) << "at most the pieces in flight are put twice";
}

TEST_F(ImportTest, LosesNothingWhenTheDeviceGoesAndComesBack) {
    add("large", random(20 * kMiB), kMiB);
    const Copied first = copy([](FakeDrive& drive, transfer::Control&) {
        drive.fail_at("large", 10 * kMiB, ErrorKind::Gone);
    });
    ASSERT_FALSE(first.end);
    EXPECT_EQ(first.end.error().kind(), ErrorKind::Gone);
    EXPECT_FALSE(first.records.at("lab/large")) << "nothing is journaled as failed";
    copy_all();
}

TEST_F(ImportTest, StopsForAStoreThatTheSiteCanMendAndGoesOnAfterwards) {
    for (const ErrorKind kind : {ErrorKind::NoSpace, ErrorKind::Denied, ErrorKind::Unreachable}) {
        add("a" + std::to_string(static_cast<int>(kind)), random(10 * kMiB), kMiB);
        add("b" + std::to_string(static_cast<int>(kind)), random(1000));
        faults_.before = [kind](const std::string& operation, const std::string& blob, Bytes offset) -> Result<void> {
            const bool is_asked = operation == "put" && blob.starts_with("lab/a") && offset == 5 * kMiB;
            if (is_asked || (operation == "check" && kind == ErrorKind::Denied))
                return fail(kind, "the store says no");
            return {};
        };
        const Copied first = copy();
        faults_.before = [](const std::string&, const std::string&, Bytes) { return Result<void>(); };
        ASSERT_FALSE(first.end);
        EXPECT_EQ(first.end.error().kind(), kind);
        copy_all();
        std::filesystem::remove_all(scratch_ / "state");
        std::filesystem::create_directory(scratch_ / "state");
        manifest_.clear();
        for (const auto& [name, content] : files_)
            add(name, content, kMiB).disposition = format::Disposition::Overwrite;
    }
}

// Also where it is found in the middle of a blob whose pieces are still being asked for.
TEST_F(ImportTest, EndsWhenTheJournalCannotBeWrittenAnyMore) {
    add("large", random(60 * kMiB), 64 * kKiB);
    add("small", random(1000));
    std::optional<Database> other;
    faults_.before = [&](const std::string& operation, const std::string&, Bytes) -> Result<void> {
        if (operation != "put" || other)
            return {};
        DRAY_LET(other, Database::open(scratch_ / "state/journal.sqlite"));
        return other->execute("BEGIN IMMEDIATE");
    };
    requests_ = 1;
    FakeDrive drive(files_);
    {
        drive::Client client = drive.connect(ring_);
        transfer::Control control;
        transfer::ProgressCounters progress;
        const transfer::Spool manifest = spool();
        const auto record = journal();
        transfer::Import import({client, *store_, *record, control, progress, clock_, requests_, patience_});
        const Result<CopyEnd> end = import.run(manifest);
        ASSERT_FALSE(end);
        EXPECT_EQ(end.error().kind(), ErrorKind::Busy);
    }
    faults_.before = Faults().before;
    other.reset();
    copy_all();
}

TEST_F(ImportTest, KnowsItsOwnBlobAgainWhenTheAnswerOfTheCommitGotLost) {
    for (const auto disposition :
         {format::Disposition::NoOverwrite, format::Disposition::Rename, format::Disposition::Overwrite}) {
        const std::string tag(to_string(disposition));
        add(tag + "-large", random(3 * kMiB), kMiB).disposition = disposition;
        add(tag + "-small", random(3000)).disposition = disposition;
        std::atomic<int> lost = 0;
        faults_.after = [&](const std::string& operation, const std::string&, Bytes) -> Result<void> {
            if ((operation == "finish" || operation == "put-whole") && lost++ < 2)
                return fail(ErrorKind::Unreachable, "the answer got lost");
            return {};
        };
        const Copied first = copy();
        faults_.after = [](const std::string&, const std::string&, Bytes) { return Result<void>(); };
        ASSERT_FALSE(first.end);
        const Copied second = copy();
        ASSERT_TRUE(second.end) << second.end.error().text();
        EXPECT_EQ(blobs(), expected()) << "nothing is renamed, nothing stands there twice";
        for (const auto& [name, record] : second.records) {
            ASSERT_TRUE(record) << name;
            EXPECT_EQ(record->outcome, BlobOutcome::Completed) << name;
            EXPECT_EQ(record->disposition, DispositionOutcome::Created) << name;
        }
        std::filesystem::remove_all(scratch_ / "state");
        std::filesystem::create_directory(scratch_ / "state");
        manifest_.clear();
        files_.clear();
        for (const auto& [name, content] : blobs())
            ASSERT_TRUE(store_->remove({"lab", name.substr(4)}));
    }
}

TEST_F(ImportTest, DoesNotTakeAnothersBlobOfTheSameLengthForItsOwn) {
    add("a", random(3 * kMiB), kMiB);
    // The intent is recorded and the commit fails, because somebody else was first; then the process dies.
    const Content other = random(3 * kMiB);
    std::atomic<bool> is_done = false;
    faults_.before = [&](const std::string& operation, const std::string&, Bytes) -> Result<void> {
        if (operation != "finish" || is_done.exchange(true))
            return {};
        store::CreateOptions options;
        options.length = other.size();
        options.upload_id = "another";
        store::Piece piece;
        piece.length = other.size();
        piece.md5 = md5(other);
        piece.content = other;
        EXPECT_TRUE(store_->put_whole({"lab", "a"}, options, piece, {}, {}, {}));
        return fail(ErrorKind::Unreachable, "and the connection is gone");
    };
    ASSERT_FALSE(copy().end);
    const Copied copied = copy();
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    EXPECT_EQ(copied.records.at("lab/a")->disposition, DispositionOutcome::Skipped);
    EXPECT_EQ(blobs()["lab/a"], other);
}

TEST_F(ImportTest, DrainsToTheBlobsOrPiecesInHand) {
    for (const DrainMode mode : {DrainMode::Blob, DrainMode::Piece}) {
        for (int i = 0; i < 10; ++i)
            add("f" + std::to_string(i), random(12 * kMiB), kMiB);
        std::atomic<bool> is_asked = false;
        transfer::Control* control = nullptr;
        faults_.before = [&](const std::string& operation, const std::string&, Bytes) -> Result<void> {
            if (operation == "put" && !is_asked.exchange(true))
                control->drain(mode);
            return {};
        };
        const Copied copied = copy([&](FakeDrive&, transfer::Control& made) { control = &made; });
        ASSERT_TRUE(copied.end) << copied.end.error().text();
        EXPECT_EQ(*copied.end, CopyEnd::Drained);
        const auto found = blobs();
        EXPECT_LT(found.size(), 10U);
        if (mode == DrainMode::Blob) {
            EXPECT_FALSE(found.empty()) << "the blobs in hand are brought to their end";
        }
        for (const auto& [name, content] : found)
            EXPECT_EQ(content, expected()[name]);
        EXPECT_FALSE(has_uncommitted());
        faults_.before = [](const std::string&, const std::string&, Bytes) { return Result<void>(); };
        for (const auto& [name, content] : found)
            ASSERT_TRUE(store_->remove({"lab", name.substr(4)}));
        std::filesystem::remove_all(scratch_ / "state");
        std::filesystem::create_directory(scratch_ / "state");
        manifest_.clear();
        files_.clear();
    }
}

TEST_F(ImportTest, StopsAtAPieceAndGoesOnThere) {
    add("large", random(60 * kMiB), kMiB);
    transfer::Control* control = nullptr;
    faults_.before = [&](const std::string& operation, const std::string&, Bytes offset) -> Result<void> {
        if (operation == "put" && offset == 10 * kMiB)
            control->request_stop();
        return {};
    };
    const Copied copied = copy([&](FakeDrive&, transfer::Control& made) { control = &made; });
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    EXPECT_EQ(*copied.end, CopyEnd::Stopped);
    EXPECT_TRUE(blobs().empty());
    faults_.before = [](const std::string&, const std::string&, Bytes) { return Result<void>(); };
    copy_all();
    for (const auto& [piece, count] : faults_.puts)
        EXPECT_EQ(count, 1U) << "what was put before the stop is not put again";
}

TEST_F(ImportTest, TrustsNothingThatAFailingMediumHadNotSynced) {
    add("a", random(3 * kMiB), kMiB);
    faults_.before = [](const std::string& operation, const std::string&, Bytes) -> Result<void> {
        if (operation == "sync")
            return fail(ErrorKind::Internal, "the medium has lost something");
        return {};
    };
    ASSERT_FALSE(copy().end);
    EXPECT_FALSE(*journal()->blob(0));
}

TEST_F(ImportTest, PutsPiecesAgainWhoseUploadIsGone) {
    for (const bool is_page_blob : {false, true}) {
        format::ManifestBlob& blob = add(is_page_blob ? "page" : "block", random(8 * kMiB), kMiB);
        blob.is_page_blob = is_page_blob;
        if (is_page_blob)
            for (format::ManifestPiece& piece : blob.pieces)
                piece.id.clear();
    }
    ASSERT_FALSE(copy([](FakeDrive& drive, transfer::Control&) { drive.die_after(12); }).end);
    ASSERT_TRUE(has_uncommitted());
    for (const auto& upload : std::filesystem::directory_iterator(scratch_.path() / "vault/.dray/uploads"))
        std::filesystem::remove(upload);
    copy_all();
}

TEST_F(ImportTest, EndsWithADriveThatAnswersWhatNobodyAsked) {
    add("a", random(3 * kMiB), kMiB);
    add("b", random(3000));
    const Copied copied = copy([](FakeDrive& drive, transfer::Control&) { drive.answer_opens_twice(); });
    ASSERT_FALSE(copied.end);
    EXPECT_EQ(copied.end.error().kind(), ErrorKind::Internal);
    EXPECT_NE(copied.end.error().text().find("nobody asked"), std::string::npos);
    copy_all();
}

TEST_F(ImportTest, EndsWithADriveThatFallsSilent) {
    add("a", random(30 * kMiB), kMiB);
    patience_ = std::chrono::milliseconds(300);
    const Copied copied = copy([](FakeDrive& drive, transfer::Control&) { drive.fall_silent_after(7); });
    ASSERT_FALSE(copied.end);
    EXPECT_EQ(copied.end.error().kind(), ErrorKind::Internal);
    patience_ = std::chrono::minutes(1);
    copy_all();
}

TEST_F(ImportTest, TakesNoPieceWhosePartsComeInAnotherOrder) {
    add("mixed", random(24 * kMiB), 24 * kMiB);
    const Copied copied = copy([](FakeDrive& drive, transfer::Control&) { drive.answer_backwards(); });
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    EXPECT_EQ(copied.records.at("lab/mixed")->pieces, std::vector{PieceOutcome::Corrupted});
    EXPECT_TRUE(blobs().empty());
}

TEST_F(ImportTest, SurvivesFaultsAtRandom) {
    const unsigned seed = std::random_device{}();
    std::mt19937 source(seed);
    for (int i = 0; i < 30; ++i)
        add("f" + std::to_string(i), random(source() % (3 * kMiB)), 1 + source() % kMiB);
    add("parts", random(25 * kMiB), 11 * kMiB);
    std::mutex mutex;
    bool is_bad = true;
    const auto roll = [&](const std::string& operation, const std::string&, Bytes) -> Result<void> {
        const std::lock_guard lock(mutex);
        if (is_bad && operation != "sync" && operation != "abandon" && operation != "check" && source() % 60 == 0)
            return fail(ErrorKind::Unreachable, "bad luck");
        return {};
    };
    faults_.before = roll;
    faults_.after = roll;
    for (int round = 0; round < 10; ++round)
        if (const Copied copied = copy([&](FakeDrive& drive, transfer::Control&) {
                if (source() % 2 == 0)
                    drive.die_after(static_cast<unsigned>(source() % 100));
            });
            copied.end)
            break;
        else
            for (const auto& [name, content] : blobs())
                ASSERT_EQ(content, expected()[name]) << "seed " << seed;
    is_bad = false;
    const Copied copied = copy();
    ASSERT_TRUE(copied.end) << "seed " << seed << ": " << copied.end.error().text();
    EXPECT_EQ(blobs(), expected()) << "seed " << seed;
    for (const auto& [name, record] : copied.records)
        EXPECT_TRUE(record && record->disposition == DispositionOutcome::Created) << name << " seed " << seed;
    EXPECT_FALSE(has_uncommitted());
}

}  // namespace
}  // namespace dray::test
