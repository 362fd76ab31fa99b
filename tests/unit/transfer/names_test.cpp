// SPDX-License-Identifier: Apache-2.0
//
// Names that blobs get: reserved in document order and journaled before the first byte, whoever else is at work
// in the store, and the same again after a crash.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <thread>

#include "daemon/database/database.hpp"
#include "drivers/store/store_list.hpp"
#include "tests/unit/transfer/copy_fixture.hpp"

namespace dray::test {
namespace {

using format::BlobOutcome;
using format::Disposition;
using format::DispositionOutcome;
using format::PieceOutcome;

class NamesTest : public CopyTest {
protected:
    /// A blob of that name, by somebody else.
    void put_by_another(const std::string& name, const Content& content) {
        store::CreateOptions options;
        options.length = content.size();
        options.upload_id = "another-" + std::to_string(++others_);
        store::Piece piece;
        piece.length = content.size();
        piece.md5 = md5(content);
        piece.content = content;
        const Result<void> made = store_->ensure_container("lab");
        ASSERT_TRUE(made) << made.error().text();
        const Result<void> put = store_->put_whole({"lab", name}, options, piece, {}, {}, {});
        ASSERT_TRUE(put) << name << ": " << put.error().text();
    }
    /// A blob `path` whose content is the file `file`.
    format::ManifestBlob& add_as(const std::string& path, const std::string& file, Content content,
                                 Disposition disposition, Bytes piece = 4 * kMiB) {
        format::ManifestBlob& blob = add(file, std::move(content), piece);
        blob.blob_path = "lab/" + path;
        blob.disposition = disposition;
        return blob;
    }
    std::optional<transfer::BlobRecord> record(std::uint64_t index) { return *journal()->blob(index); }
    std::string name_of(std::uint64_t index) {
        const auto known = record(index);
        if (!known || known->outcome != BlobOutcome::Completed)
            return "none";
        return known->name.empty() ? manifest_[index].blob_path : known->name;
    }
    void forget() {
        std::filesystem::remove_all(scratch_ / "state");
        std::filesystem::create_directory(scratch_ / "state");
        manifest_.clear();
        files_.clear();
    }

private:
    std::atomic<int> others_ = 0;
};

/// A second drive that is copied into the same store.
class OtherDrive : public CopyTest {
public:
    explicit OtherDrive(const std::string& vault) {
        StoreConfig config;
        config.name = "vault";
        config.type = "directory";
        config.path = vault;
        auto store = store::open_store(config);
        EXPECT_TRUE(store) << store.error().text();
        store_ = std::make_unique<FaultyStore>(*std::move(store), faults_);
    }
    void TestBody() override {}
    using CopyTest::add;
    using CopyTest::copy;
    using CopyTest::files_;
};

TEST_F(NamesTest, AreFoundInDocumentOrder) {
    put_by_another("a.txt", random(10));
    add_as("a.txt", "one", random(3 * kMiB), Disposition::Rename, kMiB);
    add_as("a (2).txt", "two", random(20), Disposition::Rename);
    ASSERT_TRUE(copy().end);
    EXPECT_EQ(name_of(0), "lab/a (2).txt");
    EXPECT_EQ(name_of(1), "lab/a (2) (2).txt");
    EXPECT_EQ(blobs()["lab/a (2).txt"], files_["one"]);
    EXPECT_EQ(blobs()["lab/a (2) (2).txt"], files_["two"]);

    forget();
    put_by_another("b.txt", random(10));
    add_as("b (2).txt", "two", random(3 * kMiB), Disposition::Rename, kMiB);
    add_as("b.txt", "one", random(20), Disposition::Rename);
    add_as("b (3).txt", "three", random(20), Disposition::NoOverwrite);
    ASSERT_TRUE(copy().end);
    EXPECT_EQ(name_of(0), "lab/b (2).txt");
    EXPECT_EQ(name_of(1), "lab/b (3).txt");
    EXPECT_EQ(record(2)->disposition, DispositionOutcome::Skipped) << "it comes after the one that was renamed";
    EXPECT_EQ(blobs()["lab/b (3).txt"], files_["one"]);
}

TEST_F(NamesTest, AreInTheJournalBeforeTheFirstByteIsPut) {
    put_by_another("large", random(10));
    put_by_another("small", random(10));
    add_as("large", "large", random(5 * kMiB), Disposition::Rename, kMiB);
    add_as("small", "small", random(5), Disposition::Rename);
    std::atomic<int> looks = 0;
    faults_.before = [&](const std::string& operation, const std::string& blob, Bytes) -> Result<void> {
        if (operation != "put" && operation != "put-whole")
            return {};
        // As a process would find it that is started after a kill at this very moment.
        DRAY_LET(Database database, Database::open(scratch_ / "state/journal.sqlite"));
        DRAY_LET(Statement find, database.prepare("SELECT count(*) FROM reservation WHERE name=?1"));
        DRAY_LET([[maybe_unused]] const bool is_row, find.bind(blob).step());
        EXPECT_EQ(find.number(0), 1) << blob;
        ++looks;
        return {};
    };
    ASSERT_TRUE(copy().end);
    EXPECT_EQ(looks, 6);
    EXPECT_EQ(name_of(0), "lab/large (2)");
    EXPECT_EQ(name_of(1), "lab/small (2)");
}

TEST_F(NamesTest, StayTheReservedOnesAfterACrashBetweenReservationAndCommit) {
    put_by_another("a.bin", random(10));
    add_as("a.bin", "file", random(20 * kMiB), Disposition::Rename, kMiB);
    ASSERT_FALSE(copy([](FakeDrive& drive, transfer::Control&) { drive.die_after(12); }).end);
    ASSERT_TRUE(has_uncommitted());
    EXPECT_EQ(**journal()->reservation(0), "lab/a (2).bin");
    // The first name is free again; the blob keeps the one it has.
    ASSERT_TRUE(store_->remove({"lab", "a.bin"}));
    ASSERT_TRUE(copy().end);
    EXPECT_EQ(name_of(0), "lab/a (2).bin");
    EXPECT_EQ(blobs(), (std::map<std::string, Content>{{"lab/a (2).bin", files_["file"]}}));
    unsigned twice = 0;
    for (const auto& [piece, count] : faults_.puts)
        twice += count - 1;
    EXPECT_LE(twice, 2 * requests_);
}

TEST_F(NamesTest, AreFoundAnewWhenSomebodyTookTheReservedOneInTheMeantime) {
    for (const std::size_t size : {std::size_t{1000}, std::size_t{5} * kMiB}) {
        for (const bool has_crashed : {true, false}) {
            const std::string name = "f" + std::to_string(size) + (has_crashed ? "c" : "d");
            const Content other = random(77);
            const Content third = random(78);
            put_by_another(name, other);
            add_as(name, name, random(size), Disposition::Rename, kMiB);
            std::atomic<bool> is_done = false;
            faults_.before = [&](const std::string& operation, const std::string&, Bytes) -> Result<void> {
                if ((operation != "finish" && operation != "put-whole") || is_done.exchange(true))
                    return {};
                put_by_another(name + " (2)", third);
                return has_crashed ? fail(ErrorKind::Unreachable, "the connection is gone") : Result<void>();
            };
            if (has_crashed) {
                ASSERT_FALSE(copy().end);
            }
            ASSERT_TRUE(copy().end);
            EXPECT_EQ(name_of(0), "lab/" + name + " (3)");
            EXPECT_EQ(record(0)->disposition, DispositionOutcome::Renamed);
            EXPECT_EQ(blobs()["lab/" + name], other);
            EXPECT_EQ(blobs()["lab/" + name + " (2)"], third);
            EXPECT_EQ(blobs()["lab/" + name + " (3)"], files_[name]);
            EXPECT_FALSE(has_uncommitted());
            faults_.before = Faults().before;
            forget();
        }
    }
}

TEST_F(NamesTest, ARenamedBlobWhoseCommitGotNoAnswerIsKnownAgain) {
    const Content other = random(10);
    for (const std::size_t size : {std::size_t{1000}, std::size_t{3} * kMiB}) {
        const std::string name = "g" + std::to_string(size);
        put_by_another(name, other);
        add_as(name, name, random(size), Disposition::Rename, kMiB);
        faults_.after = [](const std::string& operation, const std::string&, Bytes) -> Result<void> {
            return operation == "finish" || operation == "put-whole" ? fail(ErrorKind::Unreachable, "no answer")
                                                                      : Result<void>();
        };
        ASSERT_FALSE(copy().end);
        faults_.after = [](const std::string&, const std::string&, Bytes) { return Result<void>(); };
        ASSERT_TRUE(copy().end);
        EXPECT_EQ(name_of(0), "lab/" + name + " (2)");
        EXPECT_EQ(blobs()["lab/" + name + " (2)"], files_[name]);
        EXPECT_FALSE(blobs().contains("lab/" + name + " (3)"));
        forget();
    }
}

TEST_F(NamesTest, EqualBlobPathsRunOneAfterTheOtherWithEachDisposition) {
    // The first is the largest, so that the others could overtake it.
    const std::vector<std::size_t> sizes = {9 * kMiB, 100, 3 * kMiB, 0, 7};
    for (const Disposition disposition : {Disposition::NoOverwrite, Disposition::Overwrite, Disposition::Rename}) {
        const std::string path(to_string(disposition));
        std::vector<Content> contents;
        for (std::size_t i = 0; i < sizes.size(); ++i) {
            contents.push_back(random(sizes[i]));
            add_as(path, path + std::to_string(i), contents.back(), disposition, kMiB);
        }
        ASSERT_TRUE(copy().end);
        std::vector<DispositionOutcome> outcomes;
        for (std::size_t i = 0; i < sizes.size(); ++i)
            outcomes.push_back(record(i)->disposition);
        const auto rest = [&](DispositionOutcome outcome) {
            std::vector<DispositionOutcome> wanted(sizes.size(), outcome);
            wanted.front() = DispositionOutcome::Created;
            return wanted;
        };
        auto found = blobs();
        switch (disposition) {
        case Disposition::NoOverwrite:
            EXPECT_EQ(outcomes, rest(DispositionOutcome::Skipped));
            EXPECT_EQ(found["lab/" + path], contents.front());
            break;
        case Disposition::Overwrite:
            EXPECT_EQ(outcomes, rest(DispositionOutcome::Overwritten));
            EXPECT_EQ(found["lab/" + path], contents.back());
            break;
        case Disposition::Rename:
            EXPECT_EQ(outcomes, rest(DispositionOutcome::Renamed));
            EXPECT_EQ(found.size(), sizes.size() + 2);
            EXPECT_EQ(found["lab/" + path], contents.front());
            for (std::size_t i = 1; i < sizes.size(); ++i)
                EXPECT_EQ(found[fmt::format("lab/{} ({})", path, i + 1)], contents[i]) << i;
            break;
        }
        EXPECT_FALSE(has_uncommitted());
        forget();
    }
}

TEST_F(NamesTest, TwoDrivesThatRaceForTheSameNamesLoseAndMixNothing) {
    OtherDrive other(scratch_ / "vault");
    constexpr int kBlobs = 120;
    for (int i = 0; i < kBlobs; ++i) {
        const std::size_t size = i % 10 == 0 ? 2 * kMiB + 100 : 1000;
        add("f" + std::to_string(i), random(size), kMiB).disposition = Disposition::Rename;
        other.add("f" + std::to_string(i), random(size), kMiB).disposition = Disposition::Rename;
    }
    {
        const std::jthread rival([&] {
            const Copied copied = other.copy();
            EXPECT_TRUE(copied.end) << copied.end.error().text();
        });
        const Copied copied = copy();
        EXPECT_TRUE(copied.end) << copied.end.error().text();
    }
    auto found = blobs();
    EXPECT_EQ(found.size(), 2U * kBlobs) << "no third number for two drives";
    for (int i = 0; i < kBlobs; ++i) {
        const std::string name = "f" + std::to_string(i);
        const std::set<Content> wanted = {files_[name], other.files_[name]};
        EXPECT_EQ((std::set<Content>{found["lab/" + name], found["lab/" + name + " (2)"]}), wanted) << name;
    }
}

TEST_F(NamesTest, ABlobThatADrainLeftWithoutANameMakesNoCopyThatIsDone) {
    const Content other = random(7);
    for (const std::size_t size : {std::size_t{1000}, std::size_t{3} * kMiB}) {
        add_as("late", "file", random(size), Disposition::Rename, kMiB);
        transfer::Control* control = nullptr;
        std::atomic<bool> is_done = false;
        faults_.before = [&](const std::string& operation, const std::string&, Bytes) -> Result<void> {
            if ((operation != "finish" && operation != "put-whole") || is_done.exchange(true))
                return {};
            put_by_another("late", other);
            control->drain(DrainMode::Piece);
            return {};
        };
        const Copied copied = copy([&](FakeDrive&, transfer::Control& made) { control = &made; });
        ASSERT_TRUE(copied.end) << copied.end.error().text();
        EXPECT_EQ(*copied.end, transfer::CopyEnd::Drained);
        EXPECT_FALSE(record(0));
        EXPECT_EQ(blobs(), (std::map<std::string, Content>{{"lab/late", other}}));
        EXPECT_FALSE(has_uncommitted());
        faults_.before = Faults().before;
        ASSERT_TRUE(store_->remove({"lab", "late"}));
        forget();
    }
}

TEST_F(NamesTest, RenameFailedWhenEveryNameUpTo9999IsTaken) {
    add("full.txt", random(100)).disposition = Disposition::Rename;
    add("large.bin", random(3 * kMiB), kMiB).disposition = Disposition::Rename;
    ASSERT_TRUE(store_->ensure_container("lab"));
    // Files put by hand are blobs.
    const std::filesystem::path lab = scratch_.path() / "vault/lab";
    for (const char* stem : {"full", "large"}) {
        const std::string end = stem == std::string("full") ? ".txt" : ".bin";
        std::ofstream(lab / (stem + end));
        for (int n = 2; n <= 9999; ++n)
            std::ofstream(lab / fmt::format("{} ({}){}", stem, n, end));
    }
    Copied copied = copy();
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    for (const char* name : {"lab/full.txt", "lab/large.bin"}) {
        EXPECT_EQ(copied.records.at(name)->outcome, BlobOutcome::RenameFailed) << name;
        EXPECT_EQ(copied.records.at(name)->disposition, DispositionOutcome::Cancelled) << name;
        EXPECT_TRUE(copied.records.at(name)->pieces.empty()) << "the log says Cancelled of each";
    }
    EXPECT_TRUE(faults_.puts.empty()) << "nothing is sent for a blob that finds no name";
    // The last number is a name like any other.
    const auto files = files_;
    forget();
    std::filesystem::remove(lab / "full (9999).txt");
    add("full.txt", files.at("full.txt")).disposition = Disposition::Rename;
    ASSERT_TRUE(copy().end);
    EXPECT_EQ(name_of(0), "lab/full (9999).txt");
}

TEST_F(NamesTest, RenameFailedWhenTheNextNameWouldHaveOver1024Characters) {
    for (const std::size_t length : {std::size_t{1020}, std::size_t{1021}}) {
        const std::string name(length, 'n');
        put_by_another(name, random(10));
        add_as(name, "file", random(30), Disposition::Rename);
        ASSERT_TRUE(copy().end);
        const auto known = record(0);
        ASSERT_TRUE(known);
        if (length == 1020) {
            EXPECT_EQ(known->disposition, DispositionOutcome::Renamed);
            EXPECT_EQ(known->name, "lab/" + name + " (2)");
            EXPECT_EQ(blobs()["lab/" + name + " (2)"], files_["file"]);
        } else {
            EXPECT_EQ(known->outcome, BlobOutcome::RenameFailed);
        }
        forget();
    }
}

}  // namespace
}  // namespace dray::test
