// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/drive_plan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <random>

#include "daemon/base/encoding.hpp"
#include "daemon/ctl/shell_word.hpp"
#include "daemon/format/manifest_rules.hpp"
#include "tests/unit/ctl/scratch_source.hpp"

namespace dray::ctl {
namespace {

using test::ScratchSource;
using testing::HasSubstr;

BlobSources sources_of(const ScratchSource& source, const std::string& disposition = "rename") {
    SourceOptions options;
    options.directory = source.path();
    options.container = "lab/in";
    options.disposition = disposition;
    Result<BlobSources> sources = BlobSources::look_at(options);
    EXPECT_TRUE(sources) << sources.error().text();
    return *std::move(sources);
}

Result<DrivePlan> plan_of(const BlobSources& sources, Bytes block_size = 4 * kMiB) {
    return DrivePlan::make(sources, DrivePlan::all_items(sources), {"SER-1", block_size});
}

/// The manifest as a plan writes it for files whose pieces have digests of one byte's value each.
std::string manifest_of(const DrivePlan& plan) {
    std::string text;
    format::ManifestWriter writer = plan.writer([&](std::string_view part) {
        text += part;
        return Result<void>();
    });
    for (const DriveItem& item : plan.items()) {
        if (plan.file_of(item) == nullptr)
            continue;
        const Bytes size = plan.file_of(item)->size;
        const Bytes length = plan.piece_length_of(item);
        std::vector<HashedPiece> pieces;
        for (Bytes offset = 0; offset < size; offset += length) {
            pieces.push_back({offset, std::min(length, size - offset), {}});
            pieces.back().hash.fill(static_cast<std::byte>(pieces.size() - 1));
        }
        EXPECT_TRUE(writer.blob(plan.blob(item, pieces)));
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

TEST(DrivePlan, ShortensStretchesOfPageBlobsToWhatARangeMayHave) {
    constexpr Bytes kMost = 2'100'000;
    EXPECT_EQ(stretch_length(0, 4 * kMiB), 4 * kMiB);
    EXPECT_EQ(stretch_length(kGiB, 100 * kMiB), 4 * kMiB);
    EXPECT_EQ(stretch_length(kGiB, 10'000), 10'240U);
    EXPECT_EQ(stretch_length(4 * kKiB * kMost, 4 * kKiB), 4 * kKiB);
    EXPECT_EQ(stretch_length(4 * kKiB * kMost + 512, 4 * kKiB), kMiB);
    const Bytes largest = Bytes{8} * 1024 * kGiB;
    EXPECT_LE(largest / stretch_length(largest, 4 * kKiB), kMost);
}

TEST(DrivePlan, FindsNamesThatAreFree) {
    const ScratchSource source;
    source.add("a");
    source.add("deep/DriveManifest.xml");
    source.add("deep/SHA256SUMS");
    EXPECT_EQ(plan_of(sources_of(source))->manifest_path(), "\\DriveManifest.xml");
    EXPECT_EQ(plan_of(sources_of(source))->checksums_name(), "SHA256SUMS");
    source.add("drivemanifest.XML");
    source.add("Sha256Sums/x");
    EXPECT_EQ(plan_of(sources_of(source))->manifest_path(), "\\DriveManifest-2.xml");
    EXPECT_EQ(plan_of(sources_of(source))->checksums_name(), "SHA256SUMS-2");
    source.add("DriveManifest-2.xml");
    EXPECT_EQ(plan_of(sources_of(source))->manifest_name(), "DriveManifest-3.xml");
}

TEST(DrivePlan, KnowsTheLengthOfTheManifestBeforeItIsWritten) {
    const ScratchSource source;
    source.add("empty", "");
    source.add("<&> \"x\".txt", std::string(100, 'x'));
    source.add("dir/many", std::string(100'000, 'y'));
    const BlobSources sources = sources_of(source, "no-overwrite");
    const Result<DrivePlan> plan = plan_of(sources, 4 * kKiB);
    ASSERT_TRUE(plan) << plan.error().text();
    EXPECT_EQ(plan->inodes(), 6U);
    const std::string manifest = manifest_of(*plan);
    EXPECT_EQ(manifest.size(), plan->manifest_bound());
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
    const BlobSources sources = sources_of(source);
    const Result<DrivePlan> plan = plan_of(sources);
    ASSERT_TRUE(plan) << plan.error().text();
    EXPECT_GT(plan->needed_size(), 3 * kGiB + 64 * kMiB);
    EXPECT_LT(plan->needed_size(), 3 * kGiB + 256 * kMiB);
    EXPECT_EQ(plan->needed_size() % kMiB, 0U);
    EXPECT_EQ(plan->piece_length_of(plan->items().front()), 4 * kMiB);
}

TEST(DrivePlan, RefusesWhatNoDriveCanHold) {
    const ScratchSource source;
    for (const char* name : {"1", "2", "3", "4", "5", "6", "7", "8", "9"}) {
        source.add(name);
        ASSERT_EQ(truncate((source / name).c_str(), 15LL << 40), 0);
    }
    const BlobSources sources = sources_of(source);
    const Result<DrivePlan> plan = plan_of(sources);
    ASSERT_FALSE(plan);
    EXPECT_EQ(plan.error().kind(), ErrorKind::LimitReached);
    EXPECT_THAT(plan.error().text(), HasSubstr("more than a drive can hold"));
}

TEST(PieceHasher, CutsBlocksOfOneLengthWhateverPortionsTheBytesComeIn) {
    std::mt19937_64 random(4711);
    std::vector<std::byte> content(50'001);
    for (std::byte& byte : content)
        byte = static_cast<std::byte>(random());
    PieceHasher hasher;
    for (int round = 0; round < 20; ++round) {
        hasher.begin(4096, false);
        for (std::size_t at = 0; at < content.size();) {
            const std::size_t part = std::min<std::size_t>(1 + random() % 9000, content.size() - at);
            hasher.update(std::span(content).subspan(at, part));
            at += part;
        }
        const HashedFile file = hasher.finish();
        ASSERT_EQ(file.pieces.size(), 13U);
        for (std::size_t i = 0; i < file.pieces.size(); ++i) {
            const auto piece = std::span(content).subspan(i * 4096, std::min<std::size_t>(4096, content.size() - i * 4096));
            EXPECT_EQ(file.pieces[i].offset, i * 4096);
            EXPECT_EQ(file.pieces[i].length, piece.size());
            EXPECT_EQ(file.pieces[i].hash, md5(piece));
        }
        Digest whole(DigestKind::Sha256);
        whole.update(content);
        EXPECT_EQ(file.checksum, whole.finish());
    }
    hasher.begin(4096, false);
    EXPECT_TRUE(hasher.finish().pieces.empty());
}

TEST(PieceHasher, ListsOfEachStretchOfPagesWhatLiesBetweenItsZeros) {
    constexpr std::size_t kPage = 512;
    std::mt19937_64 random(815);
    PieceHasher hasher;
    for (int round = 0; round < 200; ++round) {
        const std::size_t pages = random() % 40;
        const std::size_t stretch = 1 + random() % 9;
        std::vector<std::byte> content(pages * kPage);
        for (std::size_t page = 0; page < pages; ++page)
            // One byte somewhere in the page; whole stretches of zeros are as likely as full ones.
            if (random() % 2 == 0 && (page / stretch) % 3 != 1)
                content[page * kPage + random() % kPage] = std::byte{1};
        hasher.begin(stretch * kPage, true);
        for (std::size_t page = 0; page < pages;) {
            const std::size_t part = std::min<std::size_t>(1 + random() % 7, pages - page);
            hasher.update(std::span(content).subspan(page * kPage, part * kPage));
            page += part;
        }
        const HashedFile file = hasher.finish();
        std::vector<HashedPiece> expected;
        for (std::size_t begin = 0; begin < pages; begin += stretch) {
            std::size_t first = begin;
            std::size_t last = std::min(begin + stretch, pages);
            const auto is_zero = [&](std::size_t page) {
                return std::ranges::all_of(std::span(content).subspan(page * kPage, kPage),
                                           [](std::byte byte) { return byte == std::byte{0}; });
            };
            while (first < last && is_zero(first))
                ++first;
            while (last > first && is_zero(last - 1))
                --last;
            if (first < last) {
                const auto range = std::span(content).subspan(first * kPage, (last - first) * kPage);
                expected.push_back({first * kPage, range.size(), md5(range)});
            }
        }
        ASSERT_EQ(file.pieces.size(), expected.size()) << "round " << round;
        for (std::size_t i = 0; i < expected.size(); ++i) {
            EXPECT_EQ(file.pieces[i].offset, expected[i].offset);
            EXPECT_EQ(file.pieces[i].length, expected[i].length);
            EXPECT_EQ(file.pieces[i].hash, expected[i].hash);
        }
    }
}

TEST(DrivePrepare, QuotesWordsForAShell) {
    EXPECT_EQ(shell_word("SER-1"), "SER-1");
    EXPECT_EQ(shell_word("\\DriveManifest.xml"), "'\\DriveManifest.xml'");
    EXPECT_EQ(shell_word("it's"), "'it'\\''s'");
    EXPECT_EQ(shell_word(""), "''");
}

}  // namespace
}  // namespace dray::ctl
