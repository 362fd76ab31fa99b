// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/device_file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>
#include <stdexcept>
#include <string>

#include "daemon/base/file.hpp"

namespace dray::volume {
namespace {

/// An unnamed file with random content, on a disk: memory file systems hide mistakes in alignment.
class Image {
public:
    explicit Image(std::size_t size) : content_(size) {
        std::mt19937 random(7);
        for (std::byte& byte : content_)
            byte = static_cast<std::byte>(random());
        std::string name = "/var/tmp/dray-device-XXXXXX";
        fd_ = FileDescriptor(mkostemp(name.data(), O_CLOEXEC));
        unlink(name.c_str());
        if (!write_fully(fd_.get(), 0, content_, "image"))
            throw std::runtime_error("cannot write the image");
    }
    std::unique_ptr<DeviceFile> open(int flags = O_RDWR) const {
        const std::string path = "/proc/self/fd/" + std::to_string(fd_.get());
        return *DeviceFile::open(FileDescriptor(::open(path.c_str(), flags | O_CLOEXEC)));
    }
    const std::vector<std::byte>& content() const { return content_; }
    int fd() const { return fd_.get(); }

private:
    std::vector<std::byte> content_;
    FileDescriptor fd_;
};

TEST(DeviceFile, ReadsAndWritesAtAnyPlaceWhateverTheAlignment) {
    const auto seed = std::random_device{}();
    std::cout << "seed " << seed << '\n';
    std::mt19937 random(seed);
    const Image image(3 * 1024 * 1024 + 777);
    std::vector<std::byte> expected = image.content();
    const std::unique_ptr<DeviceFile> device = image.open();
    std::cout << (device->is_direct() ? "direct\n" : "buffered\n");
    ASSERT_EQ(device->size(), expected.size());
    std::size_t offset = 0;
    for (int round = 0; round < 2000; ++round) {
        // A third goes on where the last one ended, as files that lie one after the other do.
        if (random() % 3 != 0 || offset >= expected.size())
            offset = random() % expected.size();
        if (random() % 2 == 0)
            offset = offset / 4096 * 4096;
        const std::size_t longest = random() % 4 == 0 ? 700000 : 9000;
        std::vector<std::byte> bytes(std::min<std::size_t>(random() % longest, expected.size() - offset));
        if (random() % 4 == 0 && offset + bytes.size() < expected.size() / 4096 * 4096) {
            std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::byte>(random()); });
            ASSERT_TRUE(device->write(offset, bytes));
            std::copy(bytes.begin(), bytes.end(), expected.begin() + static_cast<std::ptrdiff_t>(offset));
        } else {
            ASSERT_TRUE(device->read(offset, bytes)) << offset << " " << bytes.size();
            ASSERT_TRUE(std::equal(bytes.begin(), bytes.end(),
                                   expected.begin() + static_cast<std::ptrdiff_t>(offset)))
                << offset << " " << bytes.size();
        }
        offset += bytes.size();
    }
}

TEST(DeviceFile, BeyondItsEndIsCorrupt) {
    const Image image(10000);
    const std::unique_ptr<DeviceFile> device = image.open(O_RDONLY);
    std::vector<std::byte> bytes(2);
    EXPECT_TRUE(device->read(9998, bytes));
    EXPECT_EQ(device->read(9999, bytes).error().kind(), ErrorKind::Corrupt);
    EXPECT_EQ(device->read(~0ULL, bytes).error().kind(), ErrorKind::Corrupt);
}

TEST(DeviceFile, AnImageCutWhileItIsReadIsCorrupt) {
    const Image image(1024 * 1024);
    const std::unique_ptr<DeviceFile> device = image.open(O_RDONLY);
    ASSERT_EQ(ftruncate(image.fd(), 500000), 0);
    std::vector<std::byte> bytes(700000);
    EXPECT_EQ(device->read(0, bytes).error().kind(), ErrorKind::Corrupt);
    bytes.resize(4096);
    EXPECT_EQ(device->read(499712, bytes).error().kind(), ErrorKind::Corrupt);
    EXPECT_TRUE(device->read(4096, bytes));
}

/// A disk that fails: a loop device with direct reads answers EIO where its file has been cut off meanwhile.
class FailingDisk {
public:
    FailingDisk() : image_("/var/tmp/dray-failing-XXXXXX") {
        const FileDescriptor file(mkostemp(image_.data(), O_CLOEXEC));
        if (ftruncate(file.get(), kSize) != 0)
            throw std::runtime_error("cannot make the image");
        FILE* pipe = popen(("losetup -f --show --direct-io=on " + image_ + " 2>/dev/null").c_str(), "re");
        std::array<char, 64> line{};
        if (fgets(line.data(), line.size(), pipe) != nullptr)
            node_.assign(line.data(), strcspn(line.data(), "\n"));
        pclose(pipe);
        if (node_.empty())
            return;
        // Cut first: nothing of it may be in a cache.
        device_ = *DeviceFile::open(FileDescriptor(::open(node_.c_str(), O_RDONLY | O_CLOEXEC)));
    }
    FailingDisk(const FailingDisk&) = delete;
    FailingDisk& operator=(const FailingDisk&) = delete;
    ~FailingDisk() {
        device_.reset();
        if (!node_.empty())
            (void)!system(("losetup -d " + node_).c_str());
        unlink(image_.c_str());
    }
    static constexpr off_t kSize = 8 * 1024 * 1024;

    bool is_there() const { return device_ != nullptr && device_->is_direct(); }
    void cut_at(off_t size) const { ASSERT_EQ(truncate(image_.c_str(), size), 0); }
    /// As when a card is taken out of its reader: the node stays and has no bytes.
    void take_medium_out() const {
        cut_at(0);
        ASSERT_EQ(system(("losetup -c " + node_).c_str()), 0);
    }
    ErrorKind kind_at(Bytes offset, std::size_t length = 4096) const {
        std::vector<std::byte> bytes(length);
        const Result<void> read = device_->read(offset, bytes);
        return read ? ErrorKind::Cancelled : read.error().kind();
    }

private:
    std::string image_;
    std::string node_;
    std::unique_ptr<DeviceFile> device_;
};

constexpr ErrorKind kNone = ErrorKind::Cancelled;

TEST(DeviceFile, AnUnreadablePlaceIsNoLostDiskAndItsReadableNeighboursAreRead) {
    const FailingDisk disk;
    if (!disk.is_there())
        GTEST_SKIP() << "loop devices with direct reads need root";
    EXPECT_EQ(disk.kind_at(6 * kMiB), kNone);
    disk.cut_at(6 * kMiB);
    EXPECT_EQ(disk.kind_at(7 * kMiB), ErrorKind::Internal) << "the first block answers";
    EXPECT_EQ(disk.kind_at(6 * kMiB - 4096), kNone);
    EXPECT_EQ(disk.kind_at(5 * kMiB, 2 * kMiB), ErrorKind::Internal);
    EXPECT_EQ(disk.kind_at(4 * kMiB, 2 * kMiB), kNone);
}

TEST(DeviceFile, WhatCannotBeReadAheadIsNoFaultOfWhatIsAskedFor) {
    const FailingDisk disk;
    if (!disk.is_there())
        GTEST_SKIP() << "loop devices with direct reads need root";
    disk.cut_at(6 * kMiB);
    for (Bytes place = 6 * kMiB - 512 * kKiB; place < 6 * kMiB; place += 4096)
        ASSERT_EQ(disk.kind_at(place), kNone) << (6 * kMiB - place) << " bytes before the first bad one";
    EXPECT_EQ(disk.kind_at(6 * kMiB), ErrorKind::Internal);
}

TEST(DeviceFile, ADiskThatAnswersNowhereIsGone) {
    const FailingDisk disk;
    if (!disk.is_there())
        GTEST_SKIP() << "loop devices with direct reads need root";
    disk.cut_at(0);
    EXPECT_EQ(disk.kind_at(kMiB), ErrorKind::Gone);
    EXPECT_EQ(disk.kind_at(0), ErrorKind::Gone);
}

TEST(DeviceFile, ADiskWhoseMediumIsTakenOutIsGone) {
    const FailingDisk disk;
    if (!disk.is_there())
        GTEST_SKIP() << "loop devices with direct reads need root";
    disk.take_medium_out();
    EXPECT_EQ(disk.kind_at(kMiB), ErrorKind::Gone) << "not: the drive is too short";
    EXPECT_EQ(disk.kind_at(kMiB, 2 * kMiB), ErrorKind::Gone);
}

TEST(DeviceFile, OpenForReadingItRefusesToWrite) {
    const Image image(100000);
    const std::unique_ptr<DeviceFile> device = image.open(O_RDONLY);
    std::vector<std::byte> bytes(4096);
    EXPECT_EQ(device->write(0, bytes).error().kind(), ErrorKind::Denied);
}

TEST(DeviceFile, IsADiskOrARegularFile) {
    EXPECT_EQ(DeviceFile::open(FileDescriptor(::open("/dev/null", O_RDWR | O_CLOEXEC))).error().kind(),
              ErrorKind::InvalidArgument);
}

}  // namespace
}  // namespace dray::volume
