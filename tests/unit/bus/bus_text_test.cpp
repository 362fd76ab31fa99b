// SPDX-License-Identifier: Apache-2.0
#include "daemon/bus/bus_text.hpp"

#include <gtest/gtest.h>

namespace dray::bus {
namespace {

TEST(BusText, LetsValidTextThroughAndReplacesWhatIsNot) {
    struct Row {
        const char* what;
        std::string text;
        std::string expected;
    };
    const Row rows[] = {
        {"nothing", "", ""},
        {"plain", "WD Elements", "WD Elements"},
        {"two bytes", "Zürich", "Zürich"},
        {"three bytes", "\u20ac", "\u20ac"},
        {"four bytes", "\U0001F4BE", "\U0001F4BE"},
        {"last code point before the surrogates", "\xed\x9f\xbf", "\xed\x9f\xbf"},
        {"surrogate", "\xed\xa0\x80", "???"},
        {"lone continuation", "a\x80z", "a?z"},
        {"overlong slash", "\xc0\xaf", "??"},
        {"overlong in three", "\xe0\x80\xaf", "???"},
        {"above U+10FFFF", "\xf4\x90\x80\x80", "????"},
        {"non-character", "\xef\xbf\xbf", "???"},
        {"cut off", "ab\xe2\x82", "ab??"},
        {"Latin-1", "M\xfcller", "M?ller"},
        {"line break stays", "a\nb", "a\nb"},
    };
    for (const Row& row : rows)
        EXPECT_EQ(as_utf8(row.text), row.expected) << row.what;
}

TEST(BusText, KeepsALineOfTheLogOneLine) {
    EXPECT_EQ(as_line("job x\naudit: uid 0"), "job x?audit: uid 0");
    EXPECT_EQ(as_line("\x1b[31mred"), "?[31mred");
    EXPECT_EQ(as_line("\x7f"), "?");
    EXPECT_EQ(as_line(std::string(200, 'a')), std::string(200, 'a'));
    EXPECT_EQ(as_line(std::string(201, 'a')), std::string(200, 'a'));
}

}  // namespace
}  // namespace dray::bus
