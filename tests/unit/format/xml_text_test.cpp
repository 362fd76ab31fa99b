// SPDX-License-Identifier: Apache-2.0
#include "daemon/format/xml_text.hpp"

#include <gtest/gtest.h>

#include "daemon/format/drive_manifest.hpp"

namespace dray::format {
namespace {

TEST(XmlText, IsEscaped) {
    EXPECT_EQ(escape_xml("a & b < c > d \" e ' f"), "a &amp; b &lt; c &gt; d &quot; e ' f");
    EXPECT_EQ(escape_xml("a\tb\nc\r"), "a&#9;b&#10;c&#13;");
    EXPECT_EQ(escape_xml("\xC3\xA9\xF0\x9F\x98\x80"), "\xC3\xA9\xF0\x9F\x98\x80");
    EXPECT_EQ(escape_xml(std::string_view("a\0b\x01", 4)), "a\xEF\xBF\xBD" "b\xEF\xBF\xBD");
    EXPECT_EQ(escape_xml("\xFFx\xC3"), "\xEF\xBF\xBDx\xEF\xBF\xBD");
    EXPECT_EQ(escape_xml(""), "");
}

TEST(XmlText, KnowsWhatXmlCanHold) {
    for (const char* text : {"", "plain", "tab\tand\r\n", "\xC3\xA9", "\xF4\x8F\xBF\xBF", "\x7F"})
        EXPECT_TRUE(is_xml_text(text)) << text;
    for (const char* text : {"\x01", "\x1F", "\xFF", "\xEF\xBF\xBE", "\xEF\xBF\xBF", "\xED\xA0\x80"})
        EXPECT_FALSE(is_xml_text(text)) << testing::PrintToString(text);
    EXPECT_FALSE(is_xml_text(std::string_view("\0", 1)));
}

TEST(XmlText, NumbersAreDigitsOnly) {
    EXPECT_EQ(parse_number("0"), 0U);
    EXPECT_EQ(parse_number("007"), 7U);
    EXPECT_EQ(parse_number("18446744073709551615"), 18446744073709551615U);
    for (const char* text : {"", " 1", "1 ", "+1", "-1", "0x1", "1e3", "18446744073709551616"})
        EXPECT_FALSE(parse_number(text)) << text;
}

TEST(XmlText, IsTrimmed) {
    EXPECT_EQ(trim(" \t\r\na b\n "), "a b");
    EXPECT_EQ(trim(" \n"), "");
    EXPECT_EQ(trim(""), "");
}

TEST(XmlText, IsShownShortAndPlain) {
    EXPECT_EQ(shown("a b"), "a b");
    EXPECT_EQ(shown("a\nb\x1B[31m\x7F\xFF"), "a?b?[31m??");
    EXPECT_EQ(shown(std::string(80, 'x')), std::string(80, 'x'));
    EXPECT_EQ(shown(std::string(81, 'x')), std::string(80, 'x') + "...");
}

}  // namespace
}  // namespace dray::format
