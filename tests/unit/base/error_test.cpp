// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cerrno>

#include "daemon/base/result.hpp"

namespace dray {
namespace {

Result<int> bottom() { return fail(ErrorKind::Unreachable, "store \"{}\": {}", "vault", 503); }

Result<int> middle() {
    DRAY_LET(const int value, bottom());
    return value + 1;
}

Result<void> top() {
    Result<int> value = middle();
    if (!value)
        return fail(std::move(value.error()), "cannot import drive {}", "X1");
    return {};
}

TEST(Error, KeepsTheKindOfItsCauseAndTellsTheWholeChain) {
    const Result<void> result = top();
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind(), ErrorKind::Unreachable);
    EXPECT_EQ(result.error().message(), "cannot import drive X1");
    EXPECT_EQ(result.error().text(), "cannot import drive X1: store \"vault\": 503");
}

TEST(Error, MakesAnErrnoIntoAKindAndASentence) {
    const Result<void> result = fail_errno(ENOSPC, "cannot write {}", "journal");
    EXPECT_EQ(result.error().kind(), ErrorKind::NoSpace);
    EXPECT_EQ(result.error().text(), "cannot write journal: No space left on device");
    EXPECT_EQ(kind_of_errno(ENXIO), ErrorKind::Gone);
    EXPECT_EQ(kind_of_errno(EACCES), ErrorKind::Denied);
    EXPECT_EQ(kind_of_errno(EIO), ErrorKind::Internal);
}

}  // namespace
}  // namespace dray
