// SPDX-License-Identifier: Apache-2.0
//
// File systems made by Ext4Writer, as e2fsck, debugfs and our own reader see them.
#include "drivers/filesystem/ext4/ext4_writer.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <random>
#include <sstream>

#include "daemon/base/file.hpp"
#include "drivers/filesystem/open_filesystem.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/unit/filesystem/memory_device.hpp"

namespace dray::fs {
namespace {

namespace stdfs = std::filesystem;
using test::MemoryDevice;
using Content = std::vector<std::byte>;

constexpr std::byte kOld{0x5a};
const TimePoint kTime = from_usec(1'700'000'000'123'456);

/// In memory, and full of something old that must not show anywhere.
class Disk {
public:
    explicit Disk(Bytes size, std::uint64_t inodes = 100, std::string label = "")
        : device_(Content(static_cast<std::size_t>(size), kOld), 4096) {
        Result<std::unique_ptr<Ext4Writer>> made =
            Ext4Writer::format(device_, {std::move(label), inodes});
        EXPECT_TRUE(made) << made.error().text();
        if (made)
            writer_ = *std::move(made);
    }
    Disk(const Disk&) = delete;
    Disk& operator=(const Disk&) = delete;

    Ext4Writer& writer() { return *writer_; }
    MemoryDevice& device() { return device_; }

    void put(const std::string& path, Content content) {
        Result<NewFile> file = writer_->create(path, content.size(), kTime);
        ASSERT_TRUE(file) << path << ": " << file.error().text();
        const Result<void> written = writer_->write(*file, 0, content);
        ASSERT_TRUE(written) << path << ": " << written.error().text();
        ASSERT_TRUE(writer_->close(*file));
    }

    /// Finishes, and lets e2fsck have a look.
    void finish() {
        const Result<void> finished = writer_->finish();
        ASSERT_TRUE(finished) << finished.error().text();
        std::ofstream out(directory_ / "image", std::ios::binary);
        out.write(reinterpret_cast<const char*>(device_.content.data()),
                  static_cast<std::streamsize>(device_.size()));
        out.close();
        const int status = std::system(
            ("e2fsck -fn " + directory_ / "image" + " >" + directory_ / "log" + " 2>&1").c_str());
        EXPECT_EQ(status, 0) << text_of("log");
    }

    /// After finish(): what debugfs answers.
    std::string ask(const std::string& request) {
        EXPECT_EQ(std::system(("cd " + directory_.path().string() + " && debugfs -R '" + request +
                               "' image >answer 2>/dev/null")
                                  .c_str()),
                  0);
        return text_of("answer");
    }

    std::string text_of(const std::string& name) {
        std::ostringstream text;
        text << std::ifstream(directory_ / name, std::ios::binary).rdbuf();
        return text.str();
    }

private:
    MemoryDevice device_;
    std::unique_ptr<Ext4Writer> writer_;
    test::ScratchDirectory directory_;
};

Content random_content(std::mt19937_64& random, std::size_t size) {
    Content content(size);
    for (std::byte& byte : content)
        byte = static_cast<std::byte>(random());
    return content;
}

Content read_whole(FileSystem& filesystem, const std::string& path) {
    const Result<FileStatus> status = filesystem.lookup(path);
    EXPECT_TRUE(status) << path << ": " << status.error().text();
    if (!status)
        return {};
    Content content(static_cast<std::size_t>(status->size));
    const Result<void> read = filesystem.read(*status, 0, content);
    EXPECT_TRUE(read) << path << ": " << read.error().text();
    return content;
}

std::unique_ptr<FileSystem> reopen(Disk& disk) {
    auto opened = open_filesystem(disk.device());
    EXPECT_TRUE(opened) << opened.error().error.text();
    return opened ? *std::move(opened) : nullptr;
}

std::uint64_t announced_seed() {
    const auto seed = std::random_device{}();
    std::cout << "seed " << seed << '\n';
    return seed;
}

TEST(Ext4Writer, EmptyIsClean) {
    for (const Bytes size : {kMiB, 5 * kMiB, 16 * kMiB, 130 * kMiB, 260 * kMiB + 4096}) {
        Disk disk(size, 10, "lyon");
        disk.finish();
        EXPECT_NE(disk.ask("stats -h").find("Filesystem volume name:   lyon"), std::string::npos);
        EXPECT_NE(reopen(disk), nullptr);
    }
}

TEST(Ext4Writer, GivesBackWhatWasWritten) {
    std::mt19937_64 random(announced_seed());
    Disk disk(200 * kMiB, 400);
    std::map<std::string, Content> files;
    std::string deep;
    for (int depth = 0; depth < 40; ++depth) {
        deep += (depth == 0 ? "d" : "/d") + std::to_string(depth);
        ASSERT_TRUE(disk.writer().make_directory(deep));
        files[deep + "/here"] = random_content(random, random() % 9000);
    }
    for (const std::size_t size :
         {0UL, 1UL, 4095UL, 4096UL, 4097UL, 131072UL, 131073UL, 30000000UL})
        files["size-" + std::to_string(size)] = random_content(random, size);
    files[std::string(255, 'n')] = random_content(random, 10);
    files["with space, \xc3\xa9 and 'quotes'"] = random_content(random, 5000);
    for (const auto& [path, content] : files)
        disk.put(path, content);
    disk.finish();
    const std::unique_ptr<FileSystem> filesystem = reopen(disk);
    ASSERT_NE(filesystem, nullptr);
    for (const auto& [path, content] : files)
        EXPECT_TRUE(read_whole(*filesystem, path) == content) << path;
    disk.ask("dump /size-30000000 dumped");
    const std::string dumped = disk.text_of("dumped");
    const auto bytes = std::as_bytes(std::span(dumped.data(), dumped.size()));
    EXPECT_TRUE(std::ranges::equal(bytes, files["size-30000000"]));
    EXPECT_EQ(filesystem->notice(), "");
}

TEST(Ext4Writer, FilesMayBeFilledInAnyOrderAndPiecesTogether) {
    std::mt19937_64 random(announced_seed());
    Disk disk(100 * kMiB);
    struct One {
        Content content;
        NewFile file;
        std::vector<std::pair<std::size_t, std::size_t>> pieces;
    };
    std::vector<One> files(8);
    std::vector<std::pair<std::size_t, std::size_t>> order;
    for (std::size_t i = 0; i < files.size(); ++i) {
        files[i].content = random_content(random, random() % 6'000'000);
        Result<NewFile> file =
            disk.writer().create(std::to_string(i), files[i].content.size(), kTime);
        ASSERT_TRUE(file);
        files[i].file = *std::move(file);
        for (std::size_t begin = 0; begin < files[i].content.size();) {
            const std::size_t length =
                std::min<std::size_t>(1 + random() % (random() % 2 == 0 ? 3000 : 500'000),
                                      files[i].content.size() - begin);
            // Some are never written: they are holes in the expectation.
            if (random() % 10 == 0)
                std::fill_n(files[i].content.begin() + static_cast<std::ptrdiff_t>(begin), length,
                            std::byte{0});
            else
                files[i].pieces.emplace_back(begin, length);
            begin += length;
        }
        for (std::size_t piece = 0; piece < files[i].pieces.size(); ++piece)
            order.emplace_back(i, piece);
    }
    std::shuffle(order.begin(), order.end(), random);
    for (const auto& [i, piece] : order) {
        const auto [begin, length] = files[i].pieces[piece];
        const auto from = files[i].content.begin() + static_cast<std::ptrdiff_t>(begin);
        Content copy(from, from + static_cast<std::ptrdiff_t>(length));
        ASSERT_TRUE(disk.writer().write(files[i].file, begin, copy));
    }
    for (One& one : files)
        ASSERT_TRUE(disk.writer().close(one.file));
    disk.finish();
    const std::unique_ptr<FileSystem> filesystem = reopen(disk);
    ASSERT_NE(filesystem, nullptr);
    for (std::size_t i = 0; i < files.size(); ++i)
        EXPECT_TRUE(read_whole(*filesystem, std::to_string(i)) == files[i].content) << i;
}

TEST(Ext4Writer, LeavesNothingOldBehindTheEndOfAFile) {
    Disk disk(20 * kMiB);
    const std::string text(5000, 't');
    const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
    disk.put("written", {bytes.begin(), bytes.end()});
    Result<NewFile> file = disk.writer().create("abandoned", 10000, kTime);
    ASSERT_TRUE(file);
    ASSERT_TRUE(disk.writer().close(*file));
    disk.finish();
    // The blocks themselves, slack included.
    const std::string blocks = disk.ask("blocks written") + disk.ask("blocks abandoned");
    std::istringstream in(blocks);
    int looked_at = 0;
    for (std::size_t block = 0; in >> block; ++looked_at)
        for (std::size_t i = 0; i < 4096; ++i)
            ASSERT_NE(disk.device().content[block * 4096 + i], kOld) << block << " " << i;
    EXPECT_EQ(looked_at, 5);
    const std::unique_ptr<FileSystem> filesystem = reopen(disk);
    ASSERT_NE(filesystem, nullptr);
    EXPECT_TRUE(read_whole(*filesystem, "abandoned") == Content(10000));
}

TEST(Ext4Writer, TwentyThousandFilesInOneDirectoryTakeNoTime) {
    constexpr int kFiles = 20000;
    Disk disk(300 * kMiB, kFiles + 1);
    ASSERT_TRUE(disk.writer().make_directory("many"));
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kFiles; ++i)
        disk.put(
            "many/file-" + std::to_string(i) + std::string(static_cast<std::size_t>(i % 50), 'x'),
            Content(static_cast<std::size_t>(i % 9000), std::byte{7}));
    const Result<NewFile> again = disk.writer().create("many/file-0", 0, kTime);
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().kind(), ErrorKind::Exists) << again.error().text();
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::steady_clock::now() - start);
    std::cout << kFiles << " files in " << took.count() << " ms\n";
    EXPECT_LT(took.count(), 20'000);
    disk.finish();
    const std::unique_ptr<FileSystem> filesystem = reopen(disk);
    ASSERT_NE(filesystem, nullptr);
    for (int i = 0; i < kFiles; i += 97)
        EXPECT_TRUE(
            read_whole(*filesystem, "many/file-" + std::to_string(i) +
                                        std::string(static_cast<std::size_t>(i % 50), 'x')) ==
            Content(static_cast<std::size_t>(i % 9000), std::byte{7}))
            << i;
}

TEST(Ext4Writer, CountsTheLinksOfDirectories) {
    Disk disk(100 * kMiB, 1000);
    ASSERT_TRUE(disk.writer().make_directory("parent"));
    for (int i = 0; i < 300; ++i)
        ASSERT_TRUE(disk.writer().make_directory("parent/child-" + std::to_string(i)));
    disk.put("parent/file", Content(10));
    disk.finish();
    EXPECT_NE(disk.ask("stat parent").find("Links: 302"), std::string::npos);
    EXPECT_NE(disk.ask("stat /").find("Links: 4"), std::string::npos);
}

TEST(Ext4Writer, MoreSubdirectoriesThanLinksCanBeCounted) {
    constexpr int kDirectories = 65'001;
    Disk disk(360 * kMiB, kDirectories + 1);
    ASSERT_TRUE(disk.writer().make_directory("wide"));
    for (int i = 0; i < kDirectories; ++i)
        ASSERT_TRUE(disk.writer().make_directory("wide/" + std::to_string(i))) << i;
    disk.finish();
    EXPECT_NE(disk.ask("stat wide").find("Links: 1 "), std::string::npos);
}

TEST(Ext4Writer, RefusesWhatCannotBe) {
    Disk disk(30 * kMiB, 40);
    Ext4Writer& writer = disk.writer();
    ASSERT_TRUE(writer.make_directory("dir"));
    disk.put("file", Content(10));
    struct Row {
        std::string path;
        ErrorKind kind;
    };
    const Row rows[] = {
        {"", ErrorKind::InvalidArgument},
        {"//", ErrorKind::InvalidArgument},
        {".", ErrorKind::InvalidArgument},
        {"dir/../x", ErrorKind::InvalidArgument},
        {std::string("a\0b", 3), ErrorKind::InvalidArgument},
        {std::string(256, 'n'), ErrorKind::InvalidArgument},
        {"none/x", ErrorKind::NotFound},
        {"file/x", ErrorKind::NotFound},
        {"file", ErrorKind::Exists},
        {"dir", ErrorKind::Exists},
        {"/dir/", ErrorKind::Exists},
    };
    for (const Row& row : rows) {
        const Result<NewFile> file = writer.create(row.path, 5, kTime);
        ASSERT_FALSE(file) << row.path;
        EXPECT_EQ(file.error().kind(), row.kind) << row.path << ": " << file.error().text();
        const Result<void> directory = writer.make_directory(row.path);
        ASSERT_FALSE(directory) << row.path;
        EXPECT_EQ(directory.error().kind(), row.kind)
            << row.path << ": " << directory.error().text();
    }
    EXPECT_EQ(writer.create("lost+found", 5, kTime).error().kind(), ErrorKind::Exists);
    ASSERT_TRUE(writer.make_directory("lost+found"));
    EXPECT_EQ(writer.make_directory("lost+found").error().kind(), ErrorKind::Exists);
    disk.put("lost+found/found", Content(3));
    EXPECT_EQ(writer.create("vast", Bytes{1} << 45, kTime).error().kind(), ErrorKind::LimitReached);
    disk.finish();
}

TEST(Ext4Writer, AFullDiskSaysSoAndStaysClean) {
    std::mt19937_64 random(announced_seed());
    Disk disk(24 * kMiB, 3000);
    Error last(ErrorKind::Internal, "it was never full");
    std::map<std::string, Content> files;
    for (int i = 0; i < 3000; ++i) {
        const std::string name = std::to_string(i) + std::string(random() % 200, 'n');
        Content content = random_content(random, random() % 100'000);
        Result<NewFile> file = disk.writer().create(name, content.size(), kTime);
        if (!file) {
            last = file.error();
            ASSERT_EQ(last.kind(), ErrorKind::NoSpace) << last.text();
            continue;
        }
        files[name] = content;
        ASSERT_TRUE(disk.writer().write(*file, 0, content));
        ASSERT_TRUE(disk.writer().close(*file));
    }
    EXPECT_NE(last.text().find("are needed, and the file system has"), std::string::npos)
        << last.text();
    EXPECT_GT(files.size(), 100U);
    disk.finish();
    const std::unique_ptr<FileSystem> filesystem = reopen(disk);
    ASSERT_NE(filesystem, nullptr);
    for (const auto& [path, content] : files)
        EXPECT_TRUE(read_whole(*filesystem, path) == content) << path;
}

TEST(Ext4Writer, NoMoreInodesThanFormatted) {
    Disk disk(10 * kMiB, 10);
    Error last(ErrorKind::Internal, "there was no end");
    int made = 0;
    for (; made < 1000; ++made)
        if (Result<NewFile> file = disk.writer().create(std::to_string(made), 0, kTime); !file) {
            last = file.error();
            break;
        }
    EXPECT_GE(made, 10);
    EXPECT_EQ(last.kind(), ErrorKind::LimitReached) << last.text();
    disk.finish();
}

TEST(Ext4Writer, KeepsTimesToTheMicrosecondPast2038) {
    Disk disk(10 * kMiB);
    Result<NewFile> old = disk.writer().create("now", 0, kTime);
    Result<NewFile> late = disk.writer().create("late", 0, from_usec(4'102'444'800'000'001));
    Result<NewFile> never = disk.writer().create("never", 0, TimePoint::max());
    ASSERT_TRUE(old && late && never);
    disk.finish();
    EXPECT_NE(disk.ask("stat now").find("mtime: 0x6553f100:1d6f2800"), std::string::npos)
        << disk.ask("stat now");
    // 2100-01-01.
    EXPECT_NE(disk.ask("stat late").find("mtime: 0xf4865700:00000fa1"), std::string::npos)
        << disk.ask("stat late");
}

TEST(Ext4Writer, ADeviceThatIsTooSmallIsSaidToBe) {
    struct Row {
        Bytes size;
        std::uint64_t inodes;
        ErrorKind kind;
    };
    for (const Row& row :
         {Row{16384, 10, ErrorKind::NoSpace}, Row{20 * kMiB, 500'000, ErrorKind::NoSpace},
          Row{20 * kMiB, 5'000'000'000, ErrorKind::LimitReached}}) {
        MemoryDevice device(Content(static_cast<std::size_t>(row.size)), 4096);
        const auto made = Ext4Writer::format(device, {"", row.inodes});
        ASSERT_FALSE(made) << row.size;
        EXPECT_EQ(made.error().kind(), row.kind) << made.error().text();
    }
}

TEST(Ext4Writer, AfterAnErrorOfTheDeviceItIsNotCompleted) {
    Disk disk(60 * kMiB, 3000);
    Result<NewFile> file = disk.writer().create("file", 10 * kMiB, kTime);
    ASSERT_TRUE(file);
    disk.device().is_gone = true;
    Content content(kMiB);
    EXPECT_EQ(disk.writer().write(*file, 0, content).error().kind(), ErrorKind::Gone);
    disk.device().is_gone = false;
    EXPECT_EQ(disk.writer().write(*file, 0, content).error().kind(), ErrorKind::Gone);
    EXPECT_EQ(disk.writer().create("another", 0, kTime).error().kind(), ErrorKind::Gone);
    EXPECT_EQ(disk.writer().make_directory("another").error().kind(), ErrorKind::Gone);
    const Result<void> finished = disk.writer().finish();
    ASSERT_FALSE(finished);
    EXPECT_EQ(finished.error().text(), "the file system was left half-way: the device is gone");
}

TEST(MetadataCache, IsWhatTheDeviceIs) {
    std::mt19937_64 random(announced_seed());
    constexpr std::size_t kBlocks = 8192;
    MemoryDevice device(Content(kBlocks * 4096), 4096);
    Content expected(kBlocks * 4096);
    MetadataCache cache(device);
    for (int round = 0; round < 4000; ++round) {
        const std::size_t first = random() % kBlocks;
        const std::size_t count =
            std::min<std::size_t>(1 + random() % (random() % 8 == 0 ? 80 : 4), kBlocks - first);
        Content content = random_content(random, 64);
        content.resize(count * 4096, static_cast<std::byte>(random()));
        const auto place = expected.begin() + static_cast<std::ptrdiff_t>(first * 4096);
        if (random() % 2 == 0) {
            std::copy(content.begin(), content.end(), place);
            ASSERT_TRUE(cache.write(first * 4096, content));
        } else {
            ASSERT_TRUE(cache.read(first * 4096, content));
            ASSERT_TRUE(std::equal(content.begin(), content.end(), place));
        }
    }
    ASSERT_TRUE(cache.sync());
    EXPECT_TRUE(device.content == expected);
}

}  // namespace
}  // namespace dray::fs
