// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/key_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "daemon/base/memfd.hpp"
#include "tests/unit/ctl/scratch_source.hpp"

namespace dray::ctl {
namespace {

using test::ScratchSource;
using testing::HasSubstr;

TEST(KeyFile, IsUsedByteByByte) {
    const ScratchSource scratch;
    std::string key = "with a line break\n";
    key += '\0';
    scratch.add("key", key);
    const Result<FileDescriptor> memfd = key_memfd(scratch / "key");
    ASSERT_TRUE(memfd) << memfd.error().text();
    const Result<SecretBytes> read = read_sealed_memfd(memfd->get(), kMaxKeyBytes);
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(read->text(), key);
}

TEST(KeyFile, IsNeitherEmptyNorLongNorMissing) {
    const ScratchSource scratch;
    scratch.add("empty", "");
    scratch.add("longest", std::string(kMaxKeyBytes, 'k'));
    scratch.add("too-long", std::string(kMaxKeyBytes + 1, 'k'));
    EXPECT_THAT(key_memfd(scratch / "empty").error().text(), HasSubstr("is empty"));
    EXPECT_TRUE(key_memfd(scratch / "longest"));
    EXPECT_THAT(key_memfd(scratch / "too-long").error().text(), HasSubstr("more than"));
    EXPECT_EQ(key_memfd(scratch / "missing").error().kind(), ErrorKind::NotFound);
}

TEST(KeyFile, IsWarnedAboutWhenOthersCanReadIt) {
    const ScratchSource scratch;
    scratch.add("key", "k");
    ASSERT_EQ(chmod((scratch / "key").c_str(), 0644), 0);
    EXPECT_THAT(key_file_warning(scratch / "key"), HasSubstr("mode 0644"));
    ASSERT_EQ(chmod((scratch / "key").c_str(), 0400), 0);
    EXPECT_EQ(key_file_warning(scratch / "key"), "");
    EXPECT_EQ(key_file_warning(scratch / "missing"), "");
}

}  // namespace
}  // namespace dray::ctl
