// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/utf8.hpp"

#include <gtest/gtest.h>

namespace dray {
namespace {

TEST(Utf8, CountsCharactersAndUtf16Units) {
    // One letter, one of two bytes, one of three, one of four bytes, which is two UTF-16 units.
    const auto length = measure_utf8("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80").value_or(TextLength{});
    EXPECT_EQ(length.characters, 4U);
    EXPECT_EQ(length.utf16_units, 5U);
    EXPECT_EQ(measure_utf8("").value_or(TextLength{9, 9}).characters, 0U);
    EXPECT_TRUE(measure_utf8("\xF4\x8F\xBF\xBF"));
    EXPECT_TRUE(measure_utf8("\xED\x9F\xBF"));
}

TEST(Utf8, RefusesWhatIsNoUtf8) {
    for (const char* text : {"\x80", "\xC3", "\xC3(", "\xC0\xAF", "\xC1\xBF", "\xE0\x80\xAF", "\xED\xA0\x80",
                             "\xF0\x80\x80\xAF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFE", "\xFF",
                             "ab\xE2\x82"})
        EXPECT_FALSE(measure_utf8(text)) << testing::PrintToString(text);
}

TEST(Utf8, TheFirstCharacterIsReadAloneWhateverFollows) {
    const auto euro = first_character("\xE2\x82\xAC\xFF").value_or(Utf8Character{});
    EXPECT_EQ(euro.size, 3U);
    EXPECT_EQ(euro.code, 0x20ACU);
    EXPECT_EQ(first_character(std::string_view("\0", 1)).value_or(Utf8Character{9, 9}).code, 0U);
    EXPECT_EQ(first_character("\xEF\xBF\xBF").value_or(Utf8Character{}).code, 0xFFFFU) << "who may not have it looks itself";
    for (const char* bad : {"", "\x80", "\xE2\x82", "\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80"})
        EXPECT_FALSE(first_character(bad)) << bad;
}

TEST(Utf8, WhatIsTamedCanBeShownAnywhere) {
    EXPECT_EQ(tame("gr\xC3\xBC\xC3\x9F dich, \xE2\x82\xAC"), "gr\xC3\xBC\xC3\x9F dich, \xE2\x82\xAC");
    EXPECT_EQ(tame("a\x1B[2J\r\n\t\x7F" "b"), "a?[2J????b");
    EXPECT_EQ(tame("\xC2\x9B" "31m\xC2\xA0"), "?31m\xC2\xA0");
    EXPECT_EQ(tame("\xFF\xC3(\xED\xA0\x80"), std::string(2, '?') + "(" + std::string(3, '?'));
    EXPECT_EQ(tame(std::string_view("a\0b", 3)), "a?b");
    EXPECT_EQ(tame(""), "");
}

}  // namespace
}  // namespace dray
