// SPDX-License-Identifier: Apache-2.0
#include "config/loader.hpp"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "config/reader.hpp"
#include "config/store_loader.hpp"
#include "daemon/base/file.hpp"

namespace dray {
namespace {

namespace fs = std::filesystem;

constexpr Microseconds kShortest = std::chrono::minutes(1);
constexpr Microseconds kLongest = std::chrono::days(3650);

void read_devices(ConfigSection section, DevicesConfig& devices) {
    if (const auto sources = section.read_list("sources", {"udev", "images"})) {
        const auto has = [&](std::size_t place) {
            return std::ranges::find(*sources, place) != sources->end();
        };
        devices.use_udev = has(0);
        devices.use_images = has(1);
    }
    section.read_path("images", devices.images);
    section.read_bool("allow-loop", devices.allow_loop);
    section.finish();
}

void read_drives(ConfigSection section, DrivesConfig& drives) {
    section.read_bool("allow-plain", drives.allow_plain);
    section.read_bool("strict-header-hash", drives.strict_header_hash);
    // Below, no drive of today's tools unlocks; above, one drive could take the machine.
    section.read_bytes("unlock-memory", drives.unlock_memory, 64 * kMiB, 64 * kGiB);
    section.finish();
}

void read_transfers(ConfigSection section, TransfersConfig& transfers) {
    section.read_number("max", transfers.max, 1, 64);
    section.read_number("per-bus", transfers.per_bus, 0, 64);
    section.read_number("requests", transfers.requests, 1, 1024);
    section.read_bytes("ring", transfers.ring, 16 * kMiB, 4 * kGiB);
    section.read_duration("checkpoint", transfers.checkpoint, std::chrono::milliseconds(100), std::chrono::hours(1));
    section.finish();
}

void read_lifecycle(ConfigSection section, LifecycleConfig& lifecycle) {
    section.read_bool("auto-ship", lifecycle.auto_ship);
    section.read_choice<HandBack>("hand-back", lifecycle.hand_back,
                                  {{"release", HandBack::Release},
                                   {"unplug", HandBack::Unplug},
                                   {"at-once", HandBack::AtOnce}});
    section.read_bool("require-shipping", lifecycle.require_shipping);
    section.read_duration("retention", lifecycle.retention, kShortest, kLongest);
    section.read_duration("unshipped", lifecycle.unshipped, kShortest, kLongest);
    section.read_duration("overdue", lifecycle.overdue, kShortest, kLongest);
    section.read_duration("no-reply", lifecycle.no_reply, kShortest, kLongest);
    section.read_bool("auto-close", lifecycle.auto_close);
    section.finish();
}

void read_small_sections(ConfigSection& root, Config& config) {
    ConfigSection cancel = root.section("cancel");
    cancel.read_choice<DrainMode>(
        "drain", config.cancel_drain,
        {{"drive", DrainMode::Drive}, {"blob", DrainMode::Blob}, {"piece", DrainMode::Piece}});
    cancel.finish();
    ConfigSection jobs = root.section("jobs");
    jobs.read_number("max", config.jobs.max, 1, 100'000);
    jobs.read_number("drives", config.jobs.drives, 1, 100);
    jobs.finish();
    ConfigSection clock = root.section("clock");
    clock.read_bool("require-sync", config.require_clock_sync);
    clock.finish();
    ConfigSection log = root.section("log");
    log.read_choice<log::Level>("level", config.log_level,
                                {{"debug", log::Level::Debug},
                                 {"info", log::Level::Info},
                                 {"warning", log::Level::Warning},
                                 {"error", log::Level::Error}});
    log.finish();
}

Config read_config(ConfigReader& reader, const ConfigValue& value) {
    Config config;
    ConfigSection root(reader, &value, "");
    root.read_path("state-directory", config.state_directory);
    read_devices(root.section("devices"), config.devices);
    read_drives(root.section("drives"), config.drives);
    read_stores(reader, root, config.stores);
    read_transfers(root.section("transfers"), config.transfers);
    read_lifecycle(root.section("lifecycle"), config.lifecycle);
    read_small_sections(root, config);
    root.finish();
    return config;
}

/// *.yaml in `directory` in order of name; none if it does not exist.
Result<std::vector<std::string>> drop_ins(const std::string& directory) {
    std::vector<std::string> files;
    std::error_code error;
    fs::directory_iterator entry(directory, error);
    for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
        const std::string name = entry->path().filename().string();
        if (name.ends_with(".yaml") && !name.starts_with('.'))
            files.push_back(entry->path().string());
    }
    if (error && error != std::errc::no_such_file_or_directory)
        return fail_errno(error.value(), "cannot list {}", directory);
    std::ranges::sort(files);
    return files;
}

/// Reads one file on top of `value`. A file that cannot be read is a mistake like any other.
void add_file(ConfigReader& reader, ConfigValue& value, const std::string& file) {
    const Result<std::string> text = read_file(file, kMaxConfigFile);
    if (text)
        merge(value, reader.parse(*text, file));
    else
        reader.mistake(text.error().text());
}

Result<Config> finish(const ConfigReader& reader, Config config) {
    DRAY_TRY(reader.finish());
    return config;
}

}  // namespace

Result<Config> load_config(const std::string& file) {
    if (file.empty())
        return load_config_with_drop_ins(kDefaultConfigFile,
                                         std::string(kDefaultConfigFile) + ".d");
    const Result<std::string> text = read_file(file, kMaxConfigFile);
    if (!text)
        return fail(text.error());
    return parse_config(*text, file);
}

Result<Config> load_config_with_drop_ins(const std::string& file, const std::string& directory) {
    ConfigReader reader;
    ConfigValue value;
    std::error_code error;
    if (fs::exists(file, error) || error)
        add_file(reader, value, file);
    DRAY_LET(const std::vector<std::string> files, drop_ins(directory));
    for (const std::string& each : files)
        add_file(reader, value, each);
    return finish(reader, read_config(reader, value));
}

Result<Config> parse_config(const std::string& text, const std::string& name) {
    ConfigReader reader;
    const ConfigValue value = reader.parse(text, name);
    return finish(reader, read_config(reader, value));
}

std::vector<std::string> config_keys() {
    ConfigReader reader;
    (void)read_config(reader, ConfigValue{});
    return reader.keys_asked();
}

}  // namespace dray
