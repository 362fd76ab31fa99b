// SPDX-License-Identifier: Apache-2.0
//
// The shipped files, so that they cannot go stale.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "config/loader.hpp"
#include "config/reader.hpp"

namespace dray {
namespace {

namespace fs = std::filesystem;

const fs::path kFolder = DRAY_CONFIG_DIR;

std::string text_of(const fs::path& file) {
    std::ifstream stream(file);
    return {std::istreambuf_iterator<char>(stream), {}};
}

/// Settings are commented out as "#key: value", explanations as "# text".
std::string with_settings_uncommented(const std::string& text) {
    std::istringstream lines(text);
    std::string result;
    for (std::string line; std::getline(lines, line);) {
        const std::size_t mark = line.find_first_not_of(' ');
        if (mark != std::string::npos && line[mark] == '#' && mark + 1 < line.size() &&
            line[mark + 1] != ' ')
            line.erase(mark, 1);
        result += line + "\n";
    }
    return result;
}

TEST(DefaultFile, ChangesNothingAsItIsShipped) {
    const Result<Config> config = load_config((kFolder / "dray.yaml").string());
    ASSERT_TRUE(config) << config.error().text();
    EXPECT_EQ(*config, Config{});
}

TEST(DefaultFile, ShowsTheDefaultsAndNothingElse) {
    const Result<Config> config =
        parse_config(with_settings_uncommented(text_of(kFolder / "dray.yaml")), "dray.yaml");
    ASSERT_TRUE(config) << config.error().text();
    Config expected;
    expected.state_directory = "/var/lib/dray";  // what an empty one means outside a unit
    EXPECT_EQ(*config, expected);
}

TEST(DefaultFile, ShowsEverySetting) {
    ConfigReader reader;
    const ConfigValue root =
        reader.parse(with_settings_uncommented(text_of(kFolder / "dray.yaml")), "dray.yaml");
    ASSERT_TRUE(reader.finish());
    const std::vector<std::string> keys = config_keys();
    EXPECT_GE(keys.size(), 20U);
    for (const std::string& key : keys) {
        const ConfigValue* value = &root;
        std::istringstream parts(key);
        for (std::string part; value != nullptr && std::getline(parts, part, '.');)
            value = value->find(part);
        EXPECT_NE(value, nullptr) << key << " is not in dray.yaml";
    }
}

// They belong to stores, of which there is none by default.
TEST(DefaultFile, TellsOfEveryOptionOfStoresAndKeys) {
    const std::string text = text_of(kFolder / "dray.yaml");
    const Result<Config> wrong = parse_config(
        "keys: {k: {what: 1}}\nstores: {blue: {type: azure, what: 1}, vault: {type: directory, what: 1}}", "dray.yaml");
    ASSERT_FALSE(wrong);
    std::istringstream lines(wrong.error().text());
    std::size_t options = 0;
    for (std::string line; std::getline(lines, line);) {
        const std::string mark = "known here: ";
        const std::size_t found = line.find(mark);
        if (found == std::string::npos)
            continue;
        std::istringstream words(line.substr(found + mark.size()));
        for (std::string option; words >> option; ++options) {
            option.erase(std::remove(option.begin(), option.end(), ','), option.end());
            EXPECT_NE(text.find("  " + option), std::string::npos) << option << " is not in dray.yaml";
        }
    }
    EXPECT_GE(options, 15U) << wrong.error().text();
}

TEST(ExampleFiles, AreAllValid) {
    int count = 0;
    for (const auto& entry : fs::directory_iterator(kFolder / "examples")) {
        const Result<Config> config = load_config(entry.path().string());
        EXPECT_TRUE(config) << config.error().text();
        ++count;
    }
    EXPECT_GE(count, 1);
}

}  // namespace
}  // namespace dray
