// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/path_map.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dray::ctl {
namespace {

using testing::HasSubstr;

TEST(PathMap, ReadsWhatItWroteAndWhatSomebodyAdded) {
    const Result<PathMap> map = read_path_map("\\s001\\a b\n\n\\c\t/srv/c d\r\n\\s001\\a b\t/x\n\\e");
    ASSERT_TRUE(map) << map.error().text();
    EXPECT_EQ(*map, (PathMap{{"\\s001\\a b", "/x"}, {"\\c", "/srv/c d"}, {"\\e", ""}}));
    EXPECT_EQ(write_path_map(*map), "\\c\t/srv/c d\n\\e\n\\s001\\a b\t/x\n");
    EXPECT_EQ(*read_path_map(write_path_map(*map)), *map);
    EXPECT_EQ(read_path_map("")->size(), 0U);
}

TEST(PathMap, RefusesLinesThatCannotBeMeant) {
    EXPECT_THAT(read_path_map("\\a\t/x\n\\a\t/y\n").error().text(), HasSubstr("line 2: \\a has two real paths"));
    EXPECT_THAT(read_path_map("\\a\n\\..\\b\n").error().text(), HasSubstr("line 2"));
}

}  // namespace
}  // namespace dray::ctl
