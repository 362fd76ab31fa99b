// SPDX-License-Identifier: Apache-2.0
//
// What somebody put on an NTFS to hurt whoever reads it: every call ends, after a bounded number of reads, with an
// error of a kind that is promised.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdio>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "drivers/filesystem/ntfs/lznt1.hpp"
#include "drivers/filesystem/ntfs/run_list.hpp"
#include "tests/unit/filesystem/ext4_image.hpp"
#include "tests/unit/filesystem/ntfs_image.hpp"

namespace dray::fs {
namespace {

using test::NtfsBytes;
using test::NtfsImage;
using test::Opened;

constexpr std::size_t kMostReads = 4000;

std::vector<std::byte> bytes_of(std::initializer_list<unsigned> values) {
    std::vector<std::byte> bytes;
    for (const unsigned value : values)
        bytes.push_back(static_cast<std::byte>(value));
    return bytes;
}

class NtfsHostile : public testing::Test {
protected:
    void SetUp() override {
        image_.format("-c 4096", "16M");
        std::string words;
        for (int i = 0; i < 30'000; ++i)
            words += "word " + std::to_string(i % 37) + " ";
        image_.write("file file " + image_.source(std::string(100'000, 'f')) + "\nfile dir/inside " +
                     image_.source("inside") + "\ncompressed packed " + image_.source(words) +
                     "\nmany many 300\ncomb comb 900\nfile other " + image_.source(std::string(50'000, 'o')) + "\n");
        bytes_ = image_.bytes();
        const Opened opened = test::open_image(bytes_);
        for (const char* path : {"file", "dir", "packed", "many", "comb", "other"}) {
            const Result<FileStatus> status = opened.filesystem->lookup(path);
            ASSERT_TRUE(status) << path;
            numbers_[path] = status->inode & 0xffffffff;
        }
    }

    /// What a walk over everything says, after `spoil`.
    struct Outcome {
        std::string opened;
        std::map<std::string, std::string> files;
        std::map<std::string, ErrorKind> refused;
    };
    Outcome walk(const std::function<void(NtfsBytes&)>& spoil) {
        std::vector<std::byte> bytes = bytes_;
        NtfsBytes edit(bytes);
        spoil(edit);
        Outcome outcome;
        const Opened opened = test::open_image(bytes);
        outcome.opened = opened.error;
        if (!opened.filesystem)
            return outcome;
        const auto bounded = [&] {
            EXPECT_LT(opened.device->reads, kMostReads);
            opened.device->reads = 0;
        };
        bounded();
        for (const char* directory : {"", "dir", "many"}) {
            int seen = 0;
            const Result<void> listed = opened.filesystem->list(directory, [&](const auto&) { return ++seen < 10'000; });
            if (!listed)
                outcome.refused[std::string(directory) + "/"] = listed.error().kind();
            EXPECT_LT(seen, 10'000);
            bounded();
        }
        for (const char* path : {"file", "dir/inside", "packed", "many/name-17", "comb", "other", "none", "many/none"}) {
            const Result<FileStatus> status = opened.filesystem->lookup(path);
            bounded();
            if (!status) {
                outcome.refused[path] = status.error().kind();
                continue;
            }
            std::string content(static_cast<std::size_t>(std::min<Bytes>(status->size, 8'000'000)), '?');
            const Result<void> read = opened.filesystem->read(
                *status, 0, std::as_writable_bytes(std::span(content.data(), content.size())));
            bounded();
            if (read)
                outcome.files[path] = content;
            else
                outcome.refused[path] = read.error().kind();
            // The far end of whatever it says to be.
            std::vector<std::byte> end(1);
            if (status->size > 0)
                (void)opened.filesystem->read(*status, status->size - 1, end);
            EXPECT_FALSE(opened.filesystem->read(*status, status->size, end));
            bounded();
        }
        return outcome;
    }

    std::uint64_t number(const char* path) { return numbers_.at(path); }

    NtfsImage image_;
    std::vector<std::byte> bytes_;
    std::map<std::string, std::uint64_t> numbers_;
};

TEST_F(NtfsHostile, UnspoiledAllIsRead) {
    const Outcome outcome = walk([](NtfsBytes&) {});
    EXPECT_EQ(outcome.files.size(), 6U);
    EXPECT_EQ(outcome.refused, (std::map<std::string, ErrorKind>{{"none", ErrorKind::NotFound},
                                                                {"many/none", ErrorKind::NotFound}}));
}

TEST_F(NtfsHostile, SizesThatCannotBeAreCorrupt) {
    for (const std::uint64_t size : {std::uint64_t{1} << 63, (std::uint64_t{1} << 63) - 1, ~std::uint64_t{0},
                                     (std::uint64_t{1} << 53) + 4096, std::uint64_t{1} << 40})
        for (const bool is_allocated : {false, true}) {
            const Outcome outcome = walk([&](NtfsBytes& edit) {
                const std::size_t at = edit.attribute(number("file"), test::kData);
                edit.set<std::uint64_t>(at + 48, size);
                edit.set<std::uint64_t>(at + 56, size);
                if (is_allocated)
                    edit.set<std::uint64_t>(at + 40, size / 4096 * 4096);
            });
            ASSERT_TRUE(outcome.refused.contains("file")) << size;
            EXPECT_EQ(outcome.refused.at("file"), ErrorKind::Corrupt) << size;
            EXPECT_EQ(outcome.files.size(), 5U);
        }
}

TEST_F(NtfsHostile, RunsPastTheEndAreCorrupt) {
    const Outcome outcome = walk([&](NtfsBytes& edit) {
        const std::size_t at = edit.attribute(number("file"), test::kData);
        const std::size_t packed = at + edit.get<std::uint16_t>(at + 32);
        edit.set<std::uint16_t>(packed + 2, 0x7fff);
    });
    EXPECT_EQ(outcome.refused.at("file"), ErrorKind::Corrupt);
    EXPECT_EQ(outcome.files.size(), 5U);
}

TEST_F(NtfsHostile, ATreeOfNamesThatLeadsBackIsCorruptAndFoundByNobody) {
    const auto with_child = [&](std::uint64_t child) {
        return walk([&](NtfsBytes& edit) {
            // The only block's end gets a block below it: itself, or one that is not there.
            const std::size_t root = edit.attribute(number("many"), test::kIndexRoot);
            const std::size_t value = root + edit.get<std::uint16_t>(root + 20) + 16;
            const std::size_t entry = value + edit.get<std::uint32_t>(value);
            edit.set<std::uint64_t>(entry + edit.get<std::uint16_t>(entry + 8) - 8, child);
            const std::size_t block = edit.first_cluster(number("many"), test::kIndexBlocks) + 24;
            std::size_t at = block + edit.get<std::uint32_t>(block);
            while ((edit.get<std::uint16_t>(at + 12) & 2) == 0)
                at += edit.get<std::uint16_t>(at + 8);
            edit.set<std::uint16_t>(at + 12, 3);
            edit.set<std::uint16_t>(at + 8, 24);
            edit.set<std::uint32_t>(block + 4, static_cast<std::uint32_t>(at + 24 - block));
            edit.set<std::uint64_t>(at + 16, 0);
        });
    };
    for (const std::uint64_t child : {std::uint64_t{0}, std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
        const Outcome outcome = with_child(child);
        ASSERT_TRUE(outcome.refused.contains("many/none")) << child;
        EXPECT_TRUE(outcome.refused.at("many/none") == ErrorKind::Corrupt ||
                    outcome.refused.at("many/none") == ErrorKind::NotFound);
        EXPECT_TRUE(outcome.files.contains("file"));
    }
}

TEST_F(NtfsHostile, ADirectoryWithinItselfIsWalkedOnlyAsFarAsTheCallerGoes) {
    const Outcome outcome = walk([&](NtfsBytes& edit) {
        const std::size_t root = edit.attribute(number("dir"), test::kIndexRoot);
        const std::size_t value = root + edit.get<std::uint16_t>(root + 20) + 16;
        const std::size_t entry = value + edit.get<std::uint32_t>(value);
        const std::size_t record = edit.record(number("dir"));
        edit.set<std::uint64_t>(entry, number("dir") | std::uint64_t{edit.get<std::uint16_t>(record + 16)} << 48);
    });
    EXPECT_TRUE(outcome.refused.contains("dir/inside") || !outcome.files.contains("dir/inside"));
    EXPECT_EQ(outcome.files.size(), 5U);
}

TEST_F(NtfsHostile, RecordsThatAreNotTheirOwnAreCorrupt) {
    // A part of itself; a part of another; another sequence; not in use; only half written.
    const std::vector<std::function<void(NtfsBytes&, std::size_t)>> ways{
        [&](NtfsBytes& edit, std::size_t record) { edit.set<std::uint64_t>(record + 32, number("file")); },
        [&](NtfsBytes& edit, std::size_t record) { edit.set<std::uint64_t>(record + 32, number("other")); },
        [](NtfsBytes& edit, std::size_t record) { edit.set<std::uint16_t>(record + 16, 0x7777); },
        [](NtfsBytes& edit, std::size_t record) { edit.set<std::uint16_t>(record + 22, 0); },
        [](NtfsBytes& edit, std::size_t record) { edit.set<std::uint16_t>(record + 510, 0x1234); },
        [](NtfsBytes& edit, std::size_t record) { edit.set<std::uint32_t>(record, 0); },
        [](NtfsBytes& edit, std::size_t record) { edit.set<std::uint32_t>(record + 24, 0xffffff); }};
    for (const auto& way : ways) {
        const Outcome outcome = walk([&](NtfsBytes& edit) { way(edit, edit.record(number("file"))); });
        ASSERT_TRUE(outcome.refused.contains("file"));
        EXPECT_EQ(outcome.refused.at("file"), ErrorKind::Corrupt);
        EXPECT_EQ(outcome.files.size(), 5U);
    }
}

TEST_F(NtfsHostile, BitsThatNobodyKnowsAreNoHarm) {
    const Outcome outcome = walk([&](NtfsBytes& edit) {
        const std::size_t at = edit.attribute(number("file"), test::kStandardInformation);
        edit.set<std::uint32_t>(at + edit.get<std::uint16_t>(at + 20) + 32, 0xffffbbff);
        edit.set<std::uint16_t>(edit.record(number("other")) + 22, 0xfff5);
    });
    EXPECT_EQ(outcome.files.size(), 6U);
}

TEST_F(NtfsHostile, AListOfAttributesThatLeadsToItselfIsCorrupt) {
    const std::uint64_t comb = number("comb");
    // Each entry of the list says that its part is in the base record.
    const Outcome outcome = walk([&](NtfsBytes& edit) {
        const std::size_t at = edit.attribute(comb, test::kAttributeList);
        const bool is_resident = edit.get<std::uint8_t>(at + 8) == 0;
        std::size_t entry = is_resident ? at + edit.get<std::uint16_t>(at + 20) : edit.first_cluster(comb, test::kAttributeList);
        const std::size_t end = entry + (is_resident ? edit.get<std::uint32_t>(at + 16) : edit.get<std::uint64_t>(at + 48));
        const std::uint64_t self = comb | std::uint64_t{edit.get<std::uint16_t>(edit.record(comb) + 16)} << 48;
        for (; entry + 26 <= end; entry += edit.get<std::uint16_t>(entry + 4))
            if (edit.get<std::uint32_t>(entry) == test::kData)
                edit.set<std::uint64_t>(entry + 16, self);
    });
    EXPECT_EQ(outcome.refused.at("comb"), ErrorKind::Corrupt);
    EXPECT_EQ(outcome.files.size(), 5U);
}

TEST_F(NtfsHostile, ABootSectorThatAsksForTooMuchIsRefused) {
    const auto opened = [&](std::size_t place, std::uint64_t value, int width) {
        return walk([&](NtfsBytes& edit) {
            for (int i = 0; i < width; ++i)
                edit.set<std::uint8_t>(place + static_cast<std::size_t>(i), static_cast<std::uint8_t>(value >> 8 * i));
        }).opened;
    };
    EXPECT_THAT(opened(11, 0, 2), testing::HasSubstr("sectors of 0 bytes"));
    EXPECT_THAT(opened(11, 8192, 2), testing::HasSubstr("sectors of 8192 bytes"));
    EXPECT_THAT(opened(13, 3, 1), testing::HasSubstr("clusters of"));
    EXPECT_THAT(opened(13, 0xe1, 1), testing::HasSubstr("clusters of"));
    EXPECT_THAT(opened(64, 0xe1, 1), testing::HasSubstr("MFT records of 2147483648 bytes"));
    EXPECT_THAT(opened(64, 0x80, 1), testing::HasSubstr("MFT records of 0 bytes"));
    EXPECT_THAT(opened(64, 0xf3, 1), testing::HasSubstr("MFT records of 8192 bytes"));
    EXPECT_THAT(opened(68, 0xe1, 1), testing::HasSubstr("index blocks of"));
    EXPECT_THAT(opened(40, 1ULL << 62, 8), testing::HasSubstr("its volume ends at"));
    EXPECT_THAT(opened(40, 0, 8), testing::HasSubstr("0 sectors"));
    EXPECT_NE(opened(48, 1ULL << 62, 8), "");
    EXPECT_NE(opened(48, 0, 8), "");
    // As long as the device, and a sector longer: a truncated image.
    const std::uint64_t sectors = bytes_.size() / 512;
    EXPECT_EQ(opened(40, sectors, 8), "");
    EXPECT_THAT(opened(40, sectors + 1, 8), testing::HasSubstr("its volume ends at"));
}

TEST_F(NtfsHostile, TablesOfTheSystemThatAskForTooMuchCostNothing) {
    for (const std::uint64_t record : {4U, 6U, 10U}) {
        const Outcome outcome = walk([&](NtfsBytes& edit) {
            const std::size_t at = edit.attribute(record, test::kData);
            for (const std::size_t field : {std::size_t{40}, std::size_t{48}, std::size_t{56}})
                edit.set<std::uint64_t>(at + field, std::uint64_t{1} << 40);
        });
        EXPECT_EQ(outcome.opened, "") << record;
        EXPECT_EQ(outcome.files.size(), 6U) << record;
    }
}

TEST(NtfsRuns, WhatMakesNoSenseIsCorrupt) {
    const auto unpack = [](std::initializer_list<unsigned> packed, std::uint64_t end = 16, std::uint64_t clusters = 100) {
        return ntfs::unpack_runs(bytes_of(packed), 0, end, clusters);
    };
    const auto runs = unpack({0x11, 4, 10, 0x01, 4, 0x11, 4, 0xfe, 0x11, 4, 4, 0});
    ASSERT_TRUE(runs) << runs.error().text();
    ASSERT_EQ(runs->size(), 3U);
    EXPECT_EQ((*runs)[0].lcn, 10U);
    EXPECT_TRUE((*runs)[1].is_hole);
    // What lies together is one.
    EXPECT_EQ((*runs)[2].lcn, 8U);
    EXPECT_EQ((*runs)[2].length, 8U);
    EXPECT_TRUE(unpack({0x11, 16, 84, 0}));
    for (const auto& packed : std::vector<std::vector<std::byte>>{
             bytes_of({0x11, 16, 85, 0}), bytes_of({0x11, 16, 0xff, 0}), bytes_of({0x11, 15, 1, 0}),
             bytes_of({0x11, 17, 1, 0}), bytes_of({0x11, 0, 1, 0}), bytes_of({0x10, 1, 0}), bytes_of({0x11, 16}),
             bytes_of({0x19, 16, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0}), bytes_of({0x91, 16, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}),
             bytes_of({0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0}),
             bytes_of({0x81, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x11, 8, 1, 0})}) {
        const auto refused = ntfs::unpack_runs(packed, 0, 16, 100);
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().kind(), ErrorKind::Corrupt);
    }
}

TEST(NtfsPacked, NothingIsWrittenBehindTheEnd) {
    const auto unpack = [](const std::vector<std::byte>& packed, std::size_t size = 8192) {
        std::vector<std::byte> content(size + 16, std::byte{0xee});
        const Result<void> done = ntfs::decompress(packed, std::span(content).first(size));
        for (std::size_t i = size; i < content.size(); ++i)
            EXPECT_EQ(content[i], std::byte{0xee});
        content.resize(size);
        return std::pair(done.has_value(), content);
    };
    // One letter, copied on and on.
    const auto [is_fine, content] = unpack(bytes_of({0x03, 0xb0, 2, 'a', 0xfc, 0x0f, 0, 0}));
    EXPECT_TRUE(is_fine);
    EXPECT_EQ(content[4095], std::byte{'a'});
    EXPECT_EQ(content[4096], std::byte{0});
    // The same with a copy that is one too long, one that begins before the start, and a letter too many.
    EXPECT_FALSE(unpack(bytes_of({0x03, 0xb0, 2, 'a', 0xfd, 0x0f, 0, 0})).first);
    EXPECT_FALSE(unpack(bytes_of({0x03, 0xb0, 2, 'a', 0xfc, 0x1f, 0, 0})).first);
    EXPECT_FALSE(unpack(bytes_of({0x02, 0xb0, 1, 0xfc, 0x0f, 0, 0})).first);
    EXPECT_FALSE(unpack(bytes_of({0x04, 0xb0, 2, 'a', 0xfc, 0x0f, 'b', 0, 0})).first);
    EXPECT_FALSE(unpack(bytes_of({0x02, 0xb0, 2, 'a', 0xfc, 0, 0})).first);
    EXPECT_FALSE(unpack(bytes_of({0xff, 0xbf, 2, 'a', 0xfc, 0x0f})).first);
    EXPECT_FALSE(unpack(bytes_of({0x03, 0x30, 1, 2, 3, 4})).first);
    std::mt19937 random(1);
    for (int i = 0; i < 3000; ++i) {
        std::vector<std::byte> packed(random() % 300);
        for (std::byte& byte : packed)
            byte = static_cast<std::byte>(random());
        if (packed.size() > 2)
            packed[1] = static_cast<std::byte>(0xb0);
        (void)unpack(packed);
    }
}

/// Bytes changed at random, mostly where the file system keeps its own.
TEST_F(NtfsHostile, AnyChangeEndsInAnAnswerOrAnError) {
    const char* given = std::getenv("DRAY_TEST_SEED");
    const std::uint64_t seed = given != nullptr ? std::stoull(given) : std::random_device()();
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    std::mt19937_64 random(seed);
    const std::vector<const char*> names{"file", "dir", "packed", "many", "comb", "other"};
    // Where things are is asked of the unspoiled image alone.
    const NtfsBytes places(bytes_);
    const std::size_t names_of_many = places.first_cluster(number("many"), test::kIndexBlocks);
    for (int i = 0; i < 150; ++i)
        (void)walk([&](NtfsBytes& edit) {
            for (std::uint64_t changes = 1 + random() % 4; changes > 0; --changes) {
                const std::uint64_t record = random() % 3 == 0 ? random() % 12 : number(names[random() % names.size()]);
                const std::size_t place = random() % 4 == 0 ? names_of_many + random() % 8192
                                          : random() % 9 == 0 ? random() % 512
                                                              : places.record(record) + random() % 480;
                edit.set<std::uint8_t>(place, static_cast<std::uint8_t>(random()));
            }
        });
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    EXPECT_LT(usage.ru_maxrss, 256 * 1024);
#endif
}

}  // namespace
}  // namespace dray::fs
