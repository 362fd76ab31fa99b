// SPDX-License-Identifier: Apache-2.0
#include "daemon/base/memfd.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "daemon/base/file.hpp"

namespace dray {
namespace {

TEST(SealedMemfd, BringsTheBytesAcrossWhateverTheFilePosition) {
    const SecretBytes secret(std::string_view("pass\0phrase\n", 12));
    FileDescriptor fd = make_sealed_memfd("test", secret.bytes()).value();
    lseek(fd.get(), 5, SEEK_SET);
    EXPECT_EQ(read_sealed_memfd(fd.get(), kMaxKeyBytes).value().text(), secret.text());
    EXPECT_LT(write(fd.get(), "x", 1), 0);
}

TEST(SealedMemfd, HasALimitWithTwoSides) {
    FileDescriptor fd = make_sealed_memfd("test", SecretBytes(100).bytes()).value();
    EXPECT_TRUE(read_sealed_memfd(fd.get(), 100));
    EXPECT_EQ(read_sealed_memfd(fd.get(), 99).error().kind(), ErrorKind::InvalidArgument);
}

TEST(SealedMemfd, RefusesWhatSomebodyCouldStillChangeOrStall) {
    int pipes[2];
    ASSERT_EQ(pipe2(pipes, O_CLOEXEC), 0);
    const FileDescriptor reading(pipes[0]);
    const FileDescriptor writing(pipes[1]);
    EXPECT_EQ(read_sealed_memfd(reading.get(), 100).error().kind(), ErrorKind::InvalidArgument);

    const FileDescriptor open_memfd(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    EXPECT_FALSE(read_sealed_memfd(open_memfd.get(), 100));
    ASSERT_EQ(fcntl(open_memfd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    EXPECT_FALSE(read_sealed_memfd(open_memfd.get(), 100)) << "it can still be written";
    const FileDescriptor file(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    EXPECT_FALSE(read_sealed_memfd(file.get(), 100));
}

TEST(SharedMemory, IsOneMemoryForTwoMappingsAndCannotShrink) {
    FileDescriptor fd = make_shared_memfd("ring", 8192).value();
    SharedMemory one = SharedMemory::map(fd.get(), 8192).value();
    SharedMemory two = SharedMemory::map(fd.get(), 8192).value();
    one.bytes()[8191] = std::byte{7};
    EXPECT_EQ(two.bytes()[8191], std::byte{7});
    EXPECT_NE(ftruncate(fd.get(), 0), 0);
    EXPECT_FALSE(SharedMemory::map(fd.get(), 8193));
    const FileDescriptor shrinkable(memfd_create("ring", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    ASSERT_EQ(ftruncate(shrinkable.get(), 8192), 0);
    EXPECT_EQ(SharedMemory::map(shrinkable.get(), 8192).error().kind(), ErrorKind::InvalidArgument);
}

TEST(File, IsReplacedAsAWholeAndReadUpToALimit) {
    const std::string path = testing::TempDir() + "dray-file-test-" + std::to_string(getpid());
    const SecretBytes first(std::string_view("first"));
    ASSERT_TRUE(write_file_atomically(path, first.bytes(), 0600));
    ASSERT_TRUE(write_file_atomically(path, SecretBytes(std::string_view("2nd")).bytes(), 0600));
    EXPECT_EQ(read_file(path, 3).value(), "2nd");
    EXPECT_EQ(read_file(path, 2).error().kind(), ErrorKind::LimitReached);
    unlink(path.c_str());
    EXPECT_EQ(read_file(path, 3).error().kind(), ErrorKind::NotFound);
}

}  // namespace
}  // namespace dray
