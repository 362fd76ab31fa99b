// SPDX-License-Identifier: Apache-2.0
//
// exFAT made by mkfs.exfat and filled by a writer of our own that fsck.exfat finds right, read by us, byte for byte;
// what is odd about one, and what is damaged.
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
    const char* writer_options;
    std::size_t cluster;
    Bytes device_sector = 512;
};

class ExfatKinds : public testing::TestWithParam<Kind> {};

TEST_P(ExfatKinds, AreReadWhole) {
    std::mt19937_64 random(announced_seed());
    ClusterImage image;
    test::keep_all_kinds(image, random, GetParam().cluster);
    image.keep("names/\xf0\x9f\x98\x80 \xf0\x90\x90\x80", "beyond 16 bits");
    image.format_exfat(GetParam().options, "64M", GetParam().writer_options);
    image.must("fsck.exfat -n IMAGE");
    ASSERT_FALSE(HasFatalFailure());
    const Opened opened = open_image(image.bytes(), GetParam().device_sector);
    ASSERT_TRUE(opened.filesystem) << opened.error;
    EXPECT_EQ(opened.filesystem->type(), "exfat");
    EXPECT_EQ(opened.filesystem->notice(), "");
    EXPECT_EQ(test::difference(test::read_all(*opened.filesystem, random()), image.kept()), "");
}

INSTANTIATE_TEST_SUITE_P(All, ExfatKinds,
                         testing::Values(Kind{"Contiguous", "-c 4096", "--layout contiguous", 4096},
                                         Kind{"Scattered", "-c 4096", "--layout scattered", 4096},
                                         Kind{"Both", "-c 4096", "--layout both", 4096},
                                         Kind{"SmallClusters", "-c 512", "--layout both", 512},
                                         Kind{"LargeClusters", "-c 32768", "--layout both", 32768},
                                         Kind{"On4K", "-c 4096", "--layout both", 4096, 4096}),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace dray::fs
