// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/blob_name.hpp"

#include <gtest/gtest.h>

namespace dray {
namespace {

TEST(BlobName, TakesAPathApartAtTheFirstSlash) {
    const auto blob = parse_blob_path("lab/a/ramp 100%25.bin");
    ASSERT_TRUE(blob) << blob.error().text();
    EXPECT_EQ(blob->container, "lab");
    EXPECT_EQ(blob->name, "a/ramp 100%25.bin");
    EXPECT_EQ(blob->path(), "lab/a/ramp 100%25.bin");
}

TEST(BlobName, AcceptsLegalPaths) {
    const std::string longest = "lab/" + std::string(1024, 'x');
    std::string accents = "lab/";
    for (int i = 0; i < 1024; ++i)
        accents += "\xC3\xA9";
    for (const std::string& path : {std::string("abc/x"), std::string("a-b-c/x"), std::string("$root/logo.bmp"),
                                    "0" + std::string(62, 'a') + "/x", std::string("lab/dir/"),
                                    std::string("lab//x"), longest, accents})
        EXPECT_TRUE(parse_blob_path(path)) << path;
}

TEST(BlobName, RefusesIllegalPaths) {
    const std::string paths[] = {"",         "lab",       "lab/",    "/lab/x",  "ab/x",      std::string(64, 'a') + "/x",
                                 "Lab/x",    "-lab/x",    "lab-/x",  "la--b/x", "la_b/x",    "$logs/x",
                                 "$root/a/b", "lab/\xFF", "l\xC3\xA9o/x", "lab/" + std::string(1025, 'x'),
                                 std::string("lab/a\0b", 7)};
    for (const std::string& path : paths) {
        const auto blob = parse_blob_path(path);
        ASSERT_FALSE(blob) << path;
        EXPECT_EQ(blob.error().kind(), ErrorKind::InvalidArgument) << path;
    }
}

TEST(BlobName, RenamesBeforeTheLastDotOfTheLastSegment) {
    const struct {
        const char* name;
        unsigned n;
        const char* expected;
    } rows[] = {
        {"a.bin", 2, "a (2).bin"},           {"a", 2, "a (2)"},
        {"a.tar.gz", 3, "a.tar (3).gz"},     {"v1.2/readme", 2, "v1.2/readme (2)"},
        {"v1.2/read.me", 9, "v1.2/read (9).me"}, {".profile", 2, ".profile (2)"},
        {"home/.profile", 2, "home/.profile (2)"}, {".a.b", 2, ".a (2).b"},
        {"a.", 2, "a (2)."},                 {"dir/", 2, "dir/ (2)"},
        {"a.b", 9999, "a (9999).b"},
    };
    for (const auto& row : rows) {
        const auto name = renamed({"lab", row.name}, row.n);
        ASSERT_TRUE(name) << row.name;
        EXPECT_EQ(name->name, row.expected);
        EXPECT_EQ(name->container, "lab");
    }
}

TEST(BlobName, RenamingEndsAt9999AndAt1024Characters) {
    EXPECT_EQ(renamed({"lab", "a"}, 10'000).error().kind(), ErrorKind::NotFound);
    EXPECT_TRUE(renamed({"lab", std::string(1020, 'x')}, 2));
    EXPECT_EQ(renamed({"lab", std::string(1021, 'x')}, 2).error().kind(), ErrorKind::NotFound);
}

}  // namespace
}  // namespace dray
