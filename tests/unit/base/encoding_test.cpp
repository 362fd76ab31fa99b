// SPDX-License-Identifier: Apache-2.0
#include "daemon/base/encoding.hpp"

#include <gtest/gtest.h>

#include "daemon/base/digest.hpp"

namespace dray {
namespace {

std::vector<std::byte> bytes_of(std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
    return {bytes.begin(), bytes.end()};
}

TEST(Encoding, WritesUpperCaseHexAndReadsBothCases) {
    EXPECT_EQ(to_hex(bytes_of("\x01\xAB\xFF")), "01ABFF");
    EXPECT_EQ(from_hex("01abFF").value(), bytes_of("\x01\xAB\xFF"));
    EXPECT_FALSE(from_hex("0"));
    EXPECT_FALSE(from_hex("0g"));
    EXPECT_TRUE(from_hex("").value().empty());
}

TEST(Encoding, Base64GoesRoundForEveryPaddingAndRefusesTheRest) {
    for (const std::string_view text : {"", "a", "ab", "abc", "abcd"})
        EXPECT_EQ(from_base64(to_base64(bytes_of(text))).value(), bytes_of(text)) << text;
    for (const std::string_view bad : {"a", "ab=", "a===", "ab c", "=abc", "ab=c"})
        EXPECT_FALSE(from_base64(bad)) << bad;
}

TEST(Digest, KnowsTheManifestHashByItsLength) {
    EXPECT_EQ(digest_kind_of_hex(32).value(), DigestKind::Md5);
    EXPECT_EQ(digest_kind_of_hex(64).value(), DigestKind::Sha256);
    EXPECT_EQ(digest_kind_of_hex(128).value(), DigestKind::Sha512);
    for (const std::size_t other : {0, 31, 33, 40, 127, 129})
        EXPECT_EQ(digest_kind_of_hex(other).error().kind(), ErrorKind::InvalidArgument);
}

TEST(Digest, StartsAnewAfterFinish) {
    Digest digest(DigestKind::Md5);
    digest.update(bytes_of("ab"));
    digest.update(bytes_of("c"));
    EXPECT_EQ(to_hex(digest.finish()), "900150983CD24FB0D6963F7D28E17F72");
    EXPECT_EQ(to_hex(digest.finish()), "D41D8CD98F00B204E9800998ECF8427E");
    EXPECT_EQ(to_hex(md5(bytes_of("abc"))), "900150983CD24FB0D6963F7D28E17F72");
}

}  // namespace
}  // namespace dray
