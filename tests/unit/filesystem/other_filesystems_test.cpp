// SPDX-License-Identifier: Apache-2.0
//
// What cannot be read is refused by its name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <utility>

#include "drivers/volume/signature.hpp"
#include "tests/unit/filesystem/ext4_image.hpp"

namespace dray::fs {
namespace {

using namespace std::string_literals;
using testing::HasSubstr;

struct Row {
    const char* description;
    std::vector<std::pair<std::size_t, std::string>> content;
    const char* name;
};

class Refused : public testing::TestWithParam<Row> {};

TEST_P(Refused, ByItsName) {
    std::vector<std::byte> image(kMiB);
    for (const auto& [place, bytes] : GetParam().content)
        std::memcpy(image.data() + place, bytes.data(), bytes.size());
    const test::Opened opened = test::open_image(std::move(image));
    ASSERT_FALSE(opened.filesystem);
    EXPECT_EQ(opened.kind, ErrorKind::Unsupported);
    EXPECT_EQ(opened.status, "VolumeNotNtfs");
    EXPECT_THAT(opened.error, HasSubstr("the volume holds "s + GetParam().name + ";"));
}

INSTANTIATE_TEST_SUITE_P(
    All, Refused,
    testing::Values(
        Row{"Xfs", {{0, "XFSB\0\0\x10\0"s}}, "XFS"}, Row{"Btrfs", {{65600, "_BHRfS_M"}}, "Btrfs"},
        Row{"Apfs", {{32, "NXSB"}}, "APFS"}, Row{"HfsPlus", {{1024, "H+\0\x04"s}}, "HFS+"},
        Row{"HfsX", {{1024, "HX\0\x05"s}}, "HFS+"}, Row{"ReFs", {{3, "ReFS\0\0\0\0"s}, {510, "\x55\xaa"}}, "ReFS"},
        Row{"F2fs", {{1024, "\x10\x20\xf5\xf2"}}, "F2FS"},
        Row{"Zfs", {{16384, "\1\1\0\0\0\0\0\0\0\0\0\1\0\0\0\x24\0\0\0\x20\0\0\0\x07version"s}}, "ZFS"},
        Row{"Lvm", {{512, "LABELONE\1\0\0\0\0\0\0\0\0\0\0\0\x20\0\0\0LVM2 001"s}}, "a member of an LVM volume group"},
        Row{"LinuxRaid", {{4096, "\xfc\x4e\x2b\xa9\1\0\0\0"s}}, "a member of a Linux RAID"},
        Row{"LinuxRaidAtTheStart", {{0, "\xfc\x4e\x2b\xa9\1\0\0\0"s}}, "a member of a Linux RAID"},
        Row{"Udf", {{32769, "BEA01"}, {34817, "NSR03"}, {36865, "TEA01"}}, "UDF"},
        Row{"UdfBehindIso", {{32769, "CD001"}, {34817, "BEA01"}, {36865, "NSR02"}}, "UDF"},
        Row{"Iso9660", {{32769, "CD001"}, {34817, "CD001"}}, "ISO 9660"}, Row{"Mbr", {{510, "\x55\xaa"}}, "a partition table"},
        Row{"Gpt", {{512, "EFI PART"}}, "a partition table"},
        // What is left of an exFAT under a new partition table is not believed.
        Row{"MbrOverExfat", {{510, "\x55\xaa"}, {12 * 512, "\xeb\x76\x90""EXFAT   "}}, "a partition table"},
        Row{"Zeros", {}, "nothing known"}),
    [](const auto& row) { return row.param.description; });

}  // namespace
}  // namespace dray::fs
