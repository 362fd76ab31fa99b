// SPDX-License-Identifier: Apache-2.0
//
// Manifests made to do harm: every one must end in an error or in values, quickly and in little memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <random>

#include "tests/unit/format/samples.hpp"

namespace dray::format {
namespace {

using testing::HasSubstr;

std::string repeated(std::string_view text, std::size_t count) {
    std::string result;
    result.reserve(text.size() * count);
    for (std::size_t i = 0; i < count; ++i)
        result += text;
    return result;
}

TEST(HostileManifest, ABillionLaughsAreNotHeard) {
    std::string xml = "<?xml version=\"1.0\"?>\n<!DOCTYPE lolz [\n<!ENTITY a \"lol\">\n";
    for (char c = 'b'; c <= 'z'; ++c)
        xml += std::string("<!ENTITY ") + c + " \"" + repeated(std::string("&") + static_cast<char>(c - 1) + ";", 10) +
               "\">\n";
    xml += "]>\n" + in_drive("<BlobList><Blob><BlobPath>&z;</BlobPath></Blob></BlobList>");
    const ReadManifest read = read_manifest(xml);
    ASSERT_TRUE(read.error);
    EXPECT_EQ(read.kind(), ErrorKind::Corrupt);
    EXPECT_EQ(read.text(), "manifest line 2: a document type declaration is not allowed");
}

TEST(HostileManifest, DeepNestingEndsAtTheLimit) {
    for (const char* name : {"x", "BlobList"}) {
        const std::string open = std::string("<") + name + ">";
        const ReadManifest read = read_manifest("<DriveManifest><Drive><DriveId>X</DriveId><y>" + repeated(open, 100'000));
        ASSERT_TRUE(read.error);
        EXPECT_EQ(read.kind(), ErrorKind::LimitReached);
        EXPECT_THAT(read.text(), HasSubstr("more than 16 deep"));
    }
}

TEST(HostileManifest, SixteenElementsDeepIsAllowedAndSeventeenIsNot) {
    const auto nested = [](std::size_t depth) {  // two of them are DriveManifest and Drive
        return in_drive(repeated("<x>", depth - 2) + repeated("</x>", depth - 2));
    };
    EXPECT_FALSE(read_manifest(nested(16)).error);
    EXPECT_TRUE(read_manifest(nested(17)).error);
}

TEST(HostileManifest, AnAttributeOfTenMegabytesIsNotKept) {
    const std::string huge(10 * kMiB, 'A');
    for (const std::string& xml : {"<DriveManifest Version=\"" + huge + "\">", with_blocks("4", piece("Block", "0", "4", "Id='" + huge + "'")),
                                   in_list("<!-- " + huge + " -->"), in_list("<?pi " + huge + " ?>"),
                                   in_list("<" + huge + "/>"), "<" + huge}) {
        const ReadManifest read = read_manifest(xml);
        ASSERT_TRUE(read.error);
        EXPECT_EQ(read.kind(), ErrorKind::LimitReached) << read.text().substr(0, 200);
        EXPECT_LT(read.text().size(), 200U);
    }
}

TEST(HostileManifest, ATokenThatNeverEndsTakesNoMemory) {
    ManifestReader reader({}, {});
    const std::string part(64 * kKiB, 'A');
    ASSERT_TRUE(reader.feed(std::as_bytes(std::span(std::string_view("<DriveManifest Version=\"")))));
    std::size_t fed = 0;
    while (reader.feed(std::as_bytes(std::span(part))) && fed < 100 * kMiB)
        fed += part.size();
    EXPECT_LT(fed, kMiB);
}

TEST(HostileManifest, LongTextEndsAtTheLimitAndInIgnoredElementsDoesNotMatter) {
    const auto with_path = [](std::size_t size) {
        return in_list("<Blob><BlobPath>" + std::string(size, 'x') + "</BlobPath><FilePath>x</FilePath><Length>0</Length></Blob>");
    };
    EXPECT_FALSE(read_manifest(with_path(64 * kKiB)).error);
    const ReadManifest read = read_manifest(with_path(64 * kKiB + 1));
    ASSERT_TRUE(read.error);
    EXPECT_EQ(read.kind(), ErrorKind::LimitReached);
    EXPECT_THAT(read.text(), HasSubstr("the text of <BlobPath> has more than 65536 bytes"));
    EXPECT_FALSE(read_manifest(in_drive("<Note>" + std::string(10 * kMiB, 'x') + "</Note>" + std::string(kMiB, ' '))).error);
}

TEST(HostileManifest, TheSizeIsLimitedToTheByte) {
    ManifestLimits limits;
    limits.size = kSampleManifest.size();
    EXPECT_FALSE(read_manifest(kSampleManifest, 10, limits).error);
    limits.size -= 1;
    const ReadManifest read = read_manifest(kSampleManifest, 10, limits);
    ASSERT_TRUE(read.error);
    EXPECT_EQ(read.kind(), ErrorKind::LimitReached);
}

std::string blocks(std::size_t count) {
    std::string xml;
    for (std::size_t i = 0; i < count; ++i)
        xml += piece("Block", std::to_string(i), "1");
    return with_blocks(std::to_string(count), xml);
}

TEST(HostileManifest, FiftyThousandBlocksAreAllowedAndNotOneMore) {
    EXPECT_FALSE(read_manifest(blocks(50'000)).error);
    const ReadManifest read = read_manifest(blocks(50'001));
    ASSERT_TRUE(read.error);
    EXPECT_EQ(read.kind(), ErrorKind::LimitReached);
    EXPECT_THAT(read.text(), HasSubstr("more than 50000 blocks"));
}

TEST(HostileManifest, PageRangesHaveALimitOfTheirOwn) {
    ManifestLimits limits;
    limits.page_ranges = 2;
    const std::string two = piece("PageRange", "0", "512") + piece("PageRange", "512", "512");
    EXPECT_FALSE(read_manifest(with_pages("2048", two), 4096, limits).error);
    const ReadManifest read = read_manifest(with_pages("2048", two + piece("PageRange", "1024", "512")), 4096, limits);
    ASSERT_TRUE(read.error);
    EXPECT_EQ(read.kind(), ErrorKind::LimitReached);
}

TEST(HostileManifest, CutAnywhereItIsAnError) {
    const std::string_view whole = kSampleManifest.substr(0, kSampleManifest.size() - 1);
    ASSERT_FALSE(read_manifest(whole).error) << "the last line end may be missing";
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const ReadManifest read = read_manifest(whole.substr(0, size));
        ASSERT_TRUE(read.error) << "cut at " << size;
        EXPECT_EQ(read.kind(), ErrorKind::Corrupt) << read.text();
    }
}

/// What the rules promise to whoever gets a blob.
void expect_sound(const ManifestBlob& blob) {
    Bytes end = 0;
    for (const ManifestPiece& piece : blob.pieces) {
        ASSERT_GT(piece.length, 0U);
        ASSERT_LE(piece.length, blob.length);
        ASSERT_LE(piece.offset, blob.length - piece.length);
        if (blob.is_page_blob)
            ASSERT_GE(piece.offset, end);
        else
            ASSERT_EQ(piece.offset, end);
        end = piece.offset + piece.length;
    }
    ASSERT_TRUE(blob.is_page_blob || end == blob.length);
}

TEST(HostileManifest, WhateverChangesInItTheBlobsAreSound) {
    static constexpr std::string_view kTokens[] = {"<", ">", "/>", "\"", "&", "&#0;", "]]>", "<![CDATA[", "<!--", "-->",
                                                   "<!DOCTYPE x [", "<Blob>", "</Blob>", "<BlobList>", "<BlockList/>",
                                                   "<Block Offset=\"0\" Length=\"0\"/>", "18446744073709551615", "-1", "\xFF",
                                                   "\xC3", "Length", "0", "512"};
    const unsigned seed = std::random_device{}();
    std::printf("seed %u\n", seed);
    std::mt19937 random(seed);
    const auto pick = [&](std::size_t below) {
        return std::uniform_int_distribution<std::size_t>(0, below - 1)(random);
    };
    std::size_t whole = 0;
    for (int i = 0; i < 20'000; ++i) {
        std::string xml(kSampleManifest);
        for (std::size_t changes = 1 + pick(3); changes > 0; --changes) {
            const std::size_t at = pick(xml.size());
            switch (pick(4)) {
            case 0: xml[at] = static_cast<char>(pick(256)); break;
            case 1: xml.insert(at, kTokens[pick(std::size(kTokens))]); break;
            case 2: xml.erase(at, 1 + pick(20)); break;
            default: xml.insert(at, xml.substr(pick(xml.size()), pick(200))); break;
            }
            xml += ' ';  // never empty
        }
        const ReadManifest read = read_manifest(xml, 1 + pick(2000));
        whole += read.error ? 0 : 1;
        for (const ManifestBlob& blob : read.blobs)
            expect_sound(blob);
        ASSERT_FALSE(testing::Test::HasFailure()) << "seed " << seed << ", round " << i << ":\n" << xml;
    }
    EXPECT_GT(whole, 0U) << "some changes do no harm";
}

TEST(HostileManifest, MemoryDoesNotGrowWithTheManifest) {
    std::size_t count = 0;
    ManifestReader reader({}, [&](ManifestBlob&&) -> Result<void> {
        ++count;
        return {};
    });
    const auto feed = [&](std::string_view text) { ASSERT_TRUE(reader.feed(std::as_bytes(std::span(text)))); };
    const auto resident = [] {
        std::ifstream statm("/proc/self/statm");
        Bytes size = 0;
        Bytes pages = 0;
        statm >> size >> pages;
        return pages * static_cast<Bytes>(getpagesize());
    };
    feed("<DriveManifest><Drive><DriveId>X</DriveId><BlobList>");
    const std::string blob = "<Blob><BlobPath>lab/x</BlobPath><FilePath>\\x</FilePath><Length>4</Length><BlockList>" +
                             piece("Block", "0", "4") + "</BlockList></Blob>\n";
    const std::string many = repeated(blob, 500);
    feed(many);
    const Bytes before = resident();
    ASSERT_GT(before, 0U);
    constexpr std::size_t kRounds = 500;  // some 40 MiB
    for (std::size_t i = 1; i < kRounds; ++i)
        feed(many);
    feed("</BlobList></Drive></DriveManifest>");
    ASSERT_TRUE(reader.finish());
    EXPECT_EQ(count, kRounds * 500);
    // Freed memory is held back by the address sanitizer, up to its quarantine of 256 MiB.
#ifndef __SANITIZE_ADDRESS__
    EXPECT_LT(resident(), before + 4 * kMiB);
#else
    (void)before;
#endif
}

}  // namespace
}  // namespace dray::format
