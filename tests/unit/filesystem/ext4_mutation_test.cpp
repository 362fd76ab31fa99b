// SPDX-License-Identifier: Apache-2.0
//
// Damaged and malicious file systems: whatever the bytes, every call ends with an answer or an error.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>

#include "daemon/base/file.hpp"
#include "drivers/filesystem/open_filesystem.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/unit/filesystem/memory_device.hpp"

namespace dray::fs {
namespace {

namespace stdfs = std::filesystem;
using test::MemoryDevice;

/// The bytes of a small ext4 with directories, a sparse and a fragmented file.
std::vector<std::byte> make_image(const std::string& options) {
    const test::ScratchDirectory directory;
    const std::string tree = directory / "tree";
    stdfs::create_directories(tree + "/a/b/c");
    for (int i = 0; i < 200; ++i)
        std::ofstream(tree + "/a/file-" + std::to_string(i)) << i;
    std::ofstream(tree + "/a/b/c/text") << std::string(50000, 'x');
    std::ofstream combed(tree + "/combed", std::ios::binary);
    for (int i = 0; i < 700; ++i) {
        combed.seekp(i * 8192);
        combed << "tooth";
    }
    combed.close();
    const std::string command = "truncate -s 8M " + directory / "image" + " && mke2fs -q -F -t ext4 " + options +
                                " -d " + tree + " " + directory / "image" + " 8M";
    EXPECT_EQ(std::system(command.c_str()), 0);
    const Result<std::string> image = read_file(directory / "image", 16 * kMiB);
    if (!image)
        return {};
    const auto bytes = std::as_bytes(std::span(image->data(), image->size()));
    return {bytes.begin(), bytes.end()};
}

struct Tally {
    int opened = 0;
    int entries = 0;
    int errors = 0;
};

/// Walks as far as an importer would, but at most so many entries: a directory may contain itself.
void walk(FileSystem& filesystem, const std::string& path, int depth, Tally& tally) {
    std::vector<std::string> directories;
    const Result<void> listed = filesystem.list(path, [&](const FileSystem::Entry& entry) {
        const std::string name = path + "/" + entry.name;
        std::vector<std::byte> content(4096);
        if (entry.status.is_directory)
            directories.push_back(name);
        else if (const Result<FileStatus> status = filesystem.lookup(name); !status)
            ++tally.errors;
        else
            for (Bytes offset = 0; offset < std::min<Bytes>(status->size, kMiB); offset += content.size())
                if (!filesystem.read(*status, offset,
                                     std::span(content).first(static_cast<std::size_t>(
                                         std::min<Bytes>(content.size(), status->size - offset)))))
                    ++tally.errors;
        return ++tally.entries % 1000 != 0;
    });
    if (!listed)
        ++tally.errors;
    for (const std::string& directory : directories)
        if (depth < 6 && tally.entries < 100000)
            walk(filesystem, directory, depth + 1, tally);
}

class Mutations : public testing::TestWithParam<const char*> {};

TEST_P(Mutations, NeverCrashAndNeverHang) {
    const std::vector<std::byte> image = make_image(GetParam());
    ASSERT_FALSE(image.empty());
    const auto seed = std::random_device{}();
    std::cout << "seed " << seed << '\n';
    std::mt19937 random(seed);
    Tally tally;
    constexpr int kRounds = 150;
    for (int round = 0; round < kRounds; ++round) {
        MemoryDevice device(image, 512);
        // Most of what is not zero on so small a file system is metadata.
        const auto changes = 1 + random() % 60;
        for (std::size_t i = 0; i < changes; ++i) {
            std::size_t place = 0;
            do
                place = random() % 4 == 0 ? 1024 + random() % 8192 : random() % image.size();
            while (image[place] == std::byte{0} && random() % 50 != 0);
            device.content[place] = static_cast<std::byte>(random());
        }
        Tally one;
        if (const auto filesystem = open_filesystem(device)) {
            ++tally.opened;
            walk(**filesystem, "", 0, one);
        }
        tally.entries += one.entries;
        tally.errors += one.errors;
    }
    std::cout << tally.opened << " of " << kRounds << " opened, " << tally.entries << " entries, "
              << tally.errors << " errors\n";
    EXPECT_GT(tally.opened, 0);
}

INSTANTIATE_TEST_SUITE_P(Images, Mutations,
                         testing::Values("-O ^metadata_csum,^has_journal", "-O ^has_journal -b 1024",
                                         "-O ^extents,^64bit,^metadata_csum,^has_journal -b 1024",
                                         "-O inline_data,^metadata_csum,^has_journal -I 256"));

TEST(ExtentTree, WhoseNodesPointToThemselvesComesToAnEnd) {
    std::vector<std::byte> image = make_image("-O ^metadata_csum,^has_journal");
    // Each index node of a fragmented file becomes one full of entries that lead back to its own block.
    int spoiled = 0;
    for (std::size_t block = 0; block + 4096 <= image.size(); block += 4096) {
        std::byte* node = image.data() + block;
        if (node[0] != std::byte{0x0a} || node[1] != std::byte{0xf3})
            continue;
        node[6] = std::byte{1};
        for (std::size_t entry = 12; entry + 12 <= 4096; entry += 12) {
            const auto number = static_cast<std::uint32_t>(block / 4096);
            std::memset(node + entry, 0, 12);
            std::memcpy(node + entry + 4, &number, sizeof number);
        }
        ++spoiled;
    }
    ASSERT_GT(spoiled, 0);
    MemoryDevice device(std::move(image), 512);
    const auto filesystem = open_filesystem(device);
    ASSERT_TRUE(filesystem);
    const Result<FileStatus> status = (*filesystem)->lookup("combed");
    ASSERT_TRUE(status);
    std::vector<std::byte> content(65536);
    const Result<void> read = (*filesystem)->read(*status, 65536, content);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().kind(), ErrorKind::Corrupt) << read.error().text();
}

}  // namespace
}  // namespace dray::fs
