// SPDX-License-Identifier: Apache-2.0
//
// File systems made to keep a reader busy. Each ends with an answer or an error after work that is counted:
// reads of the device and bytes read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <iostream>
#include <random>

#include "drivers/filesystem/ext4/ext4_directory.hpp"
#include "drivers/filesystem/ext4/ext4_reader.hpp"
#include "drivers/filesystem/ext4/htree.hpp"
#include "tests/unit/filesystem/ext4_image.hpp"

namespace dray::fs {
namespace {

using test::Ext4Image;
using test::open_image;
using test::Opened;
using testing::HasSubstr;

std::string little_endian(std::uint64_t value, std::size_t bytes) {
    std::string text;
    for (std::size_t i = 0; i < bytes; ++i)
        text += static_cast<char>(value >> (8 * i));
    return text;
}

/// The blocks of a directory with these names, all of the same inode. As the content of a file it becomes a
/// directory when debugfs changes the file's mode.
class Entries {
public:
    explicit Entries(std::size_t block = 4096) : block_(block) {}
    void add(std::string_view name, std::uint32_t inode) {
        const std::size_t length = (8 + name.size() + 3) / 4 * 4;
        if (block_ - content_.size() % block_ < length || (last_ == content_.size() && content_.size() % block_ == 0))
            close_block();
        last_ = content_.size();
        content_ += little_endian(inode, 4) + little_endian(length, 2) + static_cast<char>(name.size()) + '\1' +
                    std::string(name);
        content_.resize(last_ + length);
    }
    const std::string& finish() {
        close_block();
        return content_;
    }

private:
    /// The last entry reaches to the end of the block.
    void close_block() {
        if (content_.size() % block_ == 0)
            return;
        const std::size_t end = (content_.size() + block_ - 1) / block_ * block_;
        content_.replace(last_ + 4, 2, little_endian(end - last_, 2));
        content_.resize(end);
    }
    std::size_t block_;
    std::string content_;
    std::size_t last_ = 0;
};

/// All ways to write a word in upper and lower case, by number.
std::string cased(std::string word, std::uint64_t number) {
    for (char& letter : word) {
        if ((number & 1) != 0)
            letter = static_cast<char>(letter - 32);
        number >>= 1;
    }
    return word;
}

const std::string kWord = "abcdefghijklmnopqrst";

TEST(Ext4Hostile, HalfAMillionNamesThatDifferInCaseAreToldApartWithoutALookAtEach) {
    constexpr std::uint64_t kNames = 500'000;
    Ext4Image image;
    image.put("target", "right");
    Entries entries;
    for (std::uint64_t i = 0; i < kNames; ++i)
        entries.add(cased(kWord, i), 12);
    image.put("dir", entries.finish());
    image.format("-t ext4 -b 4096 -O ^metadata_csum", "40M");
    image.change("sif dir mode 040755");
    Opened opened = open_image(image.bytes());
    ASSERT_NE(opened.filesystem, nullptr) << opened.error;
    ASSERT_TRUE(opened.filesystem->lookup("dir/" + kWord));
    opened.device->reads = 0;
    constexpr std::size_t kLookups = 1000;
    for (std::uint64_t i = 0; i < kLookups; ++i)
        ASSERT_TRUE(opened.filesystem->lookup("dir/" + cased(kWord, i * 499)));
    // One line of the directory each, and nothing for those that are not there.
    EXPECT_LE(opened.device->reads, 2 * kLookups);
    opened.device->reads = 0;
    for (std::uint64_t i = 0; i < kLookups; ++i)
        ASSERT_EQ(opened.filesystem->lookup("dir/" + cased(kWord, kNames + i)).error().kind(), ErrorKind::NotFound);
    EXPECT_EQ(opened.device->reads, 0U);
}

TEST(Ext4Hostile, OneNameAQuarterOfAMillionTimes) {
    Ext4Image image;
    Entries entries;
    for (int i = 0; i < 250'000; ++i)
        entries.add("same-name-again", 12);
    image.put("dir", entries.finish());
    image.format("-t ext4 -b 4096 -O ^metadata_csum", "20M");
    image.change("sif dir mode 040755");
    Opened opened = open_image(image.bytes());
    ASSERT_NE(opened.filesystem, nullptr) << opened.error;
    (void)opened.filesystem->lookup("dir/none");
    opened.device->reads = 0;
    EXPECT_TRUE(opened.filesystem->lookup("dir/same-name-again"));
    EXPECT_EQ(opened.filesystem->lookup("dir/Same-Name-Again").error().kind(), ErrorKind::NotFound);
    EXPECT_LE(opened.device->reads, 4U);
}

TEST(Ext4Hostile, ADirectoryThatContainsItself) {
    Ext4Image image;
    image.put("file", "content");
    image.put("loop/x", "");
    image.format("-t ext4 -b 4096 -O ^metadata_csum");
    image.change("ln loop loop/again\nln file loop/file");
    Opened opened = open_image(image.bytes());
    ASSERT_NE(opened.filesystem, nullptr) << opened.error;
    std::string path = "loop/";
    for (int i = 0; i < 5000; ++i)
        path += "again/";
    opened.device->reads = 0;
    EXPECT_EQ(test::read_file_of(*opened.filesystem, path + "file"), "content");
    EXPECT_LE(opened.device->reads, 8U);
}

TEST(Ext4Hostile, SizesAtTheLimitAndBehind) {
    Ext4Image image;
    image.put("extents", "content");
    image.put("dir/x", "");
    image.format("-t ext4 -b 4096 -O ^metadata_csum");
    Ext4Image old;
    old.put("blocks", "content");
    old.format("-t ext2 -b 1024");
    struct Row {
        Ext4Image& image;
        const char* path;
        Bytes size;
        bool is_right;
    };
    constexpr Bytes kMostExtents = Bytes{0xffffffff} * 4096;
    constexpr Bytes kMostBlocks = (12 + 256 + 65536 + 16777216ULL) * 1024;
    for (const Row& row : {
             Row{image, "extents", kMostExtents, true},
             Row{image, "extents", kMostExtents + 1, false},
             Row{image, "extents", Bytes{1} << 63, false},
             Row{image, "extents", ~Bytes{0}, false},
             Row{old, "blocks", kMostBlocks, true},
             Row{old, "blocks", kMostBlocks + 1, false},
         }) {
        row.image.change("sif " + std::string(row.path) + " size " + std::to_string(row.size));
        Opened opened = open_image(row.image.bytes());
        ASSERT_NE(opened.filesystem, nullptr) << opened.error;
        const Result<FileStatus> status = opened.filesystem->lookup(row.path);
        ASSERT_EQ(status.has_value(), row.is_right) << row.path << row.size;
        if (!status) {
            EXPECT_EQ(status.error().kind(), ErrorKind::Corrupt);
            EXPECT_THAT(status.error().text(), HasSubstr("has an impossible size of"));
            continue;
        }
        EXPECT_EQ(status->size, row.size);
        std::vector<std::byte> end(kMiB, std::byte{1});
        opened.device->reads = 0;
        ASSERT_TRUE(opened.filesystem->read(*status, row.size - end.size(), end));
        EXPECT_EQ(end, std::vector<std::byte>(kMiB));
        EXPECT_LE(opened.device->reads, 4U);
    }
    // A directory is longer than any honest one at 1 GiB; up to there its holes cost nothing.
    for (const auto& [size, is_right] : {std::pair(kGiB, true), std::pair(kGiB + 4096, false)}) {
        image.change("sif dir size " + std::to_string(size));
        Opened opened = open_image(image.bytes());
        ASSERT_NE(opened.filesystem, nullptr) << opened.error;
        EXPECT_EQ(opened.filesystem->lookup("dir/x").has_value(), is_right) << size;
        EXPECT_EQ(opened.filesystem->lookup("dir/y").error().kind(), is_right ? ErrorKind::NotFound : ErrorKind::LimitReached);
        EXPECT_LE(opened.device->reads, 32U);
    }
}

TEST(Ext4Hostile, ExtentsThatPointOutOfTheFileSystem) {
    // block[5] is where the first extent lies, block[4] its length and the high bits of where.
    struct Row {
        const char* requests;
        bool is_right;
    };
    for (const Row& row : {Row{"sif file block[5] 2046", true}, Row{"sif file block[5] 2047", false},
                           Row{"sif file block[5] 0xffffffff", false}, Row{"sif file block[4] 0xffff0002", false},
                           Row{"sif file block[4] 0", false}, Row{"sif file block[0] 0", false},
                           Row{"sif file block[0] 0xfff0f30a", false}, Row{"sif file block[1] 0x00060004", false}}) {
        Ext4Image changed;
        changed.put("file", std::string(8192, 'x'));
        changed.format("-t ext4 -b 4096 -O ^metadata_csum");
        ASSERT_THAT(changed.ask("stat file"), HasSubstr("EXTENTS"));
        changed.change(row.requests);
        Opened opened = open_image(changed.bytes());
        ASSERT_NE(opened.filesystem, nullptr) << opened.error;
        const Result<FileStatus> status = opened.filesystem->lookup("file");
        ASSERT_TRUE(status) << status.error().text();
        std::vector<std::byte> content(8192);
        opened.device->reads = 0;
        const Result<void> read = opened.filesystem->read(*status, 0, content);
        EXPECT_EQ(read.has_value(), row.is_right) << row.requests;
        if (!read) {
            EXPECT_EQ(read.error().kind(), ErrorKind::Corrupt) << read.error().text();
        }
        EXPECT_LE(opened.device->reads, 4U);
    }
}

/// A leaf below the root of the file's tree: its first block, its fiftieth, and then its first again and again.
void plant_leaf(Ext4Image& image, std::uint16_t count) {
    const std::uint64_t leaf = image.number("ffb 1", "Free blocks found: ");
    std::string node = little_endian(0xf30a, 2) + little_endian(count, 2) + little_endian(340, 2) + std::string(6, '\0');
    for (int i = 0; i < count; ++i)
        node += little_endian(i == 1 ? 50 : 0, 4) + little_endian(1, 2) + little_endian(0, 2) + little_endian(100, 4);
    image.overwrite(leaf * 4096, node);
    image.change("sif file block[0] 0x0001f30a\nsif file block[1] 0x00010004\nsif file block[3] 0\nsif file block[4] " +
                 std::to_string(leaf) + "\nsif file block[5] 0\nsif file size 1000000");
}

TEST(Ext4Hostile, ATreeOfExtentsThatLeadsNowhere) {
    for (const auto& [count, is_right] : {std::pair<std::uint16_t, bool>(2, true), {340, false}}) {
        Ext4Image image;
        image.put("file", std::string(8192, 'x'));
        image.format("-t ext4 -b 4096 -O ^metadata_csum");
        plant_leaf(image, count);
        Opened opened = open_image(image.bytes());
        ASSERT_NE(opened.filesystem, nullptr) << opened.error;
        const Result<FileStatus> status = opened.filesystem->lookup("file");
        ASSERT_TRUE(status) << status.error().text();
        std::vector<std::byte> content(4096);
        const Result<void> read = opened.filesystem->read(*status, 40960, content);
        EXPECT_EQ(read.has_value(), is_right) << (read ? "" : read.error().text());
        if (!read) {
            EXPECT_EQ(read.error().kind(), ErrorKind::Corrupt);
            // From the first block on the same extents are out of order.
            EXPECT_THAT(opened.filesystem->read(*status, 0, content).error().text(), HasSubstr("out of order"));
        }
        EXPECT_LE(opened.device->reads, 8U);
    }
}

TEST(Ext4Hostile, OneBlockThatIsAWholeDirectoryAgainAndAgain) {
    Ext4Image image;
    Entries entries(1024);
    for (int i = 0; i < 60; ++i)
        entries.add("name-" + std::to_string(i), 12);
    image.put("dir", entries.finish());
    image.format("-t ext2 -b 1024", "256K");
    const std::uint64_t content = image.number("bmap dir 0", "");
    const std::uint64_t table = image.number("ffb 1", "Free blocks found: ");
    ASSERT_GT(content, 0U);
    // Each table is one block, full of what is one step below.
    std::string requests = "sif dir mode 040755\nsif dir size 1000000512\n";
    for (int i = 0; i < 12; ++i)
        requests += "sif dir block[" + std::to_string(i) + "] " + std::to_string(content) + "\n";
    std::uint64_t below = content;
    for (int depth = 0; depth < 3; ++depth) {
        std::string pointers;
        for (int i = 0; i < 256; ++i)
            pointers += little_endian(below, 4);
        below = table + static_cast<std::uint64_t>(depth);
        image.overwrite(below * 1024, pointers);
        requests += std::string("sif dir block[") + (depth == 0 ? "" : depth == 1 ? "D" : "T") + "IND] " + std::to_string(below) + "\n";
    }
    image.change(requests);
    Opened opened = open_image(image.bytes());
    ASSERT_NE(opened.filesystem, nullptr) << opened.error;
    std::size_t entries_seen = 0;
    const Result<void> listed = opened.filesystem->list("dir", [&](const FileSystem::Entry&) {
        ++entries_seen;
        return true;
    });
    ASSERT_FALSE(listed);
    EXPECT_EQ(listed.error().text(), "a directory is longer than its file system");
    EXPECT_LE(entries_seen, 256U * 60);
    EXPECT_TRUE(opened.filesystem->lookup("dir/name-7"));
    EXPECT_EQ(opened.filesystem->lookup("dir/none").error().kind(), ErrorKind::Corrupt);
    EXPECT_LE(opened.device->reads, 16U);
}

TEST(Ext4Hostile, TablesOfInodesThatOverlap) {
    Ext4Image image;
    for (int i = 0; i < 100; ++i)
        image.put("d" + std::to_string(i) + "/f", "content");
    image.format("-t ext4 -O ^metadata_csum,^flex_bg -b 1024 -g 1024 -N 400");
    ASSERT_THAT(image.ask("stats"), HasSubstr("Group  4"));
    image.change("set_bg 1 inode_table 30\nset_bg 2 inode_table 30\nset_bg 3 inode_table 8191\nset_bg 4 inode_table 0");
    Opened opened = open_image(image.bytes());
    ASSERT_NE(opened.filesystem, nullptr) << opened.error;
    int answered = 0;
    for (int i = 0; i < 100; ++i) {
        opened.device->reads = 0;
        const Result<FileStatus> status = opened.filesystem->lookup("d" + std::to_string(i) + "/f");
        answered += status ? 1 : 0;
        EXPECT_LE(opened.device->reads, 16U);
    }
    EXPECT_GT(answered, 0);
    EXPECT_LT(answered, 100);
}

TEST(Ext4Hostile, TooManyGroupsAreRefusedBeforeRoomIsMadeForThem) {
    Ext4Image image;
    image.format("-t ext4 -b 1024 -O ^metadata_csum,^flex_bg -g 256", "32M");
    EXPECT_NE(open_image(image.bytes()).filesystem, nullptr);
    image.overwrite(1024 + 0x20, little_endian(128, 4));
    Opened opened = open_image(image.bytes());
    ASSERT_EQ(opened.filesystem, nullptr);
    EXPECT_EQ(opened.error, "the superblock names groups of 128 blocks");
    EXPECT_LE(opened.device->reads, 2U);
}

/// debugfs' libext2fs and ours, on one image, to look into rooms that the reader has no door to.
struct Library {
    explicit Library(std::vector<std::byte> bytes) : device(std::move(bytes), 512), io(device) {
        EXPECT_EQ(ext2fs_open2(io.name(), nullptr, EXT2_FLAG_64BITS, 0, 0, BlockIo::manager(), &fs), 0);
    }
    ~Library() { ext2fs_free(fs); }
    Library(const Library&) = delete;
    Library& operator=(const Library&) = delete;
    FileMap map(std::uint64_t inode) { return *FileMap::open(fs, io, static_cast<ext2_ino_t>(inode)); }

    test::MemoryDevice device;
    BlockIo io;
    ext2_filsys fs = nullptr;
};

/// A directory "dir" with so many names of one file "target".
void put_links(Ext4Image& image, const std::string& name, int count) {
    image.put("target", "content");
    std::filesystem::create_directory(image.in_tree("dir"));
    for (int i = 0; i < count; ++i)
        std::filesystem::create_hard_link(image.in_tree("target"), image.in_tree("dir/" + name + std::to_string(i)));
}

class Ext4LargeDirectory : public testing::TestWithParam<const char*> {};

TEST_P(Ext4LargeDirectory, IsSearchedByItsOwnHashTree) {
    constexpr int kNames = 4000;
    Ext4Image image;
    put_links(image, "a-somewhat-longer-name-\xc3\xa9-", kNames);
    image.format("-t ext4 -b 1024", "16M");
    ASSERT_EQ(image.run("tune2fs -E hash_alg=" + std::string(GetParam()) + " IMAGE"), 0);
    ASSERT_LE(image.run("e2fsck -fyD IMAGE"), 1);
    ASSERT_THAT(image.ask("htree dir"), HasSubstr("Indirect levels: 1"));
    const std::uint64_t inode = image.number("stat dir", "Inode: ");
    const std::uint64_t target = image.number("stat target", "Inode: ");

    Library library(image.bytes());
    // The limit on both sides: with an index, cases do not count; without, they do.
    Result<DirectoryIndex> within = DirectoryIndex::build(library.map(inode), kNames, HashKey{});
    Result<DirectoryIndex> beyond = DirectoryIndex::build(library.map(inode), kNames - 1, HashKey{});
    ASSERT_TRUE(within && beyond);
    EXPECT_EQ(within->size(), std::size_t{kNames});
    EXPECT_EQ(beyond->size(), 0U);
    EXPECT_TRUE(within->find("A-SOMEWHAT-LONGER-NAME-\xc3\xa9-17"));
    for (int i = 0; i < kNames; ++i) {
        const Result<ext2_ino_t> found = beyond->find("a-somewhat-longer-name-\xc3\xa9-" + std::to_string(i));
        ASSERT_TRUE(found) << i << ": " << found.error().text();
        ASSERT_EQ(*found, target);
    }
    const Result<ext2_ino_t> other = beyond->find("A-SOMEWHAT-LONGER-NAME-\xc3\xa9-17");
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().text(), "there is no such file (in so large a directory upper and lower case count)");
    int blocks = 0;
    FileMap map = library.map(inode);
    ASSERT_TRUE(visit_hashed(map, "none", [&](Bytes) -> Result<bool> { return ++blocks < 1000; }));
    EXPECT_LE(blocks, 2);
}

INSTANTIATE_TEST_SUITE_P(Hashes, Ext4LargeDirectory, testing::Values("half_md4", "tea", "legacy"),
                         [](const testing::TestParamInfo<const char*>& kind) { return std::string(kind.param); });

TEST(Ext4Hostile, ALargeDirectoryWithoutAHashTreeIsRefusedByName) {
    Ext4Image image;
    for (int i = 0; i < 100; ++i)
        image.put("dir/" + std::to_string(i), "");
    image.format("-t ext4 -O ^dir_index");
    Library library(image.bytes());
    Result<DirectoryIndex> index =
        DirectoryIndex::build(library.map(image.number("stat dir", "Inode: ")), 99, HashKey{});
    ASSERT_TRUE(index);
    const Result<ext2_ino_t> found = index->find("5");
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().kind(), ErrorKind::Unsupported);
    EXPECT_EQ(found.error().text(), "a directory of so many entries without a hash tree cannot be searched");
}

TEST(Ext4Hostile, HashTreesThatAreDamagedEndSoon) {
    const auto seed = std::random_device{}();
    std::cout << "seed " << seed << '\n';
    std::mt19937 random(seed);
    Ext4Image image;
    put_links(image, "a-somewhat-longer-name-", 4000);
    image.format("-t ext4 -b 1024 -O ^metadata_csum", "8M");
    ASSERT_LE(image.run("e2fsck -fyD IMAGE"), 1);
    const std::uint64_t inode = image.number("stat dir", "Inode: ");
    const std::vector<std::byte> bytes = image.bytes();
    ASSERT_THAT(image.ask("htree dir"), HasSubstr("Indirect levels: 1"));
    const std::uint64_t root = image.number("bmap dir 0", "") * 1024;
    ASSERT_GT(root, 0U);
    for (int round = 0; round < 300; ++round) {
        std::vector<std::byte> changed = bytes;
        for (int i = 0; i < 20; ++i)
            changed[root + 24 + random() % 400] = static_cast<std::byte>(random());
        if (round == 0)  // all blocks with the same hash
            for (std::size_t place = root + 40; place + 4 < root + 1024; place += 8)
                std::fill_n(changed.begin() + static_cast<std::ptrdiff_t>(place), 4, std::byte{0});
        Library library(std::move(changed));
        FileMap map = library.map(inode);
        int blocks = 0;
        const Result<void> visited = visit_hashed(map, "a-somewhat-longer-name-77", [&](Bytes) -> Result<bool> {
            ++blocks;
            return true;
        });
        if (!visited) {
            ASSERT_TRUE(visited.error().kind() == ErrorKind::Corrupt || visited.error().kind() == ErrorKind::Unsupported)
                << visited.error().text();
        }
        ASSERT_LE(blocks, 64);
    }
}

// Every sector in turn: whatever cannot be read, the content of all other files is right, and an error is
// the device's own.
TEST(Ext4Hostile, OneSectorThatCannotBeReadCostsWhatIsInIt) {
    Ext4Image image;
    std::map<std::string, std::string> files;
    for (int i = 0; i < 40; ++i)
        files["dir" + std::to_string(i % 4) + "/file-" + std::to_string(i)] = std::string(static_cast<std::size_t>(i) * 100, static_cast<char>('a' + i % 26));
    for (const auto& [path, content] : files)
        image.put(path, content);
    image.format("-t ext4 -b 1024 -N 128 -O ^has_journal,^resize_inode", "512K");
    const std::vector<std::byte> bytes = image.bytes();
    std::size_t lost_most = 0;
    int unopened = 0;
    for (std::size_t sector = 0; sector < bytes.size(); sector += 512) {
        Opened opened;
        opened.device = std::make_unique<test::MemoryDevice>(bytes, 512);
        opened.device->bad_sector = sector;
        auto filesystem = Ext4Reader::open(*opened.device);
        if (!filesystem) {
            EXPECT_EQ(filesystem.error().kind(), ErrorKind::Internal) << sector << ": " << filesystem.error().text();
            EXPECT_THAT(filesystem.error().text(), HasSubstr("Input/output error"));
            ++unopened;
            continue;
        }
        std::size_t lost = 0;
        for (const auto& [path, content] : files) {
            Error error(ErrorKind::NotFound, "");
            const Result<FileStatus> status = (*filesystem)->lookup(path);
            if (status) {
                std::string text(content.size(), '?');
                const Result<void> read = (*filesystem)->read(*status, 0, std::as_writable_bytes(std::span(text.data(), text.size())));
                if (read) {
                    ASSERT_EQ(text, content) << sector << path;
                    continue;
                }
                error = read.error();
            } else {
                error = status.error();
            }
            ++lost;
            ASSERT_EQ(error.kind(), ErrorKind::Internal) << sector << path << error.text();
            ASSERT_THAT(error.text(), HasSubstr("Input/output error"));
        }
        lost_most = std::max(lost_most, lost);
        EXPECT_LE(opened.device->bad_reads, 200U) << sector;
        // A second look is a look at the device.
        opened.device->bad_sector.reset();
        for (const auto& [path, content] : files)
            ASSERT_EQ(test::read_file_of(**filesystem, path), content) << sector;
    }
    // The superblock, the descriptors, the root's inode and directory.
    EXPECT_LE(unopened, 10);
    EXPECT_GE(unopened, 4);
    // At most a directory's own inode or block, with the ten files in it.
    EXPECT_LE(lost_most, 40U);
}

}  // namespace
}  // namespace dray::fs
