// SPDX-License-Identifier: Apache-2.0
#include "config/reader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace dray {
namespace {

using testing::HasSubstr;

/// The mistakes found in a text, as one string.
std::string mistakes(const std::string& text) {
    ConfigReader reader;
    (void)reader.parse(text, "a.yaml");
    const Result<void> end = reader.finish();
    return end ? "" : end.error().text();
}

TEST(ConfigReader, ValuesKnowTheirFileAndLine) {
    ConfigReader reader;
    const ConfigValue value = reader.parse("a: 1\nb:\n  c: [x, y]\n", "a.yaml");
    ASSERT_TRUE(reader.finish());
    ASSERT_NE(value.find("b"), nullptr);
    const ConfigValue* list = value.find("b")->find("c");
    ASSERT_NE(list, nullptr);
    EXPECT_EQ(list->line, 3);
    EXPECT_EQ(list->file, "a.yaml");
    ASSERT_EQ(list->items.size(), 2U);
    EXPECT_EQ(list->items[1].text, "y");
    EXPECT_EQ(value.find("c"), nullptr);
}

TEST(ConfigReader, AnEmptyTextHasNoMistakes) {
    for (const char* text : {"", "\n", "# only a comment\n", "---\n", "~\n", "{}\n"})
        EXPECT_EQ(mistakes(text), "") << text;
}

TEST(ConfigReader, RefusesWhatIsNoPlainYaml) {
    const struct {
        const char* what;
        const char* text;
        const char* sentence;
    } rows[] = {
        {"an unclosed list", "a: 1\nb: [1,\n", "a.yaml:3: is not valid YAML"},
        {"a tab", "a:\n\tb: 1\n", "a.yaml:2: is not valid YAML"},
        {"a text", "hello\n", "a.yaml:1: must be settings"},
        {"a list", "- a\n- b\n", "a.yaml:1: must be settings"},
        {"an alias", "a: &x 1\nb: *x\n", "a.yaml:2: aliases (*name) are not allowed"},
        {"an anchor", "a: &x 1\n", "a.yaml:1: anchors (&name) are not allowed"},
        {"an unknown alias", "a: *x\n", "a.yaml:1: is not valid YAML"},
        {"a tag", "a: !!int 1\n", "a.yaml:1: tags (!name) are not allowed"},
        {"a key twice", "a: 1\nb: 2\na: 3\n",
         "a.yaml:3: key \"a\" is given twice; the first is in line 1"},
        {"a key twice below", "x: {a: 1, a: 1}\n", "key \"a\" is given twice"},
        {"a key that is a list", "? [a, b]\n: 1\n", "a.yaml:1: a key must be a word"},
        {"a key that is nothing", "~: 1\n", "a key must be a word"},
        {"two documents", "a: 1\n---\nb: 2\n", "holds more than one document"},
    };
    for (const auto& row : rows)
        EXPECT_THAT(mistakes(row.text), HasSubstr(row.sentence)) << row.what;
}

TEST(ConfigReader, NestingHasALimit) {
    const auto nested = [](int depth) {
        return "a: " + std::string(static_cast<std::size_t>(depth), '[') +
               std::string(static_cast<std::size_t>(depth), ']') + "\n";
    };
    EXPECT_EQ(mistakes(nested(7)), "");  // the map around it is the first level
    EXPECT_THAT(mistakes(nested(8)), HasSubstr("a.yaml:1: is nested deeper than any setting"));
    EXPECT_THAT(mistakes(nested(400)), HasSubstr("is nested deeper than any setting"));
    EXPECT_NE(mistakes(nested(100'000)), "");
}

TEST(ConfigReader, SizeAndNumberOfValuesHaveLimits) {
    const std::string comment = "#" + std::string(kMaxConfigFile - 2, 'x') + "\n";
    EXPECT_EQ(mistakes(comment), "");
    EXPECT_THAT(mistakes(comment + "\n"), HasSubstr("a.yaml: is larger than 1 MiB"));
    std::string list = "a: [";
    for (int i = 0; i < 20'000; ++i)
        list += "1,";
    EXPECT_THAT(mistakes(list + "]\n"), HasSubstr("too many values"));
}

TEST(ConfigReader, MessagesStaySmallAndPrintable) {
    std::string text;
    for (int i = 0; i < 1000; ++i)
        text += "a: !x 1\n";
    EXPECT_LT(mistakes(text).size(), 20'000U);
    EXPECT_THAT(mistakes(text), HasSubstr("and more"));
    EXPECT_EQ(in_quotes("a\nb\x7f"), "\"a?b?\"");
    EXPECT_EQ(in_quotes(std::string(60, 'x')).size(), 62U);
    EXPECT_EQ(in_quotes(std::string(61, 'x')).size(), 65U);
}

TEST(ConfigReader, NoTextMakesItThrow) {
    const unsigned seed = std::random_device{}();
    RecordProperty("seed", std::to_string(seed));
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const std::string alphabet = "a:b- \n\t[]{}\"'&*!|>%@`#?,~0\\\xff\xc3";
    for (int round = 0; round < 3000; ++round) {
        std::string text;
        for (auto length = random() % 60; length > 0; --length)
            text += alphabet[random() % alphabet.size()];
        (void)mistakes(text);
    }
}

TEST(MergeConfig, ALaterValueReplacesSingleKeys) {
    ConfigReader reader;
    ConfigValue base = reader.parse("a: {x: 1, y: 2}\nl: [1, 2]\nn: 5\n", "base.yaml");
    merge(base, reader.parse("a: {y: 3, z: 4}\nl: [9]\nn:\n", "over.yaml"));
    ASSERT_TRUE(reader.finish());
    EXPECT_EQ(base.find("a")->find("x")->text, "1");
    EXPECT_EQ(base.find("a")->find("y")->text, "3");
    EXPECT_EQ(base.find("a")->find("y")->file, "over.yaml");
    EXPECT_EQ(base.find("a")->find("z")->text, "4");
    EXPECT_EQ(base.find("l")->items.size(), 1U);
    EXPECT_EQ(base.find("n")->text, "5");  // an empty heading changes nothing
}

}  // namespace
}  // namespace dray
