// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ext4/block_io.hpp"

#include <gtest/gtest.h>

#include <iostream>
#include <random>

#include "tests/unit/filesystem/memory_device.hpp"

namespace dray::fs {
namespace {

using test::MemoryDevice;

TEST(BlockIo, AnyReadAndWriteDoesWhatItWouldInPlainMemory) {
    const auto seed = std::random_device{}();
    std::cout << "seed " << seed << '\n';
    std::mt19937 random(seed);
    constexpr std::size_t kSize = 10 * 1024 * 1024 + 4096;
    MemoryDevice device(std::vector<std::byte>(kSize), 4096);
    std::vector<std::byte> expected(kSize);
    BlockIo io(device);
    for (int round = 0; round < 3000; ++round) {
        const std::size_t longest = random() % 8 == 0 ? 300000 : 6000;
        const std::size_t offset = random() % kSize;
        std::vector<std::byte> bytes(std::min<std::size_t>(random() % longest, kSize - offset));
        if (random() % 2 == 0) {
            for (std::byte& byte : bytes)
                byte = static_cast<std::byte>(random());
            ASSERT_TRUE(io.write(offset, bytes));
            std::copy(bytes.begin(), bytes.end(), expected.begin() + static_cast<std::ptrdiff_t>(offset));
        } else {
            ASSERT_TRUE(io.read(offset, bytes));
            ASSERT_TRUE(std::equal(bytes.begin(), bytes.end(),
                                   expected.begin() + static_cast<std::ptrdiff_t>(offset)));
        }
    }
    // Nothing waits in the cache to be written.
    EXPECT_TRUE(device.content == expected);
}

TEST(BlockIo, TheEndOfTheDeviceIsTheEnd) {
    MemoryDevice device(std::vector<std::byte>(65536), 512);
    BlockIo io(device);
    std::vector<std::byte> bytes(2);
    EXPECT_TRUE(io.read(65534, bytes));
    EXPECT_EQ(io.read(65535, bytes).error().kind(), ErrorKind::Corrupt);
    EXPECT_EQ(io.read(~0ULL, bytes).error().kind(), ErrorKind::Corrupt);
    EXPECT_EQ(io.write(65535, bytes).error().kind(), ErrorKind::Corrupt);
}

TEST(BlockIo, TheDevicesOwnErrorComesThroughTheLibrary) {
    MemoryDevice device(std::vector<std::byte>(65536), 512);
    BlockIo io(device);
    device.is_gone = true;
    ext2_filsys fs = nullptr;
    const errcode_t code = ext2fs_open2(io.name(), nullptr, 0, 0, 0, BlockIo::manager(), &fs);
    ASSERT_NE(code, 0);
    const Error error = io.error_of(code, "cannot open");
    EXPECT_EQ(error.kind(), ErrorKind::Gone);
    EXPECT_EQ(error.text(), "cannot open: the device is gone");
}

TEST(BlockIo, SmallReadsNearbyCostOneReadOfTheDevice) {
    MemoryDevice device(std::vector<std::byte>(1024 * 1024), 512);
    BlockIo io(device);
    std::vector<std::byte> bytes(1024);
    for (Bytes offset = 0; offset < 65536; offset += 1024)
        ASSERT_TRUE(io.read(offset, bytes));
    EXPECT_EQ(device.reads, 1U);
}

}  // namespace
}  // namespace dray::fs
