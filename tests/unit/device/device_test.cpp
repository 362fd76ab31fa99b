// SPDX-License-Identifier: Apache-2.0
#include "daemon/device/device.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "daemon/base/file.hpp"
#include "tests/support/scratch_directory.hpp"

namespace dray {
namespace {

namespace fs = std::filesystem;

class OpenDevice : public testing::Test {
protected:
    OpenDevice() { std::ofstream(root_ / "a.img") << "content"; }

    Device image(const std::string& name) const {
        Device device;
        device.id = name + "_1";
        device.node = root_ / name;
        device.is_image = true;
        return device;
    }
    static ErrorKind kind_of(const Result<FileDescriptor>& result) {
        EXPECT_FALSE(result);
        return result ? ErrorKind::Internal : result.error().kind();
    }

    test::ScratchDirectory root_;
};

TEST_F(OpenDevice, AnImageOpensForReadingWithoutNonblockAndCloseOnExec) {
    const Result<FileDescriptor> fd = open_device(image("a.img"));
    ASSERT_TRUE(fd) << fd.error().text();
    EXPECT_EQ(fcntl(fd->get(), F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDONLY);
    EXPECT_EQ(fcntl(fd->get(), F_GETFD), FD_CLOEXEC);
    std::string bytes(7, '\0');
    ASSERT_TRUE(read_fully(fd->get(), 0, std::as_writable_bytes(std::span(bytes)), "a.img"));
    EXPECT_EQ(bytes, "content");
}

TEST_F(OpenDevice, AnImageInUseIsBusyUntilItIsClosed) {
    Result<FileDescriptor> first = open_device(image("a.img"));
    ASSERT_TRUE(first);
    EXPECT_EQ(kind_of(open_device(image("a.img"))), ErrorKind::Busy);
    ASSERT_TRUE(first->close());
    EXPECT_TRUE(open_device(image("a.img")));
}

TEST_F(OpenDevice, AnImageThatWentIsGone) {
    EXPECT_EQ(kind_of(open_device(image("b.img"))), ErrorKind::Gone);
    EXPECT_EQ(kind_of(open_device(image("folder/b.img"))), ErrorKind::Gone);
}

TEST_F(OpenDevice, ALinkAPipeAndADirectoryAreRefused) {
    fs::create_symlink(root_ / "a.img", root_ / "link.img");
    ASSERT_EQ(mkfifo((root_ / "pipe.img").c_str(), 0600), 0);
    fs::create_directory(root_ / "folder.img");
    for (const char* name : {"link.img", "pipe.img", "folder.img"})
        EXPECT_EQ(kind_of(open_device(image(name))), ErrorKind::InvalidArgument) << name;
}

TEST_F(OpenDevice, AnImageInADirectoryThatOthersCanWriteIsRefused) {
    for (const unsigned mode : {0770U, 0707U, 01777U}) {
        ASSERT_EQ(chmod(root_.path().c_str(), mode), 0);
        const Result<FileDescriptor> fd = open_device(image("a.img"));
        EXPECT_EQ(kind_of(fd), ErrorKind::InvalidArgument);
        EXPECT_THAT(fd.error().text(), testing::HasSubstr("chmod go-w"));
    }
    ASSERT_EQ(chmod(root_.path().c_str(), 0755), 0);
    EXPECT_TRUE(open_device(image("a.img")));
}

TEST_F(OpenDevice, ADiskThatIsNotThereOrIsNoDiskIsGone) {
    Device disk;
    disk.id = "sdzz_1";
    disk.node = "/dev/sdzz-of-no-machine";
    EXPECT_EQ(kind_of(open_device(disk)), ErrorKind::Gone);
    disk.node = root_ / "a.img";
    EXPECT_EQ(kind_of(open_device(disk)), ErrorKind::Gone);
    ASSERT_EQ(mkfifo((root_ / "pipe").c_str(), 0600), 0);
    disk.node = root_ / "pipe";
    EXPECT_EQ(kind_of(open_device(disk)), ErrorKind::Gone);
}

}  // namespace
}  // namespace dray
