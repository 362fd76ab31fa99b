// SPDX-License-Identifier: Apache-2.0
//
// Every kind of ext2, ext3 and ext4 that mke2fs makes, read by us and by debugfs, byte for byte; and what is
// refused, by its name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <iostream>
#include <random>

#include "tests/unit/filesystem/ext4_image.hpp"

namespace dray::fs {
namespace {

namespace stdfs = std::filesystem;
using test::Ext4Image;
using test::open_image;
using test::Opened;
using testing::HasSubstr;

std::uint64_t announced_seed() {
    const auto seed = std::random_device{}();
    std::cout << "seed " << seed << '\n';
    return seed;
}

std::string random_text(std::mt19937_64& random, std::size_t size) {
    std::string text(size, ' ');
    for (char& letter : text)
        letter = static_cast<char>(random());
    return text;
}

/// Each length at which something changes: within the inode, behind it, one block, twelve, thirteen.
void fill(Ext4Image& image, std::mt19937_64& random) {
    for (const std::size_t size : {0UL, 1UL, 59UL, 60UL, 61UL, 100UL, 155UL, 160UL, 161UL, 700UL, 1023UL, 1024UL, 1025UL, 4095UL,
                                   4096UL, 4097UL, 12288UL, 12289UL, 49152UL, 49153UL, 300'001UL, 1'500'000UL})
        image.put("sizes/" + std::to_string(size), random_text(random, size));
    image.put_sparse("hole/start", 200'000, {{131'072, random_text(random, 68'928)}});
    image.put_sparse("hole/middle", 400'000, {{0, random_text(random, 70'000)}, {333'333, random_text(random, 66'667)}});
    image.put_sparse("hole/end", 500'000, {{0, random_text(random, 5'000)}});
    image.put_sparse("hole/all", 123'456, {});
    std::map<Bytes, std::string> teeth;
    for (Bytes i = 0; i < 300; ++i)
        teeth[i * 8192] = "tooth " + std::to_string(i);
    image.put_sparse("hole/comb", 300 * 8192, teeth);
    for (int i = 0; i < 300; ++i)
        image.put("many/file-" + std::to_string(i), std::to_string(i));
    image.put("few/one", "1");
    image.put("few/" + std::string(255, 'n'), "a long name");
    image.put("few/with space, \xc3\xa9 and quotes", "odd");
    stdfs::create_hard_link(image.in_tree("sizes/4097"), image.in_tree("few/link"));
    stdfs::create_directory(image.in_tree("empty"));
}

/// debugfs gives all of the inode's 60 bytes of content, whatever the size says, and no hole behind them.
bool is_inline_dump(const std::string& dumped, const std::string& read) {
    const std::size_t both = std::min(dumped.size(), read.size());
    const std::string rest = dumped.substr(both) + read.substr(both);
    return dumped.size() == 60 && dumped.substr(0, both) == read.substr(0, both) &&
           rest.find_first_not_of('\0') == std::string::npos;
}

struct Kind {
    const char* name;
    const char* options;
    const char* size = "20M";
};

class Ext4Kinds : public testing::TestWithParam<Kind> {};

TEST_P(Ext4Kinds, ReadAsDebugfsReadsThem) {
    const std::uint64_t seed = announced_seed();
    std::mt19937_64 random(seed);
    Ext4Image image;
    fill(image, random);
    image.format(GetParam().options, GetParam().size);
    if (HasFatalFailure())
        return;
    if (image.ask("features").find("extent") != std::string::npos) {
        // 100 blocks that were promised and never written, and a file with some of them in its middle.
        image.change("write /dev/null promised\nfallocate promised 0 99\nsif promised size 50001\n"
                     "fallocate hole/comb 3 6");
    }
    const Opened opened = open_image(image.bytes());
    ASSERT_NE(opened.filesystem, nullptr) << opened.error;
    EXPECT_EQ(opened.filesystem->notice(), "");
    const std::map<std::string, std::string> expected = image.dump_all();
    ASSERT_GE(expected.size(), 330U);
    const std::map<std::string, std::string> found = test::read_all(*opened.filesystem, seed);
    EXPECT_EQ(found.size(), expected.size());
    for (const auto& [path, content] : expected) {
        const auto file = found.find(path);
        ASSERT_NE(file, found.end()) << path;
        EXPECT_TRUE(file->second == content || is_inline_dump(content, file->second)) << path;
        if (path.starts_with("sizes/")) {
            EXPECT_EQ(stdfs::file_size(image.in_tree(path)), file->second.size()) << path;
        }
    }
    EXPECT_EQ(expected.at("few/link"), expected.at("sizes/4097"));
    const Result<FileStatus> other_case = opened.filesystem->lookup("MANY/File-17");
    ASSERT_TRUE(other_case) << other_case.error().text();
    EXPECT_EQ(other_case->inode, opened.filesystem->lookup("many/file-17")->inode);
}

INSTANTIATE_TEST_SUITE_P(
    MadeByMke2fs, Ext4Kinds,
    testing::Values(
        Kind{"ext4", "-t ext4 -b 4096"}, Kind{"ext4Of1KiB", "-t ext4 -b 1024"}, Kind{"ext4Of2KiB", "-t ext4 -b 2048"},
        Kind{"ext4Of64KiB", "-t ext4 -b 65536", "200M"}, Kind{"noChecksums", "-t ext4 -b 4096 -O ^metadata_csum"},
        Kind{"groupChecksums", "-t ext4 -b 4096 -O ^metadata_csum,uninit_bg"}, Kind{"no64bit", "-t ext4 -b 4096 -O ^64bit,^flex_bg"},
        Kind{"metaGroups", "-t ext4 -O meta_bg,^resize_inode -b 1024 -g 1024"},
        Kind{"inodesOf128", "-t ext4 -b 4096 -I 128 -O ^extra_isize"}, Kind{"inodesOf1024", "-t ext4 -b 4096 -I 1024"},
        Kind{"inlineData", "-t ext4 -b 4096 -O inline_data"}, Kind{"inlineDataOf1KiB", "-t ext4 -O inline_data -I 1024 -b 1024"},
        Kind{"bigalloc", "-t ext4 -b 4096 -O bigalloc -C 16384"}, Kind{"casefold", "-t ext4 -b 4096 -O casefold -E encoding=utf8"},
        Kind{"others", "-t ext4 -b 4096 -O large_dir,ea_inode,metadata_csum_seed,sparse_super2,orphan_file,project"},
        Kind{"ext3", "-t ext3 -b 4096"}, Kind{"ext3Of1KiB", "-t ext3 -b 1024"}, Kind{"ext2", "-t ext2 -b 4096"},
        Kind{"ext2Of1KiB", "-t ext2 -b 1024 -I 128"}, Kind{"hurdRevision0", "-t ext2 -b 4096 -r 0 -I 128 -O none"}),
    [](const testing::TestParamInfo<Kind>& kind) { return kind.param.name; });

// In blocks of 1 KiB the three steps of tables begin at 12 KiB, 268 KiB and 64.3 MiB.
TEST(Ext4Corners, TripleIndirectBlocksAndHolesAmongThem) {
    std::mt19937_64 random(announced_seed());
    Ext4Image image;
    constexpr Bytes kTriple = (12 + 256 + 65536) * 1024;
    image.put_sparse("deep", kTriple + 70'000'000,
                     {{11'000, random_text(random, 3'000)},
                      {270'000, random_text(random, 9'000)},
                      {kTriple - 2'000, random_text(random, 5'000)},
                      {kTriple + 69'000'000, random_text(random, 1'000'000)}});
    image.format("-t ext2 -b 1024");
    const Opened opened = open_image(image.bytes());
    ASSERT_NE(opened.filesystem, nullptr) << opened.error;
    EXPECT_TRUE(test::read_file_of(*opened.filesystem, "deep") == image.dump("deep"));
}

TEST(Ext4Corners, FilesOfMoreThan4GiB) {
    std::mt19937_64 random(announced_seed());
    for (const char* options : {"-t ext4", "-t ext2 -b 4096"}) {
        Ext4Image image;
        const std::map<Bytes, std::string> parts{{0, random_text(random, 100)},
                                                 {4 * kGiB - 3, random_text(random, 5'000)},
                                                 {9 * kGiB - 1, "!"}};
        image.put_sparse("huge", 9 * kGiB, parts);
        image.format(options);
        const Opened opened = open_image(image.bytes());
        ASSERT_NE(opened.filesystem, nullptr) << opened.error;
        const Result<FileStatus> status = opened.filesystem->lookup("huge");
        ASSERT_TRUE(status);
        EXPECT_EQ(status->size, 9 * kGiB);
        for (const auto& [offset, part] : parts) {
            std::string content(part.size(), '?');
            ASSERT_TRUE(opened.filesystem->read(*status, offset, std::as_writable_bytes(std::span(content.data(), content.size()))));
            EXPECT_EQ(content, part) << options << offset;
        }
        std::vector<std::byte> hole(kMiB, std::byte{1});
        ASSERT_TRUE(opened.filesystem->read(*status, 7 * kGiB, hole));
        EXPECT_EQ(hole, std::vector<std::byte>(kMiB));
        EXPECT_EQ(opened.filesystem->read(*status, 9 * kGiB, std::span(hole).first(1)).error().kind(), ErrorKind::Corrupt);
    }
}

TEST(Ext4Corners, ProtectionAgainstTwoWritersIsNoneOfAReadersBusiness) {
    Ext4Image image;
    image.put("file", "content");
    image.format("-t ext4 -O mmp");
    const Opened opened = open_image(image.bytes());
    ASSERT_NE(opened.filesystem, nullptr) << opened.error;
    EXPECT_EQ(test::read_file_of(*opened.filesystem, "file"), "content");
}

TEST(Ext4Corners, InlineContentThatWasCutLongerReadsAsZerosThere) {
    Ext4Image image;
    image.put("note", std::string(100, 'x'));
    image.format("-t ext4 -O inline_data");
    ASSERT_THAT(image.ask("stat note"), HasSubstr("Size of inline data: 100"));
    image.change("sif note size 100000");
    const Opened opened = open_image(image.bytes());
    ASSERT_NE(opened.filesystem, nullptr) << opened.error;
    EXPECT_EQ(test::read_file_of(*opened.filesystem, "note"), std::string(100, 'x') + std::string(99'900, '\0'));
}

TEST(Ext4Corners, InlineContentWhoseSecondPartIsLostIsDamageAndNoZeros) {
    Ext4Image image;
    image.put("note", std::string(100, 'x'));
    image.put("short", std::string(60, 'y'));
    image.format("-t ext4 -O inline_data,^metadata_csum");
    const std::string magic("\x00\x00\x02\xea", 4);
    for (const char first : {'x', 'y'}) {
        const std::vector<std::byte> bytes = image.bytes();
        const std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        const std::size_t place = all.find(magic, all.find(std::string(60, first)));
        ASSERT_NE(place, std::string_view::npos);
        image.overwrite(place, std::string(4, '\0'));
    }
    const Opened opened = open_image(image.bytes());
    ASSERT_NE(opened.filesystem, nullptr) << opened.error;
    const Result<FileStatus> note = opened.filesystem->lookup("note");
    ASSERT_FALSE(note);
    EXPECT_EQ(note.error().kind(), ErrorKind::Corrupt);
    EXPECT_EQ(test::read_file_of(*opened.filesystem, "short"), std::string(60, 'y'));
}

TEST(Ext4Corners, ADirectoryBlockOfZerosIsDamageAndNotEmpty) {
    for (const char* options : {"-t ext4 -b 4096 -O ^metadata_csum", "-t ext4 -b 1024"}) {
        Ext4Image image;
        image.put("dir/lost", "content");
        image.put("root", "content");
        image.format(options);
        const Bytes block = std::string_view(options).ends_with("1024") ? 1024 : 4096;
        image.overwrite(image.number("blocks dir", "") * block, std::string(block, '\0'));
        const Opened opened = open_image(image.bytes());
        ASSERT_NE(opened.filesystem, nullptr) << opened.error;
        const Result<FileStatus> lost = opened.filesystem->lookup("dir/lost");
        ASSERT_FALSE(lost);
        EXPECT_EQ(lost.error().kind(), ErrorKind::Corrupt) << lost.error().text();
        EXPECT_EQ(test::read_file_of(*opened.filesystem, "root"), "content");
    }
}

TEST(Ext4Corners, ADirectoryThatFoldsCases) {
    Ext4Image image;
    image.put("a", "A");
    image.format("-t ext4 -O casefold -E encoding=utf8");
    image.change("mkdir folding\nsif folding flags 0x40080000\nln a folding/Plain\nln a folding/Stra\xc3\x9f""e");
    ASSERT_THAT(image.ask("stat folding"), HasSubstr("0x40080000"));
    const Opened opened = open_image(image.bytes());
    ASSERT_NE(opened.filesystem, nullptr) << opened.error;
    for (const char* path : {"folding/Plain", "folding/PLAIN", "FOLDING/plain", "folding/Stra\xc3\x9f""e", "folding/STRA\xc3\x9f""E"})
        EXPECT_EQ(test::read_file_of(*opened.filesystem, path), "A") << path;
}

TEST(Ext4Corners, OneThatDiffersInCaseIsFoundTwoAreNot) {
    Ext4Image image;
    for (const char* name : {"dir/Readme", "dir/README", "dir/Only"})
        image.put(name, name);
    image.format("-t ext4");
    const Opened opened = open_image(image.bytes());
    ASSERT_NE(opened.filesystem, nullptr) << opened.error;
    EXPECT_EQ(test::read_file_of(*opened.filesystem, "dir/README"), "dir/README");
    EXPECT_EQ(test::read_file_of(*opened.filesystem, "DIR/only"), "dir/Only");
    const Result<FileStatus> both = opened.filesystem->lookup("dir/readme");
    ASSERT_FALSE(both);
    EXPECT_EQ(both.error().kind(), ErrorKind::NotFound);
    EXPECT_EQ(both.error().text(), "dir/readme: there is no such file, but 2 that differ in upper and lower case");
}

TEST(Ext4Corners, WhatCannotBeReadIsRefusedByName) {
    Ext4Image image;
    for (const char* name : {"locked", "sealed", "small", "vault/inside", "plain"})
        image.put(name, "content");
    stdfs::create_symlink("plain", image.in_tree("link"));
    stdfs::create_symlink("/etc", image.in_tree("out"));
    stdfs::create_symlink(std::string(100, 'l'), image.in_tree("long-link"));
    image.format("-t ext4");
    image.change("feature encrypt verity\nsif locked flags 0x80800\nsif sealed flags 0x180000\n"
                 "sif small flags 0x80200\nsif vault flags 0x80800\nmknod pipe p\nmknod disk b 8 0\nmknod terminal c 5 1");
    const Opened opened = open_image(image.bytes());
    ASSERT_NE(opened.filesystem, nullptr) << opened.error;
    struct Row {
        const char* path;
        ErrorKind kind;
        const char* sentence;
    };
    for (const Row& row : {
             Row{"locked", ErrorKind::Unsupported, "locked: it is encrypted by the file system (fscrypt)"},
             Row{"vault/inside", ErrorKind::Unsupported, "vault/: it is encrypted by the file system (fscrypt)"},
             Row{"sealed", ErrorKind::Unsupported, "sealed: it is protected by fs-verity"},
             Row{"small", ErrorKind::Unsupported, "small: it is compressed by the file system"},
             Row{"link", ErrorKind::Denied, "link: it is a symbolic link"},
             Row{"out/passwd", ErrorKind::Denied, "out/: it is a symbolic link"},
             Row{"long-link", ErrorKind::Denied, "long-link: it is a symbolic link"},
             Row{"pipe", ErrorKind::Denied, "pipe: it is a special file"},
             Row{"disk", ErrorKind::Denied, "disk: it is a special file"},
             Row{"terminal", ErrorKind::Denied, "terminal: it is a special file"},
             Row{"plain/x", ErrorKind::NotFound, "plain/: it is not a directory"},
             Row{"none", ErrorKind::NotFound, "none: there is no such file"},
             Row{"../plain", ErrorKind::InvalidArgument, "a path may not contain \"..\""},
         }) {
        const Result<FileStatus> status = opened.filesystem->lookup(row.path);
        ASSERT_FALSE(status) << row.path;
        EXPECT_EQ(status.error().kind(), row.kind) << status.error().text();
        EXPECT_EQ(status.error().text(), row.sentence);
    }
    EXPECT_EQ(test::read_file_of(*opened.filesystem, "plain"), "content");
}

TEST(Ext4Corners, AnEncryptedRootSaysSo) {
    Ext4Image image;
    image.format("-t ext4");
    image.change("feature encrypt\nsif / flags 0x80800");
    const Opened opened = open_image(image.bytes());
    ASSERT_EQ(opened.filesystem, nullptr);
    EXPECT_EQ(opened.error, "the root directory cannot be read: it is encrypted by the file system (fscrypt)");
    EXPECT_EQ(opened.status, "VolumeNotNtfs");
}

TEST(Ext4Corners, UnknownFeaturesAreNamed) {
    Ext4Image image;
    image.format("-t ext4");
    // s_feature_incompat, as it is but with compression, dirdata and a bit of the future.
    const std::vector<std::byte> bytes = image.bytes();
    std::string features(reinterpret_cast<const char*>(bytes.data()) + 1024 + 0x60, 4);
    features[0] = static_cast<char>(features[0] | 0x01);
    features[1] = static_cast<char>(features[1] | 0x10);
    features[3] = static_cast<char>(features[3] | 0x40);
    image.overwrite(1024 + 0x60, features);
    const Opened opened = open_image(image.bytes());
    ASSERT_EQ(opened.filesystem, nullptr);
    EXPECT_EQ(opened.error, "the ext4 uses features that cannot be read: compression, dirdata, 0x40000000");
    EXPECT_EQ(opened.kind, ErrorKind::Unsupported);
    EXPECT_EQ(opened.status, "VolumeNotNtfs");
}

TEST(Ext4Corners, AnExternalJournalIsNoFileSystem) {
    Ext4Image image;
    ASSERT_EQ(image.run("mke2fs -q -F -O journal_dev -b 4096 IMAGE 8M"), 0);
    const Opened opened = open_image(image.bytes());
    ASSERT_EQ(opened.filesystem, nullptr);
    EXPECT_EQ(opened.error, "the volume holds the external journal of another ext4, and no files");
    EXPECT_EQ(opened.status, "VolumeNotNtfs");
}

TEST(Ext4Corners, AFileSystemThatWasCutOffSaysSo) {
    Ext4Image image;
    image.format("-t ext4");
    std::vector<std::byte> bytes = image.bytes();
    EXPECT_NE(open_image(bytes).filesystem, nullptr);
    bytes.resize(bytes.size() - 4096);
    const Opened opened = open_image(bytes);
    ASSERT_EQ(opened.filesystem, nullptr);
    EXPECT_THAT(opened.error, HasSubstr("it was cut off"));
    EXPECT_EQ(opened.status, "DiskOperationFailed");
}

TEST(Ext4Corners, AJournalThatNeedsRecoveryIsSaidAndTheRestIsRead) {
    Ext4Image image;
    image.put("file", "content");
    image.format("-t ext4", "16M");
    image.change("jo\njw -b 3000 /dev/null\njc");
    ASSERT_THAT(image.ask("features"), HasSubstr("needs_recovery"));
    const Opened opened = open_image(image.bytes());
    ASSERT_NE(opened.filesystem, nullptr) << opened.error;
    EXPECT_THAT(opened.filesystem->notice(), HasSubstr("was not unmounted cleanly: changes that only its journal knows"));
    EXPECT_EQ(test::read_file_of(*opened.filesystem, "file"), "content");
}

TEST(Ext4Corners, OtherUncleanEndsAreSaidAsWell) {
    struct Row {
        const char* options;
        const char* requests;
        const char* notice;
    };
    for (const Row& row : {
             Row{"-t ext4", "feature needs_recovery\nssv journal_inum 0\nssv journal_dev 0x801", "its journal is on another device"},
             Row{"-t ext2", "ssv state 0", "has no journal and was not unmounted cleanly"},
             Row{"-t ext4", "ssv state 3", "is marked as damaged"},
             Row{"-t ext4", "ssv state 1", ""},
         }) {
        Ext4Image image;
        image.put("file", "content");
        image.format(row.options);
        image.change(row.requests);
        const Opened opened = open_image(image.bytes());
        ASSERT_NE(opened.filesystem, nullptr) << opened.error;
        if (*row.notice == '\0')
            EXPECT_EQ(opened.filesystem->notice(), "") << row.requests;
        else
            EXPECT_THAT(opened.filesystem->notice(), HasSubstr(row.notice)) << row.requests;
        EXPECT_EQ(test::read_file_of(*opened.filesystem, "file"), "content");
    }
}

}  // namespace
}  // namespace dray::fs
