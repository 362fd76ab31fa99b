// SPDX-License-Identifier: Apache-2.0
//
// The drive header hash of azure-import-export.md 3.4, as operators give it.
#include "daemon/model/header_hash.hpp"

#include <gtest/gtest.h>

#include "daemon/base/encoding.hpp"

namespace dray {
namespace {

std::string hash_of(char digit) { return std::string(128, digit); }
std::string region(const std::string& offset, const std::string& length) { return offset + ":" + length + ":" + hash_of('a'); }

std::string outcome(const std::string& text) {
    const auto regions = parse_header_hash(text);
    if (!regions)
        return std::string(to_string(regions.error().kind()));
    return std::to_string(regions->size());
}

TEST(HeaderHash, TheExampleOfTheServiceIsTwoRegions) {
    const auto regions = parse_header_hash(" 0:1048576:" + hash_of('F') + ";135266304:143360:" + hash_of('0') + "\r\n");
    ASSERT_TRUE(regions) << regions.error().text();
    const std::vector<HeaderRegion> expected{{0, 1048576, from_hex(hash_of('f')).value()},
                                             {135266304, 143360, from_hex(hash_of('0')).value()}};
    EXPECT_EQ(*regions, expected);
    EXPECT_EQ(outcome(""), "0");
    EXPECT_EQ(outcome(" \t\n"), "0");
}

TEST(HeaderHash, WhatIsNoneIsRefused) {
    for (const std::string& text :
         {std::string("BB"), std::string(":"), std::string(";"), "0:1:" + std::string(127, 'a'), "0:1:" + std::string(126, 'a'),
          "0:1:" + std::string(130, 'a'), "0:1:" + std::string(127, 'a') + "g", region("-1", "1"), region("0x0", "1"),
          region("", "1"), region("0", ""), region("0 ", "1"), region("0", "1 "), "1:" + hash_of('a'), region("0", "1") + ";",
          region("0", "1") + ";;" + region("0", "1"), region("0", "1") + "," + region("0", "1"), region("0:0", "1")})
        EXPECT_EQ(outcome(text), "InvalidArgument") << text;
}

TEST(HeaderHash, HasLimitsOnBothSides) {
    EXPECT_EQ(outcome(region("0", "0")), "InvalidArgument");
    EXPECT_EQ(outcome(region("0", "1")), "1");
    EXPECT_EQ(outcome(region("0", "67108864")), "1");
    EXPECT_EQ(outcome(region("0", "67108865")), "InvalidArgument");
    EXPECT_EQ(outcome(region("0", "67108863") + ";" + region("0", "1")), "2");
    EXPECT_EQ(outcome(region("0", "67108863") + ";" + region("0", "2")), "InvalidArgument");
    EXPECT_EQ(outcome(region("18446744073709551614", "1")), "1");
    EXPECT_EQ(outcome(region("18446744073709551615", "1")), "InvalidArgument");
    EXPECT_EQ(outcome(region("18446744073709551616", "1")), "InvalidArgument");
    std::string many = region("0", "1");
    for (std::size_t i = 1; i < kMaxHeaderRegions; ++i)
        many += ";" + region("0", "1");
    EXPECT_EQ(outcome(many), std::to_string(kMaxHeaderRegions));
    EXPECT_EQ(outcome(many + ";" + region("0", "1")), "InvalidArgument");
}

}  // namespace
}  // namespace dray
