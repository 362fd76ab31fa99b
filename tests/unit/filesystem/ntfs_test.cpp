// SPDX-License-Identifier: Apache-2.0
//
// What an NTFS holds is read as ntfscat reads it, and what cannot be read is refused by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <utility>

#include "daemon/base/digest.hpp"
#include "daemon/base/encoding.hpp"
#include "drivers/filesystem/open_filesystem.hpp"
#include "tests/unit/filesystem/ext4_image.hpp"
#include "tests/unit/filesystem/ntfs_image.hpp"

namespace dray::fs {
namespace {

using test::NtfsBytes;
using test::NtfsImage;
using test::Opened;
using testing::HasSubstr;

std::uint64_t seed() {
    static const std::uint64_t value = [] {
        const char* given = std::getenv("DRAY_TEST_SEED");
        const std::uint64_t drawn = given != nullptr ? std::stoull(given) : std::random_device()();
        std::printf("seed %llu\n", static_cast<unsigned long long>(drawn));
        return drawn;
    }();
    return value;
}

std::string random_bytes(std::size_t size) {
    static std::mt19937_64 random(seed());
    std::string bytes(size, '\0');
    for (char& byte : bytes)
        byte = static_cast<char>(random());
    return bytes;
}

/// Words again and again, so that there is something to pack.
std::string text(std::size_t size) {
    std::mt19937_64 random(size);
    std::string words;
    while (words.size() < size)
        words += "word " + std::to_string(random() % 50) + (random() % 40 == 0 ? random_bytes(300) : " ");
    words.resize(size);
    return words;
}

Opened open_ntfs(const std::vector<std::byte>& bytes, Bytes sector = 512) {
    Opened opened = test::open_image(bytes, sector);
    EXPECT_NE(opened.filesystem, nullptr) << opened.error;
    return opened;
}

Error error_of(FileSystem& filesystem, const std::string& path) {
    const Result<FileStatus> status = filesystem.lookup(path);
    return status ? Error(ErrorKind::Exists, "it opened") : status.error();
}

struct Shape {
    const char* options;
    const char* size;
    Bytes sector;
};

class NtfsShapes : public testing::TestWithParam<Shape> {};

TEST_P(NtfsShapes, AllContentIsReadAsNtfscatReadsIt) {
    const Shape& shape = GetParam();
    const bool can_pack = std::string(shape.options).find("65536") == std::string::npos;
    NtfsImage image;
    image.format(shape.options, shape.size);
    std::map<std::string, std::string> files{
        {"empty", ""},
        {"resident", "a few bytes"},
        {"one-sector", random_bytes(512)},
        {"large", random_bytes(1'234'567)},
        {"deep/er/and/deep/er/still/file", random_bytes(70'000)},
    };
    std::string script;
    for (const auto& [path, content] : files)
        script += "file " + path + " " + image.source(content) + "\n";
    const std::string braided = random_bytes(900'001);
    script += "braid woven/one woven/other " + image.source(braided) + "\n";
    script += "sparse hole/at-start 3000000 2000000 " + image.source(random_bytes(5000)) + "\n";
    script += "sparse hole/only 40000000 0 " + image.source("x") + "\n";
    script += "file cut " + image.source(random_bytes(300'000)) + "\ninitialized cut 100001\n";
    script += "stream large other " + image.source("not content") + "\n";
    script += "stream empty other " + image.source("not content") + "\n";
    script += "link large deep/also-large\nlink large again\n";
    if (can_pack)
        for (const std::size_t size : {std::size_t{1}, std::size_t{5000}, std::size_t{65536}, std::size_t{700'003}})
            script += "compressed packed/" + std::to_string(size) + " " + image.source(text(size)) + "\n" +
                      "compressed packed/random-" + std::to_string(size) + " " + image.source(random_bytes(size)) + "\n" +
                      "compressed packed/zeros-" + std::to_string(size) + " " + image.source(std::string(size, '\0')) + "\n";
    image.write(script);

    const Opened opened = open_ntfs(image.bytes(), shape.sector);
    ASSERT_NE(opened.filesystem, nullptr);
    EXPECT_EQ(opened.filesystem->type(), "ntfs");
    EXPECT_EQ(opened.filesystem->notice(), "");
    const std::map<std::string, std::string> found = test::read_all(*opened.filesystem, seed());
    for (const auto& [path, content] : files)
        EXPECT_EQ(found.count(path) == 1 && found.at(path) == content, true) << path;
    EXPECT_EQ(found.size(), files.size() + 7 + (can_pack ? 12U : 0U));
    EXPECT_EQ(found.at("woven/one") == braided && found.at("woven/other") == braided, true);
    EXPECT_EQ(found.at("again") == files.at("large") && found.at("deep/also-large") == files.at("large"), true);
    EXPECT_EQ(found.at("cut").substr(100'001), std::string(199'999, '\0'));
    for (const auto& [path, content] : found)
        EXPECT_EQ(image.cat(path) == content, true) << path;
    // Nothing was written.
    EXPECT_EQ(opened.device->content == image.bytes(), true);
}

INSTANTIATE_TEST_SUITE_P(All, NtfsShapes,
                         testing::Values(Shape{"-c 4096", "64M", 512}, Shape{"-c 4096", "64M", 4096},
                                         Shape{"-c 65536", "64M", 512}, Shape{"-c 512", "64M", 512},
                                         Shape{"-s 4096 -c 4096", "64M", 4096}, Shape{"-s 4096 -c 65536", "64M", 512},
                                         Shape{"-s 1024 -c 2048", "64M", 512}));

TEST(Ntfs, FilesThatNtfscpPutThereAreRead) {
    NtfsImage image;
    image.format();
    const std::string content = random_bytes(2'000'001);
    ASSERT_EQ(image.run("ntfscp -f IMAGE " + image.source(content) + " /copied"), 0);
    const Opened opened = open_ntfs(image.bytes());
    EXPECT_EQ(test::read_file_of(*opened.filesystem, "copied") == content, true);
}

TEST(Ntfs, NamesAreFoundAsTheVolumesOwnTableHasThem) {
    NtfsImage image;
    image.format();
    const std::string a = image.source("a");
    image.write("file Dir/Mixed.Case " + a + "\nfile Dir/\\u00c4rger " + a + "\nfile same " + a + "\nfile SAME " + a +
                "\nfile Same " + image.source("Same") + "\nfile half\\ud800 " + a + "\nfile \\udc00half " + a +
                "\nfile whole\\ud83d\\ude00 " + a + "\nfile long-name-of-a-file.text " + a +
                "\nshort long-name-of-a-file.text LONG-N~1.TEX\nfile a\\u005cb " + a + "\n");
    const Opened opened = open_ntfs(image.bytes());
    FileSystem& filesystem = *opened.filesystem;
    for (const char* path : {"Dir/Mixed.Case", "dir/mixed.case", "DIR//MIXED.CASE", "dir/\u00e4RGER", "dir/\u00c4rger",
                             "half\xed\xa0\x80", "\xed\xb0\x80half", "HALF\xed\xa0\x80", "whole\xf0\x9f\x98\x80",
                             "long-name-of-a-file.text", "long-n~1.tex", "/a\\b"})
        EXPECT_TRUE(filesystem.lookup(path)) << path;
    EXPECT_EQ(test::read_file_of(filesystem, "Same"), "Same");
    EXPECT_THAT(error_of(filesystem, "sAME").text(), HasSubstr("several that differ in upper and lower case"));
    for (const char* path : {"none", "Dir/none", "half", "half\xff", "half\xed\xa0", "$MFT", "$Extend", "$Extend/$Quota",
                             "long-n~2.tex", "same/below", "half\xc0\x80"})
        EXPECT_EQ(error_of(filesystem, path).kind(), ErrorKind::NotFound) << path;
    EXPECT_EQ(error_of(filesystem, std::string(256, 'x')).kind(), ErrorKind::NotFound);
    for (const char* path : {"", "/", "../same", "Dir/./Mixed.Case", "Dir/.."})
        EXPECT_EQ(error_of(filesystem, path).kind(), ErrorKind::InvalidArgument) << path;

    std::vector<std::string> names;
    ASSERT_TRUE(filesystem.list("", [&](const FileSystem::Entry& entry) {
        names.push_back(entry.name);
        EXPECT_TRUE(filesystem.lookup(entry.name)) << entry.name;
        return true;
    }));
    EXPECT_THAT(names, testing::UnorderedElementsAre("Dir", "same", "SAME", "Same", "half\xed\xa0\x80",
                                                     "\xed\xb0\x80half", "whole\xf0\x9f\x98\x80",
                                                     "long-name-of-a-file.text", "a\\b"));
}

TEST(Ntfs, EveryNameOfALargeDirectoryIsListedOnceAndFound) {
    constexpr int kFiles = 5000;
    for (const char* options : {"-c 4096", "-c 65536"}) {
        NtfsImage image;
        image.format(options, "64M");
        image.write("many large " + std::to_string(kFiles) + "\n");
        const Opened opened = open_ntfs(image.bytes());
        std::map<std::string, int> names;
        ASSERT_TRUE(opened.filesystem->list("large", [&](const FileSystem::Entry& entry) {
            ++names[entry.name];
            return true;
        }));
        EXPECT_EQ(names.size(), std::size_t{kFiles});
        for (int i = 0; i < kFiles; ++i) {
            EXPECT_EQ(names["name-" + std::to_string(i)], 1);
            EXPECT_TRUE(opened.filesystem->lookup("LARGE/Name-" + std::to_string(i))) << i;
        }
        EXPECT_FALSE(opened.filesystem->lookup("large/name-" + std::to_string(kFiles)));
        int seen = 0;
        ASSERT_TRUE(opened.filesystem->list("large", [&](const FileSystem::Entry&) { return ++seen < 10; }));
        EXPECT_EQ(seen, 10);
    }
}

TEST(Ntfs, AFileInThousandsOfPiecesIsRead) {
    constexpr int kTeeth = 3000;
    NtfsImage image;
    image.format("-c 4096", "64M");
    image.write("comb comb " + std::to_string(kTeeth) + "\n");
    std::vector<std::byte> bytes = image.bytes();
    const Opened opened = open_ntfs(bytes);
    const Result<FileStatus> status = opened.filesystem->lookup("comb");
    ASSERT_TRUE(status);
    // Its record has a list of attributes, or this test shows nothing.
    NtfsBytes(bytes).attribute(status->inode & 0xffffffff, test::kAttributeList);
    ASSERT_EQ(status->size, Bytes{2 * kTeeth} * 4096);
    std::string expected(static_cast<std::size_t>(status->size), '\0');
    for (std::size_t i = 0; i < kTeeth; ++i) {
        const std::string tooth = "tooth " + std::to_string(i);
        expected.replace(i * 8192, tooth.size(), tooth);
    }
    EXPECT_EQ(test::read_all(*opened.filesystem, seed()).at("comb") == expected, true);
    // From the end to the start, too.
    for (std::size_t i = kTeeth; i-- > 0;) {
        std::string part(8192, '?');
        ASSERT_TRUE(opened.filesystem->read(*status, i * 8192, std::as_writable_bytes(std::span(part.data(), part.size()))));
        ASSERT_EQ(part == expected.substr(i * 8192, 8192), true) << i;
    }
    EXPECT_EQ(image.cat("comb") == expected, true);
}

TEST(Ntfs, WhatCannotBeReadIsRefusedByName) {
    const std::map<std::uint32_t, std::string> tags{
        {0xa000000c, "it is a symbolic link"},
        {0xa0000003, "it is a junction or a mount point"},
        {0x80000013, "data deduplication"},
        {0x80000017, "it is packed by Windows (\"compact\", WOF)"},
        {0x9000001a, "its content lies in OneDrive or another cloud"},
        {0x9000601a, "its content lies in OneDrive or another cloud"},
        {0x80001234, "a reparse point of an unknown kind (reparse tag 0x80001234)"}};
    NtfsImage image;
    image.format();
    std::string script;
    for (const auto& [tag, words] : tags) {
        const std::string name = "tag-" + std::to_string(tag);
        script += "file " + name + " " + image.source("never") + "\nreparse " + name + " " + std::to_string(tag) + "\n";
    }
    script += "file efs " + image.source(random_bytes(5000)) + "\nencrypted efs\n" + "file efs-empty " +
              image.source("") + "\nencrypted efs-empty\n" + "file only-marked " + image.source("x") +
              "\nattributes only-marked 0x4000\n" + "file vault/open " + image.source("open") +
              "\nattributes vault 0x4000\n" + "file junction/inside " + image.source("x") +
              "\nreparse junction 0xa0000003\n" + "file cloud/here " + image.source("here") +
              "\nreparse cloud 0x9000701a\n";
    image.write(script);
    const Opened opened = open_ntfs(image.bytes());
    FileSystem& filesystem = *opened.filesystem;
    for (const auto& [tag, words] : tags) {
        const Error error = error_of(filesystem, "tag-" + std::to_string(tag));
        EXPECT_EQ(error.kind(), ErrorKind::Unsupported) << tag;
        EXPECT_THAT(error.text(), HasSubstr(words));
    }
    for (const char* path : {"efs", "efs-empty", "only-marked"}) {
        EXPECT_EQ(error_of(filesystem, path).kind(), ErrorKind::Unsupported) << path;
        EXPECT_THAT(error_of(filesystem, path).text(), HasSubstr("it is encrypted by Windows (EFS)"));
    }
    EXPECT_EQ(error_of(filesystem, "junction/inside").kind(), ErrorKind::Unsupported);
    EXPECT_THAT(error_of(filesystem, "junction/inside").text(), HasSubstr("junction/: it is a junction"));
    // New files in it would be encrypted; it itself is not. And what a cloud left here is here.
    EXPECT_EQ(test::read_file_of(filesystem, "vault/open"), "open");
    EXPECT_EQ(test::read_file_of(filesystem, "cloud/here"), "here");
    // A listing shows them all the same.
    int entries = 0;
    EXPECT_TRUE(filesystem.list("", [&](const FileSystem::Entry&) { return ++entries > 0; }));
    EXPECT_EQ(entries, static_cast<int>(tags.size()) + 6);
}

TEST(Ntfs, AVolumeThatWindowsLeftInDisorderIsReadWithANotice) {
    NtfsImage image;
    image.format();
    image.write("file file " + image.source("content") + "\n");
    const std::vector<std::byte> clean = image.bytes();
    constexpr const char* kUnclean = "the NTFS was not unmounted cleanly: changes that only its log knows are missing here";

    std::vector<std::byte> dirty = clean;
    NtfsBytes edit(dirty);
    const std::size_t information = edit.attribute(3, test::kVolumeInformation);
    edit.set<std::uint16_t>(information + edit.get<std::uint16_t>(information + 20) + 10, 1);
    Opened opened = open_ntfs(dirty);
    EXPECT_EQ(opened.filesystem->notice(), kUnclean);
    EXPECT_EQ(test::read_file_of(*opened.filesystem, "file"), "content");

    // Two restart pages, of which the newer one counts.
    const auto with_log = [&](std::uint64_t first, std::uint64_t second, std::uint16_t user, std::uint16_t flags) {
        std::vector<std::byte> bytes = clean;
        NtfsBytes log(bytes);
        const std::size_t start = log.first_cluster(2, test::kData);
        for (const auto& [page, number] : {std::pair{start, first}, std::pair{start + 4096, second}}) {
            log.set<std::uint32_t>(page, 0x52545352);
            log.set<std::uint16_t>(page + 24, 0x30);
            log.set<std::uint64_t>(page + 0x30, number);
            log.set<std::uint16_t>(page + 0x30 + 12, page == start ? 0xffff : user);
            log.set<std::uint16_t>(page + 0x30 + 14, page == start ? 0 : flags);
        }
        return open_ntfs(bytes).filesystem->notice();
    };
    EXPECT_EQ(with_log(5, 6, 0, 0), kUnclean);
    EXPECT_EQ(with_log(7, 6, 0, 0), "");
    EXPECT_EQ(with_log(5, 6, 0, 2), "");
    EXPECT_EQ(with_log(5, 6, 0xffff, 0), "");

    image.write("file hiberfil.sys " + image.source("hibr" + std::string(4092, '\0')) + "\n");
    EXPECT_THAT(open_ntfs(image.bytes()).filesystem->notice(), HasSubstr("Windows hibernated with the NTFS in use"));
    NtfsImage woken;
    woken.format();
    woken.write("file hiberfil.sys " + woken.source("wake" + std::string(4092, '\0')) + "\n");
    EXPECT_EQ(open_ntfs(woken.bytes()).filesystem->notice(), "");
}

TEST(Ntfs, WhatTheDeviceSaysComesThrough) {
    NtfsImage image;
    image.format("-c 4096", "32M");
    image.write("file dir/large " + image.source(random_bytes(3'000'000)) + "\nfile dir/small " + image.source("small") +
                "\nmany many 2000\n");
    std::vector<std::byte> bytes = image.bytes();
    const NtfsBytes places(bytes);
    Opened opened = open_ntfs(bytes);
    const Result<FileStatus> large = opened.filesystem->lookup("dir/large");
    const Result<FileStatus> small = opened.filesystem->lookup("dir/small");
    const Result<FileStatus> many = opened.filesystem->lookup("many");
    ASSERT_TRUE(large && small && many);
    std::vector<std::byte> piece(4096);
    opened.device->bad_sector = places.first_cluster(large->inode & 0xffffffff, test::kData) + 409'600;
    EXPECT_TRUE(opened.filesystem->read(*large, 0, piece));
    EXPECT_EQ(opened.filesystem->read(*large, 409'600, piece).error().kind(), ErrorKind::Internal);
    EXPECT_TRUE(opened.filesystem->read(*large, 413'696, piece));
    opened.device->is_gone = true;
    EXPECT_EQ(opened.filesystem->read(*large, 0, piece).error().kind(), ErrorKind::Gone);

    // A record that cannot be read costs its file alone, a block of names those in it; what all begins with, all.
    const auto with_bad = [&](std::size_t place, auto&& look) {
        test::MemoryDevice device(bytes, 512);
        device.bad_sector = place;
        const auto filesystem = open_filesystem(device);
        look(filesystem, device);
    };
    with_bad(places.record(small->inode & 0xffffffff), [](const auto& filesystem, test::MemoryDevice& device) {
        ASSERT_TRUE(filesystem);
        EXPECT_EQ(error_of(**filesystem, "dir/small").kind(), ErrorKind::Internal);
        EXPECT_TRUE((*filesystem)->lookup("dir/large"));
        device.is_gone = true;
        EXPECT_EQ(error_of(**filesystem, "dir/small").kind(), ErrorKind::Gone);
    });
    with_bad(places.first_cluster(many->inode & 0xffffffff, test::kIndexBlocks),
             [](const auto& filesystem, const test::MemoryDevice&) {
                 ASSERT_TRUE(filesystem);
                 int seen = 0;
                 int found = 0;
                 const Result<void> listed = (*filesystem)->list("many", [&](const auto&) { return ++seen > 0; });
                 ASSERT_FALSE(listed);
                 EXPECT_EQ(listed.error().kind(), ErrorKind::Internal);
                 for (int i = 0; i < 2000; ++i) {
                     const Result<FileStatus> status = (*filesystem)->lookup("many/name-" + std::to_string(i));
                     found += status ? 1 : 0;
                     EXPECT_TRUE(status || status.error().kind() == ErrorKind::Internal);
                 }
                 EXPECT_EQ(found, seen);
                 EXPECT_GT(seen, 1900);
                 EXPECT_LT(seen, 2000);
             });
    for (const std::size_t place : {std::size_t{0}, places.record(0), places.record(5)})
        with_bad(place, [place](const auto& filesystem, const test::MemoryDevice&) {
            ASSERT_FALSE(filesystem) << place;
            EXPECT_EQ(filesystem.error().error.kind(), ErrorKind::Internal) << place;
        });
    // Without its table of upper case, its state or the copy of its MFT a volume is read all the same.
    for (const std::size_t place : {places.record(3), places.record(2), places.first_cluster(1, test::kData),
                                    places.first_cluster(10, test::kData)})
        with_bad(place, [place](const auto& filesystem, const test::MemoryDevice&) {
            ASSERT_TRUE(filesystem) << place << ": " << filesystem.error().error.text();
            EXPECT_EQ(test::read_file_of(**filesystem, "DIR/small"), "small");
        });
}

TEST(Ntfs, FilesAreReadInLongReads) {
    NtfsImage image;
    image.format("-c 4096", "64M");
    image.write("file large " + image.source(random_bytes(16'000'000)) + "\n");
    const Opened opened = open_ntfs(image.bytes());
    const Result<FileStatus> status = opened.filesystem->lookup("large");
    ASSERT_TRUE(status);
    opened.device->reads = 0;
    std::vector<std::byte> piece(4'000'000 / 4096 * 4096);
    for (Bytes offset = 0; offset + piece.size() <= status->size; offset += piece.size())
        ASSERT_TRUE(opened.filesystem->read(*status, offset, piece));
    EXPECT_LE(opened.device->reads, std::size_t{16});
    EXPECT_FALSE(opened.filesystem->read(*status, status->size, std::span(piece).first(1)));
}

/// Made by others; they are no part of this project.
TEST(Ntfs, TheGivenImagesHaveTheGivenDigests) {
    const std::string shared = DRAY_SHARED "/data/bitlk/";
    std::ifstream list(shared + "selfmade-ntfs.sha256");
    if (!list)
        GTEST_SKIP() << "the given images are not beside this clone";
    if (std::system("command -v dislocker-file >/dev/null") != 0)
        GTEST_SKIP() << "dislocker is not installed";
    std::map<std::string, std::string> digests;
    for (std::string line; std::getline(list, line);)
        digests[line.substr(66)] = line.substr(0, 64);
    ASSERT_GE(digests.size(), 50U);
    for (const char* name : {"selfmade-ntfs-aes-xts-256", "selfmade-ntfs-aes-cbc-128"}) {
        NtfsImage image;
        ASSERT_EQ(image.run("xz -dc " + shared + name + ".img.xz | tee IMAGE.locked"), 0);
        ASSERT_EQ(image.run("cd $(dirname IMAGE) && dislocker-file -V image.locked -uanaconda -- image"), 0);
        const Opened opened = open_ntfs(image.bytes());
        ASSERT_NE(opened.filesystem, nullptr);
        for (const auto& [path, digest] : digests) {
            const std::string content = test::read_file_of(*opened.filesystem, path);
            Digest sha256(DigestKind::Sha256);
            sha256.update(std::as_bytes(std::span(content)));
            std::string found = to_hex(sha256.finish());
            std::ranges::transform(found, found.begin(), [](unsigned char c) { return std::tolower(c); });
            EXPECT_EQ(found, digest) << name << ": " << path;
        }
    }
}

}  // namespace
}  // namespace dray::fs
