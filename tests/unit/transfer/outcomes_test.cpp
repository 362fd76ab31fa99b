// SPDX-License-Identifier: Apache-2.0
//
// The words of azure-import-export.md 4.8 and 6.4 that only a store, or a drive, that misbehaves brings about: in the
// journal, and in the logs that are written from it.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <set>
#include <stdexcept>

#include "daemon/base/file.hpp"
#include "tests/unit/transfer/copy_fixture.hpp"

namespace dray::test {
namespace {

using format::BlobOutcome;
using format::DispositionOutcome;
using format::PieceOutcome;
using format::SideFileOutcome;
using transfer::CopyEnd;

class OutcomesTest : public CopyTest {
protected:
    /// Fails this operation on blobs whose path holds `part`.
    void fail_on(const std::string& operation, const std::string& part, ErrorKind kind) {
        faults_.before = [=](const std::string& done, const std::string& blob, Bytes) -> Result<void> {
            if (done == operation && blob.find(part) != std::string::npos)
                return fail(kind, "the store says no");
            return {};
        };
    }
    /// One blob of three pieces and one of a single one, "bad" in their names; and two good ones.
    void add_four() {
        add("bad-large", random(3 * kMiB), kMiB);
        add("bad-small", random(1000));
        add("good-large", random(3 * kMiB), kMiB);
        add("good-small", random(1000));
    }
    void expect_good_ones(const Copied& copied) {
        ASSERT_TRUE(copied.end) << copied.end.error().text();
        EXPECT_EQ(*copied.end, CopyEnd::Done);
        auto found = blobs();
        for (const char* name : {"good-large", "good-small"}) {
            EXPECT_EQ(found[std::string("lab/") + name], files_[name]) << name;
            EXPECT_EQ(copied.records.at(std::string("lab/") + name)->outcome, BlobOutcome::Completed) << name;
        }
        EXPECT_FALSE(has_uncommitted());
    }
    void start_anew() {
        std::filesystem::remove_all(scratch_ / "state");
        std::filesystem::create_directory(scratch_ / "state");
        faults_.before = [](const std::string&, const std::string&, Bytes) { return Result<void>(); };
        for (const auto& [name, content] : blobs())
            ASSERT_TRUE(store_->remove({"lab", name.substr(4)}));
    }
    /// The logs of what the journal knows.
    std::string log(bool is_verbose) {
        transfer::Task task;
        task.job = "job";
        task.serial = "SER";
        task.diagnostics_path = "logs";
        task.directory = scratch_ / "state";
        task.is_verbose_log = is_verbose;
        const auto record = journal();
        const transfer::Spool manifest = spool();
        const transfer::Reports reports(task, *store_, clock_);
        const auto summary = reports.write_logs(manifest, *record, "");
        EXPECT_TRUE(summary) << summary.error().text();
        status_ = summary->status();
        const auto text = read_file(scratch_ / (is_verbose ? "state/verbose.xml" : "state/error.xml"), kMiB);
        EXPECT_TRUE(text);
        return *text;
    }
    static std::size_t count(const std::string& text, const std::string& part) {
        std::size_t number = 0;
        for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
            ++number;
        return number;
    }

    std::string status_;
};

TEST_F(OutcomesTest, LeasePresentAtWhateverMomentTheStoreSaysSo) {
    add_four();
    for (const char* operation : {"create", "put", "put-whole", "finish"}) {
        SCOPED_TRACE(operation);
        fail_on(operation, "bad", ErrorKind::Conflict);
        const Copied copied = copy();
        expect_good_ones(copied);
        const bool is_of_small = operation == std::string("put-whole");
        const char* hit = is_of_small ? "lab/bad-small" : "lab/bad-large";
        EXPECT_EQ(copied.records.at(hit)->outcome, BlobOutcome::LeasePresent);
        EXPECT_EQ(copied.records.at(hit)->disposition, DispositionOutcome::Cancelled);
        EXPECT_FALSE(blobs().contains(hit));
        const std::string text = log(false);
        EXPECT_NE(text.find("<Blob Status=\"LeasePresent\">"), std::string::npos) << text;
        EXPECT_EQ(count(text, "<Block "), is_of_small ? 1U : 3U);
        EXPECT_EQ(count(text, "<Block "), count(text, "\" Status=\"Cancelled\"/>"));
        EXPECT_EQ(status_, "CompletedWithErrors");
        start_anew();
    }
}

TEST_F(OutcomesTest, BlobRequestForbiddenForOneBlobOfAStoreThatIsFineOtherwise) {
    add_four();
    for (const char* operation : {"create", "put", "put-whole", "finish"}) {
        SCOPED_TRACE(operation);
        fail_on(operation, "bad", ErrorKind::Denied);
        const Copied copied = copy();
        expect_good_ones(copied);
        const char* hit = operation == std::string("put-whole") ? "lab/bad-small" : "lab/bad-large";
        EXPECT_EQ(copied.records.at(hit)->outcome, BlobOutcome::BlobRequestForbidden);
        const std::string text = log(false);
        EXPECT_NE(text.find("<Blob Status=\"BlobRequestForbidden\">"), std::string::npos) << text;
        EXPECT_EQ(count(text, "<Block "), count(text, "\" Status=\"Cancelled\"/>"));
        EXPECT_EQ(status_, "CompletedWithErrors");
        start_anew();
    }
}

TEST_F(OutcomesTest, BlobRequestForbiddenForEveryBlobIsTheDrives) {
    add_four();
    fail_on("container", "lab", ErrorKind::Denied);
    const Copied copied = copy();
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    for (const auto& [name, record] : copied.records)
        EXPECT_EQ(record->outcome, BlobOutcome::BlobRequestForbidden) << name;
    const std::string text = log(true);
    EXPECT_EQ(count(text, "<Blob Status=\"BlobRequestForbidden\">"), 4U) << text;
    EXPECT_EQ(status_, "BlobRequestForbidden");
}

TEST_F(OutcomesTest, AStoreThatRefusesAltogetherIsAFaultAndNoOutcome) {
    add_four();
    faults_.before = [](const std::string& operation, const std::string&, Bytes) -> Result<void> {
        return operation == "put" || operation == "check" ? fail(ErrorKind::Denied, "no") : Result<void>();
    };
    const Copied copied = copy();
    ASSERT_FALSE(copied.end);
    EXPECT_EQ(copied.end.error().kind(), ErrorKind::Denied);
    EXPECT_FALSE(copied.records.at("lab/bad-large"));
    faults_.before = [](const std::string&, const std::string&, Bytes) { return Result<void>(); };
    copy_all();
}

TEST_F(OutcomesTest, BlobRequestFailedWhenTheStoreTakesNoneAndErrorsWhenItTakesSome) {
    add_four();
    fail_on("put", "bad", ErrorKind::Unsupported);
    Copied copied = copy();
    expect_good_ones(copied);
    EXPECT_EQ(copied.records.at("lab/bad-large")->outcome, BlobOutcome::BlobRequestFailed);
    EXPECT_EQ(copied.records.at("lab/bad-large")->pieces, std::vector(3, PieceOutcome::BlobRequestFailed));
    EXPECT_NE(log(false).find("<Blob Status=\"BlobRequestFailed\">"), std::string::npos);
    start_anew();

    fail_on("put-whole", "bad", ErrorKind::InvalidArgument);
    copied = copy();
    expect_good_ones(copied);
    EXPECT_EQ(copied.records.at("lab/bad-small")->outcome, BlobOutcome::BlobRequestFailed);
    EXPECT_EQ(copied.records.at("lab/bad-small")->pieces, std::vector{PieceOutcome::BlobRequestFailed});
    start_anew();

    faults_.before = [](const std::string& operation, const std::string& blob, Bytes offset) -> Result<void> {
        return operation == "put" && blob == "lab/bad-large" && offset == kMiB ? fail(ErrorKind::InvalidArgument, "no")
                                                                               : Result<void>();
    };
    copied = copy();
    expect_good_ones(copied);
    EXPECT_EQ(copied.records.at("lab/bad-large")->outcome, BlobOutcome::CompletedWithErrors);
    EXPECT_EQ(copied.records.at("lab/bad-large")->disposition, DispositionOutcome::Cancelled);
    EXPECT_EQ(copied.records.at("lab/bad-large")->pieces,
              (std::vector{PieceOutcome::Uncommitted, PieceOutcome::BlobRequestFailed, PieceOutcome::Uncommitted}));
    EXPECT_FALSE(blobs().contains("lab/bad-large"));
}

TEST_F(OutcomesTest, AFailingBlockListLeavesGoodBlocksUncommitted) {
    add_four();
    fail_on("finish", "bad", ErrorKind::Unsupported);
    const Copied copied = copy();
    expect_good_ones(copied);
    EXPECT_EQ(copied.records.at("lab/bad-large")->outcome, BlobOutcome::CompletedWithErrors);
    EXPECT_EQ(copied.records.at("lab/bad-large")->disposition, DispositionOutcome::Cancelled);
    EXPECT_EQ(copied.records.at("lab/bad-large")->pieces, std::vector(3, PieceOutcome::Uncommitted));
    EXPECT_EQ(copied.records.at("lab/bad-large")->bytes_succeeded, 0U);
    EXPECT_EQ(count(log(false), "Status=\"Uncommitted\""), 3U);
}

TEST_F(OutcomesTest, FailedForABlobWhoseRequestThrowsAndTheNextOnesGoOn) {
    add_four();
    for (const char* operation : {"create", "put", "put-whole", "finish"}) {
        SCOPED_TRACE(operation);
        // Once: an upload that was begun is thrown away afterwards.
        const auto is_thrown = std::make_shared<std::atomic<bool>>(false);
        faults_.before = [=](const std::string& done, const std::string& blob, Bytes) -> Result<void> {
            if (done == operation && blob.starts_with("lab/bad") && !is_thrown->exchange(true))
                throw std::runtime_error("out of order");
            return {};
        };
        const Copied copied = copy();
        expect_good_ones(copied);
        const char* hit = operation == std::string("put-whole") ? "lab/bad-small" : "lab/bad-large";
        EXPECT_EQ(copied.records.at(hit)->outcome, BlobOutcome::Failed);
        EXPECT_EQ(copied.records.at(hit)->disposition, DispositionOutcome::Cancelled);
        const std::string text = log(false);
        EXPECT_NE(text.find("<Blob Status=\"Failed\">"), std::string::npos) << text;
        if (operation == std::string("put") || operation == std::string("put-whole")) {
            EXPECT_GE(count(text, "\" Status=\"Failed\"/>"), 1U) << "the piece that threw";
        }
        start_anew();
    }
}

TEST_F(OutcomesTest, MetadataThatTheStoreRefusesCostNoContent) {
    const std::string_view xml = "<Metadata><site>dc7</site></Metadata>";
    const auto bytes = std::as_bytes(std::span(xml));
    const Content metadata(bytes.begin(), bytes.end());
    add_four();
    for (format::ManifestBlob& blob : manifest_)
        blob.metadata = format::SideFile{"\\meta.xml", md5(metadata), false};
    files_["meta.xml"] = metadata;
    faults_.refuse_metadata = "lab/bad";
    const Copied copied = copy();
    expect_good_ones(copied);
    EXPECT_EQ(store_->stat({"lab", "good-large"})->metadata, (store::BlobMetadata{{"site", "dc7"}}));
    auto found = blobs();
    for (const char* name : {"bad-large", "bad-small"}) {
        const auto& record = copied.records.at(std::string("lab/") + name);
        EXPECT_EQ(found[std::string("lab/") + name], files_[name]);
        EXPECT_EQ(record->outcome, BlobOutcome::CompletedWithErrors) << name;
        EXPECT_EQ(record->disposition, DispositionOutcome::Created) << name;
        EXPECT_EQ(record->metadata, SideFileOutcome::BlobRequestFailed) << name;
        EXPECT_EQ(record->bytes_succeeded, files_[name].size()) << name;
    }
    EXPECT_EQ(count(log(false), "<Metadata Status=\"BlobRequestFailed\">"), 2U);
}

TEST_F(OutcomesTest, RefusedMetadataHideNeitherATakenNameNorAFault) {
    const std::string_view xml = "<Metadata><site>dc7</site></Metadata>";
    const auto bytes = std::as_bytes(std::span(xml));
    const Content metadata(bytes.begin(), bytes.end());
    const Content other = random(5);
    const auto with_metadata = [&](format::ManifestBlob& blob) -> format::ManifestBlob& {
        blob.metadata = format::SideFile{"\\meta.xml", md5(metadata), false};
        return blob;
    };
    files_["meta.xml"] = metadata;
    with_metadata(add("bad-left", random(100)));
    with_metadata(add("bad-renamed", random(3 * kMiB), kMiB)).disposition = format::Disposition::Rename;
    faults_.refuse_metadata = "lab/bad";
    std::set<std::string> seen;
    // Somebody else is there first; and then the store does not answer once.
    faults_.before = [&](const std::string& operation, const std::string& blob, Bytes) -> Result<void> {
        if ((operation != "finish" && operation != "put-whole") || !blob.starts_with("lab/bad") ||
            !seen.insert(blob).second)
            return {};
        store::CreateOptions options;
        options.length = other.size();
        options.upload_id = "another";
        store::Piece piece;
        piece.length = other.size();
        piece.content = other;
        return store_->put_whole({"lab", blob.substr(4)}, options, piece, {}, {}, {});
    };
    requests_ = 1;
    const Copied copied = copy();
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    EXPECT_EQ(copied.records.at("lab/bad-left")->disposition, DispositionOutcome::Skipped);
    EXPECT_EQ(copied.records.at("lab/bad-renamed")->name, "lab/bad-renamed (2)");
    EXPECT_EQ(blobs()["lab/bad-renamed (2)"], files_["bad-renamed"]);

    start_anew();
    files_["meta.xml"] = metadata;
    with_metadata(add("bad-late", random(100)));
    faults_.before = [](const std::string& operation, const std::string&, Bytes) -> Result<void> {
        return operation == "put-whole" ? fail(ErrorKind::Unreachable, "the connection is gone") : Result<void>();
    };
    const Copied faulted = copy();
    ASSERT_FALSE(faulted.end);
    EXPECT_EQ(faulted.end.error().kind(), ErrorKind::Unreachable);
    EXPECT_FALSE(faulted.records.at("lab/bad-late")) << "it is tried again";
}

TEST_F(OutcomesTest, IOFailedWhenNothingOfABlobCanBeReadAndErrorsWhenSomethingCan) {
    add("all", random(3 * kMiB), kMiB);
    add("mixed", random(3 * kMiB), kMiB);
    add("some", random(3 * kMiB), kMiB);
    format::ManifestBlob& page = add("page", random(3 * kMiB), kMiB);
    page.is_page_blob = true;
    for (format::ManifestPiece& piece : page.pieces)
        piece.id.clear();
    const Copied copied = copy([](FakeDrive& drive, transfer::Control&) {
        for (const Bytes offset : {Bytes{5}, kMiB + 5, 2 * kMiB + 5}) {
            drive.fail_at("all", offset, ErrorKind::Internal);
            drive.fail_at("page", offset, ErrorKind::Internal);
        }
        drive.fail_at("mixed", 5, ErrorKind::Internal);
        drive.change("mixed", kMiB);
        drive.change("mixed", 2 * kMiB);
        drive.fail_at("some", kMiB, ErrorKind::Internal);
    });
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    EXPECT_EQ(copied.records.at("lab/all")->outcome, BlobOutcome::IOFailed);
    EXPECT_EQ(copied.records.at("lab/all")->pieces, std::vector(3, PieceOutcome::IOFailed));
    EXPECT_EQ(copied.records.at("lab/page")->outcome, BlobOutcome::IOFailed);
    EXPECT_EQ(copied.records.at("lab/mixed")->outcome, BlobOutcome::IOFailed);
    EXPECT_EQ(copied.records.at("lab/mixed")->pieces,
              (std::vector{PieceOutcome::IOFailed, PieceOutcome::Corrupted, PieceOutcome::Corrupted}));
    EXPECT_EQ(copied.records.at("lab/some")->outcome, BlobOutcome::CompletedWithErrors);
    EXPECT_EQ(copied.records.at("lab/some")->pieces,
              (std::vector{PieceOutcome::Uncommitted, PieceOutcome::IOFailed, PieceOutcome::Uncommitted}));
    EXPECT_TRUE(blobs().empty());
}

TEST_F(OutcomesTest, ASideFileThatCannotBeReadIsIOFailedAndOneOfABlobThatFailsIsCancelled) {
    const std::string_view xml = "<Metadata><site>dc7</site></Metadata>";
    const auto bytes = std::as_bytes(std::span(xml));
    const Content metadata(bytes.begin(), bytes.end());
    add("unread", random(100)).metadata = format::SideFile{"\\bad.xml", md5(metadata), false};
    add("gone", random(100)).metadata = format::SideFile{"\\meta.xml", md5(metadata), false};
    add("climbs", random(100)).metadata = format::SideFile{"\\meta.xml", md5(metadata), true};
    manifest_.back().file_path = "\\..\\climbs";
    files_["meta.xml"] = metadata;
    files_["bad.xml"] = metadata;
    files_.erase("gone");
    const Copied copied = copy([](FakeDrive& drive, transfer::Control&) {
        drive.fail_at("bad.xml", 3, ErrorKind::Internal);
    });
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    EXPECT_EQ(copied.records.at("lab/unread")->metadata, SideFileOutcome::IOFailed);
    EXPECT_EQ(copied.records.at("lab/unread")->outcome, BlobOutcome::CompletedWithErrors);
    EXPECT_EQ(copied.records.at("lab/unread")->disposition, DispositionOutcome::Created);
    EXPECT_EQ(copied.records.at("lab/gone")->outcome, BlobOutcome::FileNotFound);
    EXPECT_EQ(copied.records.at("lab/gone")->metadata, SideFileOutcome::Cancelled);
    EXPECT_EQ(copied.records.at("lab/climbs")->outcome, BlobOutcome::FileNameInvalid);
    const std::string text = log(false);
    EXPECT_EQ(count(text, "<Metadata Status=\"IOFailed\">"), 1U);
    EXPECT_EQ(count(text, "<Metadata Status=\"Cancelled\">"), 2U) << text;
    EXPECT_EQ(count(text, "<GlobalPath "), 1U) << text;
}

}  // namespace
}  // namespace dray::test
