// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/drive_target.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/file.hpp"
#include "tests/unit/ctl/scratch_source.hpp"

namespace dray::ctl {
namespace {

using test::ScratchSource;
using testing::HasSubstr;

bool exists(const std::string& path) {
    return access(path.c_str(), F_OK) == 0;
}

TEST(DriveTarget, HasItsNameOnlyWhenItIsPublished) {
    const ScratchSource scratch;
    const std::string image = scratch / "x.img";
    Result<DriveTarget> target = DriveTarget::look_at(image);
    ASSERT_TRUE(target) << target.error().text();
    EXPECT_EQ(target->holds(), "");
    ASSERT_TRUE(target->begin(kMiB, 0));
    EXPECT_FALSE(exists(image));
    struct stat status {};
    ASSERT_EQ(stat((image + ".part").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777U, 0600U);
    EXPECT_EQ(status.st_size, 1024 * 1024);
    ASSERT_TRUE(target->publish());
    EXPECT_TRUE(exists(image));
    EXPECT_FALSE(exists(image + ".part"));
}

TEST(DriveTarget, LeavesNothingBehindUnlessItIsPublished) {
    const ScratchSource scratch;
    const std::string image = scratch / "x.img";
    {
        Result<DriveTarget> target = DriveTarget::look_at(image);
        ASSERT_TRUE(target);
        ASSERT_TRUE(target->begin(kMiB, 0));
        ASSERT_TRUE(exists(image + ".part"));
    }
    EXPECT_FALSE(exists(image));
    EXPECT_FALSE(exists(image + ".part"));
}

TEST(DriveTarget, SaysWhatWouldBeLostAndKeepsItUntilTheEnd) {
    const ScratchSource scratch;
    scratch.add("x.img", "precious");
    scratch.add("luks.img", "LUKS\xba\xbe and so on");
    scratch.add("empty.img", "");
    EXPECT_EQ(DriveTarget::look_at(scratch / "luks.img")->holds(), "a LUKS volume");
    EXPECT_EQ(DriveTarget::look_at(scratch / "empty.img")->holds(), "");
    {
        Result<DriveTarget> target = DriveTarget::look_at(scratch / "x.img");
        ASSERT_TRUE(target);
        EXPECT_EQ(target->holds(), "data");
        ASSERT_TRUE(target->begin(kMiB, 0));
    }
    EXPECT_EQ(*read_file(scratch / "x.img", kMiB), "precious");
    Result<DriveTarget> target = DriveTarget::look_at(scratch / "x.img");
    ASSERT_TRUE(target->begin(kMiB, 0));
    ASSERT_TRUE(target->publish());
    EXPECT_EQ(std::filesystem::file_size(scratch / "x.img"), kMiB);
}

TEST(DriveTarget, FollowsNoLinkAndTakesNoDirectoryOrPipe) {
    const ScratchSource scratch;
    scratch.add("file", "");
    ASSERT_EQ(symlink("file", (scratch / "link").c_str()), 0);
    ASSERT_EQ(symlink("nothing", (scratch / "dangling").c_str()), 0);
    ASSERT_EQ(mkfifo((scratch / "pipe").c_str(), 0600), 0);
    EXPECT_THAT(DriveTarget::look_at(scratch / "link").error().text(), HasSubstr("symbolic link"));
    EXPECT_FALSE(DriveTarget::look_at(scratch / "dangling"));
    EXPECT_FALSE(DriveTarget::look_at(scratch / "pipe"));
    EXPECT_FALSE(DriveTarget::look_at(scratch.path()));
    EXPECT_FALSE(DriveTarget::look_at("/dev/null"));
    EXPECT_FALSE(DriveTarget::look_at(""));
}

TEST(DriveTarget, DoesNotOverwriteWhatCameMeanwhile) {
    const ScratchSource scratch;
    Result<DriveTarget> target = DriveTarget::look_at(scratch / "x.img");
    ASSERT_TRUE(target->begin(kMiB, 0));
    scratch.add("x.img", "came meanwhile");
    const Result<void> published = target->publish();
    ASSERT_FALSE(published);
    EXPECT_EQ(published.error().kind(), ErrorKind::Exists);
    EXPECT_EQ(*read_file(scratch / "x.img", kMiB), "came meanwhile");
}

TEST(DriveTarget, TakesOverWhatAKilledOneLeftButNotWhatOneIsWriting) {
    const ScratchSource scratch;
    scratch.add("x.img.part", "left behind");
    {
        Result<DriveTarget> target = DriveTarget::look_at(scratch / "x.img");
        ASSERT_TRUE(target->begin(kMiB, 0));
        Result<DriveTarget> second = DriveTarget::look_at(scratch / "x.img");
        const Result<void> begun = second->begin(kMiB, 0);
        ASSERT_FALSE(begun);
        EXPECT_EQ(begun.error().kind(), ErrorKind::Busy);
    }
    EXPECT_FALSE(exists(scratch / "x.img.part"));
    std::filesystem::create_directory(scratch / "x.img.part");
    Result<DriveTarget> blocked = DriveTarget::look_at(scratch / "x.img");
    EXPECT_FALSE(blocked->begin(kMiB, 0));
    EXPECT_TRUE(exists(scratch / "x.img.part"));
}

TEST(DriveTarget, SaysBeforehandThatTheDiskIsTooFull) {
    const ScratchSource scratch;
    Result<DriveTarget> target = DriveTarget::look_at(scratch / "x.img");
    const Result<void> begun = target->begin(kMiB, Bytes{1} << 60);
    ASSERT_FALSE(begun);
    EXPECT_EQ(begun.error().kind(), ErrorKind::NoSpace);
    EXPECT_FALSE(exists(scratch / "x.img.part"));
}

}  // namespace
}  // namespace dray::ctl
