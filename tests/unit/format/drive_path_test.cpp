// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "daemon/format/drive_manifest.hpp"

namespace dray::format {
namespace {

TEST(DrivePath, ComesApartAtItsSeparators) {
    const struct {
        std::string path;
        const char* expected;
    } rows[] = {
        {"\\s001\\a.bin", "s001/a.bin"},
        {"\\\\DriveManifest.xml", "DriveManifest.xml"},
        {"\\{4711}.manifest", "{4711}.manifest"},
        {"a", "a"},
        {"\\a\\\\\\b", "a/b"},
        {"\\dir\\", "dir"},
        {"/dir/file", "dir/file"},
        {"\\dir/file", "dir/file"},
        {"\\a..b\\...\\.x", "a..b/.../.x"},
        {"\\ a \\b ", " a /b "},
        {"\\\xC3\xA9\xF0\x9F\x98\x80", "\xC3\xA9\xF0\x9F\x98\x80"},
        {"\\dir\\C:", "dir/C:"},
    };
    for (const auto& row : rows) {
        const auto path = to_lookup_path(row.path);
        ASSERT_TRUE(path) << row.path << ": " << path.error().text();
        EXPECT_EQ(*path, row.expected);
    }
    EXPECT_EQ(*split_drive_path("\\a\\b\\c"), (std::vector<std::string>{"a", "b", "c"}));
}

TEST(DrivePath, RefusesWhatIsNoPathOnADrive) {
    for (const std::string& path :
         {std::string(), std::string("\\"), std::string("\\\\"), std::string("/"), std::string(".."),
          std::string("\\..\\etc"), std::string("\\a\\..\\b"), std::string("\\a/../b"), std::string("\\a\\.."),
          std::string("\\."), std::string("\\a\\.\\b"), std::string("C:\\a"), std::string("c:a"), std::string("\\C:\\a"),
          std::string("\\a\0b", 4), std::string("\\\xFF"), std::string("\\\xED\xA0\x80")})
        EXPECT_EQ(split_drive_path(path).error().kind(), ErrorKind::InvalidArgument) << testing::PrintToString(path);
}

TEST(DrivePath, ComponentsEndAt255Utf16Units) {
    std::string smileys;
    for (int i = 0; i < 127; ++i)
        smileys += "\xF0\x9F\x98\x80";  // two units each
    EXPECT_TRUE(split_drive_path("\\" + std::string(255, 'x')));
    EXPECT_TRUE(split_drive_path("\\" + smileys + "x"));
    EXPECT_EQ(split_drive_path("\\" + std::string(256, 'x')).error().kind(), ErrorKind::LimitReached);
    EXPECT_EQ(split_drive_path("\\" + smileys + "xx").error().kind(), ErrorKind::LimitReached);
}

TEST(DrivePath, PathsEndAt32767Utf16Units) {
    std::string path;
    while (path.size() < 32'767 - 255)
        path += "\\" + std::string(254, 'x');
    path += "\\" + std::string(32'767 - path.size() - 1, 'x');
    ASSERT_EQ(path.size(), 32'767U);
    EXPECT_TRUE(split_drive_path(path));
    EXPECT_EQ(split_drive_path("\\" + path).error().kind(), ErrorKind::LimitReached);
}

}  // namespace
}  // namespace dray::format
