// SPDX-License-Identifier: Apache-2.0
//
// An ext4 that is filled with checkpoints is cut off at random moments: e2fsck looks at what the device holds then, and
// the filling goes on from there.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <random>
#include <sstream>

#include "drivers/filesystem/ext4/ext4_writer.hpp"
#include "drivers/filesystem/open_filesystem.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/unit/filesystem/memory_device.hpp"

namespace dray::fs {
namespace {

using test::MemoryDevice;
using Content = std::vector<std::byte>;

const TimePoint kTime = from_usec(1'700'000'000'123'456);

Content random_content(std::mt19937_64& random, std::size_t size) {
    Content content(size);
    for (std::byte& byte : content)
        byte = static_cast<std::byte>(random());
    return content;
}

std::uint64_t announced_seed() {
    const auto seed = std::random_device{}();
    std::cout << "seed " << seed << '\n';
    return seed;
}

void expect_clean(const MemoryDevice& device) {
    const test::ScratchDirectory directory;
    std::ofstream out(directory / "image", std::ios::binary);
    out.write(reinterpret_cast<const char*>(device.content.data()), static_cast<std::streamsize>(device.size()));
    out.close();
    const int status =
        std::system(("e2fsck -fn " + directory / "image" + " >" + directory / "log" + " 2>&1").c_str());
    std::ostringstream log;
    log << std::ifstream(directory / "log").rdbuf();
    ASSERT_EQ(status, 0) << log.str();
}

/// A device and what is being made on it.
class Filling {
public:
    Filling(Bytes size, std::uint64_t inodes)
        : device_(std::make_unique<MemoryDevice>(Content(static_cast<std::size_t>(size), std::byte{0x5a}), 4096)) {
        Result<std::unique_ptr<Ext4Writer>> made = Ext4Writer::format(*device_, {"", inodes});
        EXPECT_TRUE(made) << made.error().text();
        writer_ = *std::move(made);
        EXPECT_TRUE(writer_->begin_checkpoints());
        goal_ = writer_->goal();
    }

    Ext4Writer& writer() { return *writer_; }
    MemoryDevice& device() { return *device_; }

    /// All blocks reach the device.
    void checkpoint(bool is_last = false) {
        goal_ = writer_->goal();
        Result<MetadataCache::Blocks*> blocks = writer_->collect(is_last);
        ASSERT_TRUE(blocks) << blocks.error().text();
        logged_ = (*blocks)->size() * MetadataCache::kBlock;
        for (auto& [number, content] : **blocks)
            ASSERT_TRUE(device_->write(number * MetadataCache::kBlock, content));
        writer_->settle();
    }
    std::size_t logged() const { return logged_; }

    /// What was in memory is lost.
    void cut_off() {
        auto copy = std::make_unique<MemoryDevice>(device_->content, 4096);
        writer_.reset();
        device_ = std::move(copy);
        Result<std::unique_ptr<Ext4Writer>> resumed = Ext4Writer::resume(*device_, goal_);
        ASSERT_TRUE(resumed) << resumed.error().text();
        writer_ = *std::move(resumed);
    }

    NewFile create(const std::string& path, Bytes size) {
        Result<NewFile> file = writer_->create(path, size, kTime);
        EXPECT_TRUE(file) << path << ": " << file.error().text();
        return file ? *std::move(file) : NewFile();
    }
    void write(NewFile& file, Bytes offset, Content content) {
        const Result<void> written = writer_->write(file, offset, content);
        ASSERT_TRUE(written) << written.error().text();
    }
    void put(const std::string& path, const Content& content) {
        NewFile file = create(path, content.size());
        write(file, 0, content);
        ASSERT_TRUE(writer_->close(file));
    }

private:
    std::unique_ptr<MemoryDevice> device_;
    std::unique_ptr<Ext4Writer> writer_;
    std::uint64_t goal_ = 0;
    std::size_t logged_ = 0;
};

std::unique_ptr<FileSystem> open_or_fail(MemoryDevice& device) {
    auto opened = open_filesystem(device);
    EXPECT_TRUE(opened) << opened.error().error.text();
    return opened ? *std::move(opened) : nullptr;
}

void expect_file(FileSystem& filesystem, const std::string& path, const Content& expected) {
    const Result<FileStatus> status = filesystem.lookup(path);
    ASSERT_TRUE(status) << path << ": " << status.error().text();
    Content content(static_cast<std::size_t>(status->size));
    ASSERT_TRUE(filesystem.read(*status, 0, content)) << path;
    EXPECT_TRUE(content == expected) << path;
}

TEST(Ext4Checkpoints, TheDeviceHoldsTheLastOneAtEveryMoment) {
    std::mt19937_64 random(announced_seed());
    Filling filling(90 * kMiB, 3000);
    struct Open {
        NewFile file;
        Content content;
    };
    struct Model {
        std::vector<std::string> directories{""};
        std::map<std::string, Content> files;
        std::map<std::string, Open> open;
    };
    Model now;
    Model last;
    int cuts = 0;
    std::size_t number = 0;
    const auto some_path = [&] {
        return now.directories[random() % now.directories.size()] + "f" + std::to_string(number++) +
               std::string(random() % 60, 'x');
    };
    for (int step = 0; step < 1500; ++step) {
        const std::size_t dice = random() % 100;
        if (dice < 50) {
            const std::string path = some_path();
            now.files[path] = random_content(random, random() % (random() % 8 == 0 ? 400'000 : 9000));
            filling.put(path, now.files[path]);
        } else if (dice < 60) {
            const std::string path = now.directories[random() % now.directories.size()] + "d" + std::to_string(number++);
            ASSERT_TRUE(filling.writer().make_directory(path));
            now.directories.push_back(path + "/");
        } else if (dice < 65 && now.open.size() < 5) {
            const std::string path = some_path();
            Open open{filling.create(path, 200'000), Content(200'000)};
            now.open.emplace(path, std::move(open));
        } else if (dice < 80 && !now.open.empty()) {
            Open& open = std::next(now.open.begin(), static_cast<int>(random() % now.open.size()))->second;
            const std::size_t begin = random() % 199'000;
            const Content piece = random_content(random, 1 + random() % 1000);
            filling.write(open.file, begin, piece);
            std::copy(piece.begin(), piece.end(), open.content.begin() + static_cast<std::ptrdiff_t>(begin));
        } else if (dice < 84 && !now.open.empty()) {
            const auto open = now.open.begin();
            ASSERT_TRUE(filling.writer().close(open->second.file));
            now.files[open->first] = std::move(open->second.content);
            now.open.erase(open);
        } else if (dice < 92 && !now.files.empty()) {
            const auto file = std::next(now.files.begin(), static_cast<int>(random() % now.files.size()));
            ASSERT_TRUE(filling.writer().remove(file->first)) << file->first;
            now.files.erase(file);
        } else if (dice < 94 && !now.open.empty()) {
            ASSERT_TRUE(filling.writer().remove(now.open.begin()->first));
            now.open.erase(now.open.begin());
        } else if (dice < 97) {
            filling.checkpoint();
            last = now;
        } else if (step % 4 == 0) {
            ++cuts;
            expect_clean(filling.device());
            filling.cut_off();
            for (auto& [path, open] : last.open) {
                const Result<NewFile> again =
                    filling.writer().reopen(open.file.inode(), open.file.size(), open.file.written());
                ASSERT_TRUE(again) << path << ": " << again.error().text();
                open.file = *again;
            }
            now = last;
        }
        if (HasFatalFailure())
            return;
    }
    for (auto& [path, open] : now.open) {
        ASSERT_TRUE(filling.writer().close(open.file));
        now.files[path] = open.content;
    }
    filling.checkpoint(true);
    expect_clean(filling.device());
    const std::unique_ptr<FileSystem> filesystem = open_or_fail(filling.device());
    ASSERT_NE(filesystem, nullptr);
    std::size_t entries = 0;
    for (const std::string& directory : now.directories) {
        const Result<void> listed = filesystem->list(directory, [&](const FileSystem::Entry&) {
            ++entries;
            return true;
        });
        ASSERT_TRUE(listed) << directory;
    }
    // All of it, lost+found, and nothing else.
    EXPECT_EQ(entries, now.files.size() + now.directories.size());
    for (const auto& [path, content] : now.files)
        expect_file(*filesystem, path, content);
    EXPECT_GT(cuts, 2);
}

TEST(Ext4Checkpoints, WhatWasRemovedIsNotWrittenOverBeforeTheNextOne) {
    std::mt19937_64 random(announced_seed());
    Filling filling(30 * kMiB, 50);
    const Content precious = random_content(random, 12 * kMiB);
    filling.put("precious", precious);
    filling.checkpoint();
    ASSERT_TRUE(filling.writer().remove("precious"));
    // There is no other room than the removed file's.
    const Result<NewFile> early = filling.writer().create("other", 15 * kMiB, kTime);
    ASSERT_FALSE(early);
    EXPECT_EQ(early.error().kind(), ErrorKind::NoSpace);
    filling.put("small", random_content(random, 3 * kMiB));
    MemoryDevice before(filling.device().content, 4096);
    expect_clean(before);
    const std::unique_ptr<FileSystem> filesystem = open_or_fail(before);
    ASSERT_NE(filesystem, nullptr);
    expect_file(*filesystem, "precious", precious);
    filling.checkpoint();
    expect_clean(filling.device());
    filling.put("other", random_content(random, 15 * kMiB));
    filling.checkpoint(true);
    expect_clean(filling.device());
}

TEST(Ext4Checkpoints, AFullDiskIsFullAfterAResumeTooAndWhatFitsIsMade) {
    std::mt19937_64 random(announced_seed());
    Filling filling(24 * kMiB, 200);
    std::map<std::string, Content> files;
    for (int i = 0; i < 12; ++i) {
        files[std::to_string(i)] = random_content(random, 1 * kMiB);
        filling.put(std::to_string(i), files[std::to_string(i)]);
        filling.checkpoint();
    }
    filling.cut_off();
    const Result<NewFile> large = filling.writer().create("large", 20 * kMiB, kTime);
    ASSERT_FALSE(large);
    EXPECT_EQ(large.error().kind(), ErrorKind::NoSpace) << large.error().text();
    EXPECT_EQ(filling.writer().create("3", 1, kTime).error().kind(), ErrorKind::Exists);
    files["small"] = random_content(random, 100'000);
    filling.put("small", files["small"]);
    filling.checkpoint(true);
    expect_clean(filling.device());
    const std::unique_ptr<FileSystem> filesystem = open_or_fail(filling.device());
    ASSERT_NE(filesystem, nullptr);
    for (const auto& [path, content] : files)
        expect_file(*filesystem, path, content);
}

TEST(Ext4Checkpoints, LogWhatHasChangedAndNotTheWholeDrive) {
    // 4 groups, whose bitmaps and descriptors would be 10 blocks and more.
    Filling filling(500 * kMiB, 1000);
    filling.put("one", Content(10'000, std::byte{1}));
    filling.checkpoint();
    std::cout << "one file: " << filling.logged() << " bytes\n";
    EXPECT_LE(filling.logged(), 6 * 4096U);
    filling.checkpoint();
    EXPECT_LE(filling.logged(), 1 * 4096U);
    for (int i = 0; i < 500; ++i)
        filling.put(std::to_string(i), Content(10, std::byte{1}));
    filling.checkpoint();
    std::cout << "500 files: " << filling.logged() << " bytes\n";
    EXPECT_LE(filling.logged(), 64 * 4096U);
    filling.checkpoint(true);
    expect_clean(filling.device());
}

TEST(Ext4Checkpoints, InodesOfRemovedFilesAreUsedAgain) {
    Filling filling(20 * kMiB, 5);
    int made = 0;
    Error last(ErrorKind::Internal, "there was no end");
    for (; made < 1000; ++made) {
        const Result<NewFile> file = filling.writer().create(std::to_string(made), 0, kTime);
        if (!file) {
            last = file.error();
            break;
        }
    }
    EXPECT_EQ(last.kind(), ErrorKind::LimitReached) << last.text();
    ASSERT_TRUE(filling.writer().remove("1"));
    ASSERT_TRUE(filling.writer().remove("3"));
    EXPECT_TRUE(filling.writer().create("again", 0, kTime));
    EXPECT_TRUE(filling.writer().create("and again", 0, kTime));
    EXPECT_EQ(filling.writer().create("too many", 0, kTime).error().kind(), ErrorKind::LimitReached);
    filling.checkpoint(true);
    expect_clean(filling.device());
}

TEST(Ext4Checkpoints, RemoveRefusesWhatIsNoFile) {
    Filling filling(20 * kMiB, 20);
    ASSERT_TRUE(filling.writer().make_directory("dir"));
    EXPECT_EQ(filling.writer().remove("dir").error().kind(), ErrorKind::InvalidArgument);
    EXPECT_EQ(filling.writer().remove("none").error().kind(), ErrorKind::NotFound);
    EXPECT_EQ(filling.writer().remove("none/x").error().kind(), ErrorKind::NotFound);
    EXPECT_EQ(filling.writer().remove("").error().kind(), ErrorKind::InvalidArgument);
    filling.put("dir/file", Content(5000));
    EXPECT_TRUE(filling.writer().remove("dir/file"));
    EXPECT_EQ(filling.writer().remove("dir/file").error().kind(), ErrorKind::NotFound);
    filling.checkpoint(true);
    expect_clean(filling.device());
}

TEST(Ext4Checkpoints, LinksOfDirectoriesAndLostAndFoundAreKnownAgain) {
    Filling filling(60 * kMiB, 1000);
    ASSERT_TRUE(filling.writer().make_directory("lost+found"));
    for (int i = 0; i < 200; ++i)
        ASSERT_TRUE(filling.writer().make_directory("d" + std::to_string(i)));
    filling.checkpoint();
    filling.cut_off();
    EXPECT_EQ(filling.writer().make_directory("lost+found").error().kind(), ErrorKind::Exists);
    EXPECT_EQ(filling.writer().make_directory("d7").error().kind(), ErrorKind::Exists);
    for (int i = 200; i < 400; ++i)
        ASSERT_TRUE(filling.writer().make_directory("d" + std::to_string(i)));
    ASSERT_TRUE(filling.writer().make_directory("d3/inner"));
    filling.put("d3/inner/file", Content(10));
    filling.checkpoint(true);
    expect_clean(filling.device());
}

TEST(Ext4Checkpoints, AFileThatIsAnotherOneIsNotReopened) {
    Filling filling(20 * kMiB, 20);
    NewFile file = filling.create("file", 50'000);
    filling.put("other", Content(10'000));
    ASSERT_TRUE(filling.writer().make_directory("dir"));
    filling.checkpoint();
    filling.cut_off();
    EXPECT_TRUE(filling.writer().reopen(file.inode(), 50'000, {}));
    EXPECT_FALSE(filling.writer().reopen(file.inode(), 50'001, {}));
    EXPECT_FALSE(filling.writer().reopen(file.inode() + 1, 50'000, {}));
    EXPECT_FALSE(filling.writer().reopen(file.inode() + 2, 4096, {})) << "a directory";
    EXPECT_FALSE(filling.writer().reopen(2, 4096, {})) << "the root";
    EXPECT_FALSE(filling.writer().reopen(4'000'000'000, 4096, {}));
}

}  // namespace
}  // namespace dray::fs
