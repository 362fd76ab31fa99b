// SPDX-License-Identifier: Apache-2.0
#include "config/loader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "tests/support/scratch_directory.hpp"

namespace dray {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using namespace std::chrono_literals;

std::string mistakes(const std::string& text) {
    const Result<Config> config = parse_config(text, "dray.yaml");
    if (config)
        return "";
    EXPECT_EQ(config.error().kind(), ErrorKind::InvalidArgument);
    return config.error().text();
}

TEST(ParseConfig, AnEmptyTextGivesTheDefaults) {
    const Result<Config> config = parse_config("", "dray.yaml");
    ASSERT_TRUE(config);
    EXPECT_EQ(*config, Config{});
}

TEST(ParseConfig, EverySettingArrives) {
    const Result<Config> config = parse_config(R"(
state-directory: /srv/state
devices:
  sources: [images, udev]
  images: /srv/images
  allow-loop: true
drives: {allow-plain: true, strict-header-hash: true, unlock-memory: 256MiB}
stores:
  vault: {type: directory, path: /srv/dray/vault}
  other.store-2: {type: directory, path: /mnt/other}
transfers: {max: 5, requests: 6, ring: 32MiB, checkpoint: 7s}
lifecycle: {auto-ship: true, hand-back: at-once, require-shipping: true, retention: 1d, unshipped: 2h, overdue: 3min, no-reply: 4min, auto-close: true}
cancel: {drain: piece}
jobs: {max: 7, drives: 8}
clock: {require-sync: false}
log: {level: debug}
)",
                                               "dray.yaml");
    ASSERT_TRUE(config) << config.error().text();
    Config expected;
    expected.state_directory = "/srv/state";
    expected.devices = {
        .use_udev = true, .use_images = true, .images = "/srv/images", .allow_loop = true};
    expected.drives = {.allow_plain = true, .strict_header_hash = true, .unlock_memory = 256 * kMiB};
    expected.stores["vault"] = {.name = "vault", .type = "directory", .path = "/srv/dray/vault"};
    expected.stores["other.store-2"] = {
        .name = "other.store-2", .type = "directory", .path = "/mnt/other"};
    expected.transfers = {.max = 5, .requests = 6, .ring = 32 * kMiB, .checkpoint = std::chrono::seconds(7)};
    expected.lifecycle = {.auto_ship = true,
                          .hand_back = HandBack::AtOnce,
                          .require_shipping = true,
                          .retention = std::chrono::days(1),
                          .unshipped = 2h,
                          .overdue = 3min,
                          .no_reply = 4min,
                          .auto_close = true};
    expected.cancel_drain = DrainMode::Piece;
    expected.jobs = {.max = 7, .drives = 8};
    expected.require_clock_sync = false;
    expected.log_level = log::Level::Debug;
    EXPECT_EQ(*config, expected);
}

TEST(ParseConfig, SourcesSelectWhatIsNamedAlone) {
    const Result<Config> images = parse_config("devices: {sources: [images]}", "dray.yaml");
    ASSERT_TRUE(images);
    EXPECT_FALSE(images->devices.use_udev);
    EXPECT_TRUE(images->devices.use_images);
}

TEST(ParseConfig, BothSidesOfEveryLimit) {
    const struct {
        const char* format;
        const char* least;
        const char* below;
        const char* most;
        const char* above;
    } rows[] = {
        {"drives: {{unlock-memory: {}}}", "64MiB", "67108863", "64GiB", "68719476737"},
        {"transfers: {{max: {}}}", "1", "0", "64", "65"},
        {"transfers: {{requests: {}}}", "1", "0", "1024", "1025"},
        {"transfers: {{ring: {}}}", "16MiB", "16777215", "4GiB", "4294967297"},
        {"transfers: {{checkpoint: {}}}", "100ms", "99ms", "1h", "3601s"},
        {"lifecycle: {{retention: {}}}", "1min", "59s", "3650d", "87600h1s"},
        {"lifecycle: {{unshipped: {}}}", "1min", "59s", "3650d", "87600h1s"},
        {"lifecycle: {{overdue: {}}}", "1min", "59s", "3650d", "87600h1s"},
        {"lifecycle: {{no-reply: {}}}", "1min", "59s", "3650d", "87600h1s"},
        {"jobs: {{max: {}}}", "1", "0", "100000", "100001"},
        {"jobs: {{drives: {}}}", "1", "0", "100", "101"},
    };
    for (const auto& row : rows) {
        const auto with = [&](const char* value) {
            return mistakes(fmt::format(fmt::runtime(row.format), value));
        };
        EXPECT_EQ(with(row.least), "");
        EXPECT_EQ(with(row.most), "");
        EXPECT_THAT(with(row.below), HasSubstr(" from "));
        EXPECT_THAT(with(row.above), HasSubstr(" from "));
    }
}

TEST(ParseConfig, EachMistakeIsToldWithLineAndWhatWouldBeRight) {
    const struct {
        const char* text;
        const char* sentence;
    } rows[] = {
        {"transfers:\n  max: many\n",
         "dray.yaml:2: transfers.max: \"many\" is not a whole number from 1 to 64"},
        {"transfers: {max: -1}", "\"-1\" is not a whole number from 1 to 64"},
        {"transfers: {max: 4.0}", "\"4.0\" is not a whole number"},
        {"transfers: {max: 4x}", "\"4x\" is not a whole number"},
        {"transfers: {max: 99999999999999}", "is not a whole number from 1 to 64"},
        {"transfers: {max: [4]}",
         "transfers.max: must be a whole number from 1 to 64, not a list or a section"},
        {"transfers:\n  max:\n",
         "transfers.max: has no value; it must be a whole number from 1 to 64"},
        {"transfers: {ring: big}", "\"big\" is not a size from 16MiB to 4GiB, written like 96MiB"},
        {"lifecycle: {retention: 90}",
         "\"90\" is not a time from 1min to 3650d, written like 90d or 12h"},
        {"lifecycle: {auto-ship: yes}", "lifecycle.auto-ship: \"yes\" is not true or false"},
        {"lifecycle: {hand-back: later}", "\"later\" is not one of release, unplug, at-once"},
        {"cancel: {drain: all}", "cancel.drain: \"all\" is not one of drive, blob, piece"},
        {"log: {level: loud}", "log.level: \"loud\" is not one of debug, info, warning, error"},
        {"state-directory: var/lib",
         "state-directory: \"var/lib\" is not an absolute path without \"..\""},
        {"state-directory: /a/../b", "is not an absolute path without \"..\""},
        {"state-directory: /a/..", "is not an absolute path without \"..\""},
        {"devices: {images: \"/a\\nb\"}", "is not an absolute path"},
        {"devices: {sources: udev}",
         "devices.sources: must be a list of one or more of udev, images"},
        {"devices: {sources: []}", "must be a list of one or more"},
        {"devices: {sources: [floppy]}", "devices.sources: \"floppy\" is not one of udev, images"},
        {"devices: {sources: [udev, udev]}", "\"udev\" is given twice"},
        {"devices: {sources: [[udev]]}", "is not one of udev, images"},
        {"devices: on", "devices: must be a section with keys under it, not a single value"},
        {"stores: [vault]", "stores: must be a section"},
        {"stores: {vault: /srv}",
         "stores.vault: must have keys, as in {type: directory, path: /srv/dray/vault}"},
        {"stores: {vault: {path: /srv}}", "stores.vault.type: is missing"},
        {"stores: {vault: {type: directory}}", "stores.vault.path: is missing"},
        {"stores: {vault: {type: directory, path: srv}}",
         "stores.vault.path: \"srv\" is not an absolute path"},
        {"stores: {vault: {type: directory, path: /srv, pass: x}}",
         "\"pass\" is not a setting of stores.vault; did you mean \"path\"?"},
        {"stores: {vault: {type: tape}}", "\"tape\" is not a store type; use directory or azure"},
        {"stores: {-a: {type: directory, path: /srv}}", "\"-a\" is not a store name"},
        {"stores: {a/b: {type: directory, path: /srv}}", "\"a/b\" is not a store name"},
        {"transfer: {max: 4}",
         "dray.yaml:1: \"transfer\" is not a setting; did you mean \"transfers\"?"},
        {"transfers: {maxx: 4}", "\"maxx\" is not a setting of transfers; did you mean \"max\"?"},
        {"lifecycle: {autoship: true}", "did you mean \"auto-ship\"?"},
        {"lifecycle: {hand_back: unplug}", "did you mean \"hand-back\"?"},
        {"clock: {timezone: utc}",
         "\"timezone\" is not a setting of clock; known here: require-sync"},
        {"<<: {max: 4}", "\"<<\" is not a setting"},
        {"jobs:\n  max: 1\n  max: 2\n",
         "dray.yaml:3: key \"max\" is given twice; the first is in line 2"},
    };
    for (const auto& row : rows)
        EXPECT_THAT(mistakes(row.text), HasSubstr(row.sentence)) << row.text;
}

TEST(ParseConfig, WhatIsNotInThisVersionIsSaidSo) {
    EXPECT_THAT(mistakes("stores: {blue: {type: s3, bucket: x}}"),
                HasSubstr("store type \"s3\" is not in this version"));
}

TEST(ParseConfig, AllMistakesAreToldAtOnceOneALine) {
    const std::string told = mistakes("transfers:\n  max: 0\n  ring: 1\njobs: {max: x}\nfoo: 1\n");
    EXPECT_EQ(std::ranges::count(told, '\n'), 3) << told;
    for (const char* each : {"dray.yaml:2: ", "dray.yaml:3: ", "dray.yaml:4: ", "dray.yaml:5: "})
        EXPECT_THAT(told, HasSubstr(each));
}

TEST(ParseConfig, StoreNamesAndNumbersHaveLimits) {
    const auto one = [](const std::string& name) {
        return "stores: {" + name + ": {type: directory, path: /srv}}";
    };
    EXPECT_EQ(mistakes(one(std::string(63, 'a'))), "");
    EXPECT_THAT(mistakes(one(std::string(64, 'a'))), HasSubstr("is not a store name"));
    const auto many = [](int count) {
        std::string text = "stores:\n";
        for (int i = 0; i < count; ++i)
            text += fmt::format("  s{}: {{type: directory, path: /srv/{}}}\n", i, i);
        return text;
    };
    EXPECT_EQ(mistakes(many(64)), "");
    EXPECT_THAT(mistakes(many(65)), HasSubstr("has 65 stores; at most 64"));
}

class LoadConfig : public testing::Test {
protected:
    LoadConfig() { fs::create_directory(root_ / "dray.yaml.d"); }
    void write(const std::string& name, const std::string& text) {
        std::ofstream(root_ / name) << text;
    }
    Result<Config> load() {
        return load_config_with_drop_ins(root_ / "dray.yaml", root_ / "dray.yaml.d");
    }
    test::ScratchDirectory root_;
};

TEST_F(LoadConfig, MissingDefaultFilesMeanTheDefaults) {
    fs::remove(root_ / "dray.yaml.d");
    const Result<Config> config = load();
    ASSERT_TRUE(config) << config.error().text();
    EXPECT_EQ(*config, Config{});
}

TEST_F(LoadConfig, LaterFilesReplaceSingleKeysInOrderOfName) {
    write("dray.yaml",
          "transfers: {max: 2, requests: 3}\nstores: {a: {type: directory, path: /a}}\n");
    write("dray.yaml.d/20-b.yaml", "transfers: {max: 20}\nstores: {a: {path: /b}}\n");
    write("dray.yaml.d/10-a.yaml", "transfers: {max: 10}\njobs: {max: 9}\n");
    write("dray.yaml.d/30.yaml.bak", "transfers: {max: 30}\n");
    write("dray.yaml.d/.40.yaml", "transfers: {max: 40}\n");
    const Result<Config> config = load();
    ASSERT_TRUE(config) << config.error().text();
    EXPECT_EQ(config->transfers.max, 20U);
    EXPECT_EQ(config->transfers.requests, 3U);
    EXPECT_EQ(config->jobs.max, 9U);
    EXPECT_EQ(config->stores.at("a").path, "/b");
}

TEST_F(LoadConfig, MistakesOfAllFilesAreToldWithTheirFiles) {
    write("dray.yaml", "transfers: {max: 0}\n");
    write("dray.yaml.d/10.yaml", "jobs: {max: x}\n");
    write("dray.yaml.d/20.yaml", "a: [\n");
    const Result<Config> config = load();
    ASSERT_FALSE(config);
    for (const char* each : {"dray.yaml:1: transfers.max", "10.yaml:1: jobs.max", "20.yaml:"})
        EXPECT_THAT(config.error().text(), HasSubstr(each));
}

TEST_F(LoadConfig, ANamedFileIsReadAloneAndMustExist) {
    write("dray.yaml", "transfers: {max: 2}\n");
    write("dray.yaml.d/10.yaml", "transfers: {max: 3}\n");
    const Result<Config> config = load_config(root_ / "dray.yaml");
    ASSERT_TRUE(config);
    EXPECT_EQ(config->transfers.max, 2U);
    const Result<Config> missing = load_config(root_ / "no.yaml");
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().kind(), ErrorKind::NotFound);
    EXPECT_THAT(missing.error().text(), HasSubstr("no.yaml"));
}

TEST_F(LoadConfig, AFileThatCannotBeReadIsNamed) {
    fs::create_directory(root_ / "dray.yaml");
    const Result<Config> config = load();
    ASSERT_FALSE(config);
    EXPECT_THAT(config.error().text(), HasSubstr("dray.yaml"));
}

TEST_F(LoadConfig, AFileThatIsTooLargeIsRefused) {
    write("dray.yaml", std::string((1 << 20) + 1, '#'));
    EXPECT_FALSE(load());
    EXPECT_FALSE(load_config(root_ / "dray.yaml"));
}

}  // namespace
}  // namespace dray
