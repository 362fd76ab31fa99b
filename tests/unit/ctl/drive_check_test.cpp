// SPDX-License-Identifier: Apache-2.0
//
// A drive against its manifest, over the real protocol with files in memory: pieces of all lengths, places that cannot be
// read, and a dray-drive that lies.
#include "daemon/ctl/drive_check.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iostream>
#include <random>

#include "daemon/base/encoding.hpp"
#include "daemon/base/file.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/unit/transfer/fake_drive.hpp"

namespace dray::ctl {
namespace {

using test::FakeDrive;
using testing::ElementsAre;
using testing::IsEmpty;

class DriveCheckTest : public testing::Test {
protected:
    using Content = FakeDrive::Content;

    void SetUp() override { std::cout << "seed " << seed_ << "\n"; }

    Content random(std::size_t size) {
        Content content(size);
        for (std::byte& byte : content)
            byte = static_cast<std::byte>(random_());
        return content;
    }

    /// A file and its blob, in pieces of so many bytes.
    void add(const std::string& name, Content content, Bytes piece, bool is_page_blob = false) {
        format::ManifestBlob blob;
        blob.blob_path = "lab/" + name;
        blob.file_path = "\\" + name;
        blob.length = content.size();
        blob.is_page_blob = is_page_blob;
        for (Bytes offset = 0; offset < content.size(); offset += piece) {
            const auto part = std::span(content).subspan(offset, std::min<std::size_t>(piece, content.size() - offset));
            blob.pieces.push_back({offset, part.size(), "", md5(part)});
        }
        blobs_.push_back(std::move(blob));
        files_[name] = std::move(content);
    }

    manifest::Spool spool() {
        std::string text;
        format::ManifestWriter writer(
            [&](std::string_view part) -> Result<void> {
                text += part;
                return {};
            },
            "SER", "none", "test");
        for (const format::ManifestBlob& blob : blobs_)
            EXPECT_TRUE(writer.blob(blob));
        EXPECT_TRUE(writer.finish());
        FileDescriptor file = *open_file(scratch_ / "manifest", O_RDWR | O_CREAT | O_TRUNC);
        EXPECT_TRUE(write_fully(file.get(), 0, std::as_bytes(std::span(text)), "manifest"));
        return *manifest::Spool::open(std::move(file), "manifest");
    }

    /// What was found: "blob fault offset".
    Result<CheckTotals> check(FakeDrive& drive) {
        const manifest::Spool manifest = spool();
        drive::Client client = drive.connect(DriveCheck::kExtent * DriveCheck::kExtents);
        found_.clear();
        DriveCheck check(
            client,
            [&](const Finding& finding) -> Result<void> {
                found_.push_back(fmt::format("{} {}{}", finding.blob_path, to_string(finding.fault),
                                             finding.offset ? fmt::format(" {}", *finding.offset) : ""));
                return {};
            },
            [&](Bytes done) { done_ = done; });
        return check.run(manifest);
    }

    std::uint64_t seed_ = std::random_device()();
    std::mt19937_64 random_{seed_};
    test::ScratchDirectory scratch_;
    std::map<std::string, Content> files_;
    std::vector<format::ManifestBlob> blobs_;
    std::vector<std::string> found_;
    Bytes done_ = 0;
};

TEST_F(DriveCheckTest, PiecesOfAllLengthsAreHashedRightly) {
    Bytes total = 0;
    std::size_t pieces = 0;
    for (int i = 0; i < 300; ++i) {
        const std::size_t size = i < 70 ? static_cast<std::size_t>(i) : random_() % 40'000;
        const Bytes piece = 1 + random_() % 9000;
        add(fmt::format("f{}", i), random(size), piece);
        total += size;
        pieces += (size + piece - 1) / piece;
    }
    // Over several extents each, and not in whole ones.
    add("large", random(11 * kMiB + 4321), 3 * kMiB + 77);
    total += 11 * kMiB + 4321;
    pieces += 4;
    FakeDrive drive(files_);
    const Result<CheckTotals> totals = check(drive);
    ASSERT_TRUE(totals) << totals.error().text();
    EXPECT_THAT(found_, IsEmpty());
    EXPECT_EQ(totals->pieces_good, pieces);
    EXPECT_EQ(totals->pieces_bad, 0U);
    EXPECT_EQ(totals->bytes_good, total);
    EXPECT_EQ(totals->blobs, 301U);
    EXPECT_EQ(done_, total);
}

TEST_F(DriveCheckTest, EachChangedByteIsFoundInItsPieceAndFindingsComeInTheManifestsOrder) {
    std::vector<std::string> expected;
    FakeDrive drive({});
    for (int i = 0; i < 200; ++i)
        add(fmt::format("f{:03}", i), random(1 + random_() % 20'000), 4096);
    FakeDrive damaged(files_);
    for (int i = 0; i < 200; i += 1 + static_cast<int>(random_() % 20)) {
        const std::string name = fmt::format("f{:03}", i);
        const Bytes offset = random_() % files_[name].size();
        damaged.change(name, offset);
        expected.push_back(fmt::format("lab/{} damaged {}", name, offset / 4096 * 4096));
    }
    const Result<CheckTotals> totals = check(damaged);
    ASSERT_TRUE(totals) << totals.error().text();
    EXPECT_EQ(found_, expected);
    EXPECT_EQ(totals->blobs_bad, expected.size());
    EXPECT_EQ(totals->pieces_bad, expected.size());
}

TEST_F(DriveCheckTest, WhatCannotBeReadCostsItsPieceAlone) {
    add("a", random(6 * kMiB), 2 * kMiB);
    add("b", random(10'000), 4096);
    FakeDrive drive(files_);
    // In the second of a piece's extents; the first is being hashed by then.
    drive.fail_at("a", 3 * kMiB + 5, ErrorKind::Internal);
    drive.fail_at("b", 9999, ErrorKind::Corrupt);
    const Result<CheckTotals> totals = check(drive);
    ASSERT_TRUE(totals) << totals.error().text();
    EXPECT_THAT(found_, ElementsAre("lab/a unreadable 2097152", "lab/b unreadable 8192"));
    EXPECT_EQ(totals->pieces_good, 2U + 2U);
    EXPECT_EQ(done_, 6 * kMiB + 10'000);
}

TEST_F(DriveCheckTest, ShortAndMissingFilesAreToldOnce) {
    add("short", random(40 * 4096), 4096);
    add("missing", random(40 * 4096), 4096);
    add("gone", {}, 4096);
    add("fine", random(100), 4096);
    files_["short"].resize(10 * 4096 + 1);
    files_.erase("missing");
    files_.erase("gone");
    FakeDrive drive(files_);
    const Result<CheckTotals> totals = check(drive);
    ASSERT_TRUE(totals) << totals.error().text();
    EXPECT_THAT(found_, ElementsAre("lab/short short", "lab/missing missing", "lab/gone missing"));
    EXPECT_EQ(totals->pieces_good, 10U + 1U);
    EXPECT_EQ(totals->pieces_bad, 30U + 40U);
}

TEST_F(DriveCheckTest, ADriveThatIsGoneEndsIt) {
    for (int i = 0; i < 100; ++i)
        add(fmt::format("f{}", i), random(9000), 4096);
    FakeDrive pulled(files_);
    pulled.fail_at("f50", 0, ErrorKind::Gone);
    Result<CheckTotals> totals = check(pulled);
    ASSERT_FALSE(totals);
    EXPECT_EQ(totals.error().kind(), ErrorKind::Gone);
    FakeDrive dead(files_);
    dead.die_after(120);
    totals = check(dead);
    ASSERT_FALSE(totals);
    EXPECT_EQ(totals.error().kind(), ErrorKind::Gone);
}

TEST_F(DriveCheckTest, AnswersThatNobodyAskedForEndIt) {
    for (int i = 0; i < 20; ++i)
        add(fmt::format("f{}", i), random(9000), 4096);
    FakeDrive backwards(files_);
    backwards.answer_backwards();
    Result<CheckTotals> totals = check(backwards);
    ASSERT_FALSE(totals);
    EXPECT_EQ(totals.error().kind(), ErrorKind::Corrupt);
    FakeDrive two_faced(files_);
    two_faced.answer_opens_twice();
    totals = check(two_faced);
    ASSERT_FALSE(totals);
    EXPECT_EQ(totals.error().kind(), ErrorKind::Corrupt);
}

}  // namespace
}  // namespace dray::ctl
