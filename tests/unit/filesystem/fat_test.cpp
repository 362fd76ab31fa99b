// SPDX-License-Identifier: Apache-2.0
//
// Every kind of FAT that mkfs.fat makes, filled by mtools and read by us, byte for byte; what is odd about one, and
// what is damaged.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/filesystem/cluster_image.hpp"

namespace dray::fs {
namespace {

using test::announced_seed;
using test::ClusterImage;
using test::open_image;
using test::Opened;
using test::random_text;
using testing::HasSubstr;

struct Kind {
    const char* name;
    const char* options;
    const char* size;
    std::size_t cluster;
    const char* type;
    Bytes device_sector = 512;
};

class FatKinds : public testing::TestWithParam<Kind> {};

TEST_P(FatKinds, ReadWhatMtoolsWrote) {
    std::mt19937_64 random(announced_seed());
    ClusterImage image;
    test::keep_all_kinds(image, random, GetParam().cluster);
    image.format_fat(GetParam().options, GetParam().size);
    image.fill_fat();
    if (std::string_view(GetParam().options).find("-f 4") == std::string_view::npos)  // it knows of two at most
        image.must("fsck.fat -n IMAGE");
    ASSERT_FALSE(HasFatalFailure());
    const Opened opened = open_image(image.bytes(), GetParam().device_sector);
    ASSERT_TRUE(opened.filesystem) << opened.error;
    EXPECT_EQ(opened.filesystem->type(), GetParam().type);
    EXPECT_EQ(opened.filesystem->notice(), "");
    EXPECT_EQ(test::difference(test::read_all(*opened.filesystem, random()), image.kept()), "");
}

INSTANTIATE_TEST_SUITE_P(
    All, FatKinds,
    testing::Values(Kind{"Fat12", "-F 12 -s 4", "6M", 2048, "fat12"}, Kind{"Fat12OneTable", "-F 12 -s 8 -f 1", "12M", 4096, "fat12"},
                    Kind{"Fat16", "-F 16 -s 4", "20M", 2048, "fat16"},
                    Kind{"Fat16LargeSectors", "-F 16 -S 2048 -s 1", "20M", 2048, "fat16"},
                    Kind{"Fat16Encrypted4K", "-F 16 -S 4096 -s 1", "30M", 4096, "fat16", 4096},
                    Kind{"Fat16On4K", "-F 16 -s 4", "20M", 2048, "fat16", 4096},
                    Kind{"Fat32", "-F 32 -s 1", "40M", 512, "fat32"}, Kind{"Fat32Large", "-F 32 -s 8", "300M", 4096, "fat32"},
                    Kind{"Fat32FourTables", "-F 32 -s 1 -f 4", "40M", 512, "fat32"},
                    Kind{"Fat32LargeSectors", "-F 32 -S 4096 -s 1", "300M", 4096, "fat32"}),
    [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace dray::fs
