// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/drive_plan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "daemon/base/encoding.hpp"
#include "daemon/ctl/shell_word.hpp"
#include "daemon/format/manifest_rules.hpp"
#include "tests/unit/ctl/scratch_source.hpp"

namespace dray::ctl {
namespace {

using test::ScratchSource;
using testing::HasSubstr;

SourceTree tree_of(const ScratchSource& source) {
    Result<SourceTree> tree =
        SourceTree::walk(source.path(), [](const std::string&) { return Result<void>(); });
    EXPECT_TRUE(tree) << tree.error().text();
    return *std::move(tree);
}

PlanOptions options() {
    return {"lab/in/", "SER-1", 4 * kMiB, format::Disposition::Rename};
}

/// The manifest as a plan writes it for files whose pieces are all zeros.
std::string manifest_of(const DrivePlan& plan, const SourceTree& tree) {
    std::string text;
    format::ManifestWriter writer = plan.writer([&](std::string_view part) {
        text += part;
        return Result<void>();
    });
    for (std::size_t entry = 0; entry < tree.entries().size(); ++entry) {
        if (tree.entries()[entry].is_directory)
            continue;
        std::vector<Md5Hash> hashes(plan.pieces_of(tree.entries()[entry]));
        for (std::size_t piece = 0; piece < hashes.size(); ++piece)
            hashes[piece].fill(static_cast<std::byte>(piece));
        EXPECT_TRUE(writer.blob(plan.blob(tree, entry, hashes)));
    }
    EXPECT_TRUE(writer.finish());
    return text;
}

TEST(DrivePlan, ReadsContainersWithAndWithoutPrefix) {
    EXPECT_EQ(*parse_container("lab"), "lab/");
    EXPECT_EQ(*parse_container("lab/"), "lab/");
    EXPECT_EQ(*parse_container("lab/in/2026"), "lab/in/2026/");
    EXPECT_EQ(*parse_container("lab/In 2026/"), "lab/In 2026/");
    EXPECT_EQ(*parse_container("$root"), "$root/");
    for (const char* bad : {"", "/", "/lab", "ab", "Lab", "lab//in", "lab/in//", "la--b",
                            "$root/in", "lab/\xff", "lab\\in"})
        EXPECT_FALSE(parse_container(bad)) << bad;
}

TEST(DrivePlan, KnowsThreeDispositions) {
    EXPECT_EQ(*parse_disposition("rename"), format::Disposition::Rename);
    EXPECT_EQ(*parse_disposition("no-overwrite"), format::Disposition::NoOverwrite);
    EXPECT_EQ(*parse_disposition("overwrite"), format::Disposition::Overwrite);
    EXPECT_FALSE(parse_disposition("Rename"));
    EXPECT_FALSE(parse_disposition(""));
}

TEST(DrivePlan, TakesBlockSizesThatAManifestTakes) {
    EXPECT_TRUE(check_block_size(4 * kKiB));
    EXPECT_TRUE(check_block_size(4000 * kMiB));
    EXPECT_FALSE(check_block_size(4 * kKiB - 1));
    EXPECT_FALSE(check_block_size(4000 * kMiB + 1));
}

TEST(DrivePlan, LengthensPiecesWhereThereWouldBeTooMany) {
    constexpr Bytes kMost = 50'000;
    EXPECT_EQ(piece_length(0, 4 * kMiB), 4 * kMiB);
    EXPECT_EQ(piece_length(4 * kMiB * kMost, 4 * kMiB), 4 * kMiB);
    const Bytes longer = piece_length(4 * kMiB * kMost + 1, 4 * kMiB);
    EXPECT_EQ(longer, 5 * kMiB);
    for (const Bytes size : {200 * kGiB, 1024 * kGiB, 16 * 1024 * kGiB - 4096, 190 * kMiB}) {
        const Bytes length = piece_length(size, 4 * kKiB);
        EXPECT_LE((size + length - 1) / length, kMost) << size;
        EXPECT_LE(length, format::kMaxBlock);
    }
}

TEST(DrivePlan, FindsAManifestNameThatIsFree) {
    const ScratchSource source;
    source.add("a");
    source.add("deep/DriveManifest.xml");
    EXPECT_EQ(DrivePlan::make(tree_of(source), options())->manifest_path(), "\\DriveManifest.xml");
    source.add("drivemanifest.XML");
    EXPECT_EQ(DrivePlan::make(tree_of(source), options())->manifest_path(),
              "\\DriveManifest-2.xml");
    source.add("DriveManifest-2.xml");
    EXPECT_EQ(DrivePlan::make(tree_of(source), options())->manifest_name(), "DriveManifest-3.xml");
}

TEST(DrivePlan, KnowsTheLengthOfTheManifestBeforeItIsWritten) {
    const ScratchSource source;
    source.add("empty", "");
    source.add("<&> \"x\".txt", std::string(100, 'x'));
    source.add("dir/many", std::string(100'000, 'y'));
    const SourceTree tree = tree_of(source);
    PlanOptions small = options();
    small.block_size = 4 * kKiB;
    small.disposition = format::Disposition::NoOverwrite;
    const Result<DrivePlan> plan = DrivePlan::make(tree, small);
    ASSERT_TRUE(plan) << plan.error().text();
    EXPECT_EQ(plan->inodes(), 5U);
    const std::string manifest = manifest_of(*plan, tree);
    EXPECT_EQ(manifest.size(), plan->manifest_size());
    EXPECT_THAT(manifest, HasSubstr("<DriveId>SER-1</DriveId>"));
    EXPECT_THAT(manifest,
                HasSubstr("<BlobPath>lab/in/dir/many</BlobPath><FilePath>\\dir\\many</FilePath>"));
    EXPECT_THAT(manifest, HasSubstr("<ImportDisposition>no-overwrite</ImportDisposition>"));
    EXPECT_THAT(
        manifest,
        HasSubstr("<Block Offset=\"4096\" Length=\"4096\" Id=\"MD5/AQEBAQEBAQEBAQEBAQEBAQ==\""));
    EXPECT_THAT(manifest, HasSubstr("<Block Offset=\"98304\" Length=\"1696\""));

    std::vector<std::string> blobs;
    format::ManifestReader reader(
        [](const std::string& id) -> Result<void> {
            EXPECT_EQ(id, "SER-1");
            return {};
        },
        [&](format::ManifestBlob&& blob) -> Result<void> {
            blobs.push_back(blob.blob_path);
            return {};
        });
    ASSERT_TRUE(reader.feed(std::as_bytes(std::span(manifest))));
    ASSERT_TRUE(reader.finish());
    EXPECT_EQ(blobs.size(), 3U);
}

TEST(DrivePlan, CountsHolesAsContent) {
    const ScratchSource source;
    source.add("sparse");
    ASSERT_EQ(truncate((source / "sparse").c_str(), 3LL * 1024 * 1024 * 1024), 0);
    const SourceTree tree = tree_of(source);
    const Result<DrivePlan> plan = DrivePlan::make(tree, options());
    ASSERT_TRUE(plan) << plan.error().text();
    EXPECT_GT(plan->needed_size(), 3 * kGiB + 64 * kMiB);
    EXPECT_LT(plan->needed_size(), 3 * kGiB + 256 * kMiB);
    EXPECT_EQ(plan->needed_size() % kMiB, 0U);
    EXPECT_EQ(plan->pieces_of(tree.entries()[0]), 768U);
}

TEST(DrivePlan, RefusesWhatNoDriveCanHold) {
    const ScratchSource source;
    for (const char* name : {"1", "2", "3", "4", "5", "6", "7", "8", "9"}) {
        source.add(name);
        ASSERT_EQ(truncate((source / name).c_str(), 15LL << 40), 0);
    }
    const Result<DrivePlan> plan = DrivePlan::make(tree_of(source), options());
    ASSERT_FALSE(plan);
    EXPECT_EQ(plan.error().kind(), ErrorKind::LimitReached);
    EXPECT_THAT(plan.error().text(), HasSubstr("more than a drive can hold"));
}

TEST(DrivePrepare, QuotesWordsForAShell) {
    EXPECT_EQ(shell_word("SER-1"), "SER-1");
    EXPECT_EQ(shell_word("\\DriveManifest.xml"), "'\\DriveManifest.xml'");
    EXPECT_EQ(shell_word("it's"), "'it'\\''s'");
    EXPECT_EQ(shell_word(""), "''");
}

}  // namespace
}  // namespace dray::ctl
