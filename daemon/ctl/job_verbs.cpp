// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/job_verbs.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "daemon/base/memfd.hpp"
#include "daemon/bus/names.hpp"
#include "daemon/ctl/key_file.hpp"

namespace dray::ctl {
namespace {

void say(const OutputOptions& output, const std::string& sentence) {
    if (!output.is_quiet)
        fmt::print("{}\n", sentence);
}

void add_text(Options& options, const char* name, const std::string& text) {
    if (!text.empty())
        options.push_back({name, text});
}

Result<int> call_job(const Client& client, const OutputOptions& output, const std::string& job,
                     const char* member, const Options& options, const std::string& sentence) {
    DRAY_LET(const std::string path, client.job_path(job));
    DRAY_LET([[maybe_unused]] const BusMessage reply,
             client.call(path, bus::kJobInterface, member, {}, &options));
    say(output, sentence);
    return 0;
}

}  // namespace

Result<int> create_job(const Client& client, const OutputOptions& output, const CreateOptions& options) {
    Options dictionary;
    add_text(dictionary, "diagnostics-path", options.diagnostics_path);
    add_text(dictionary, "log-level", options.log_level);
    if (options.backup_manifest)
        dictionary.push_back({"backup-manifest", true});
    if (options.expected_drives != 0)
        dictionary.push_back({"expected-drives", options.expected_drives});
    if (!options.tags.empty())
        dictionary.push_back({"tags", options.tags});
    add_selection(dictionary, options.selection);
    DRAY_LET([[maybe_unused]] const BusMessage reply,
             client.call(bus::kRootPath, bus::kManagerInterface, "CreateJob",
                         {options.name, options.type, options.store}, &dictionary));
    say(output, fmt::format("Created job {}. Next: drayctl add-drive {} SERIAL{}", options.name, options.name,
                            options.type == "export" ? "" : " --key-file F --manifest P --manifest-hash H"));
    return 0;
}

void add_selection(Options& options, const SelectionOptions& selection) {
    Lists lists;
    for (const auto& [word, texts] : {std::pair{"paths", &selection.paths}, std::pair{"base-paths", &selection.base_paths},
                                      std::pair{"prefixes", &selection.prefixes}})
        if (!texts->empty())
            lists[word] = *texts;
    if (!lists.empty())
        options.push_back({"selection", std::move(lists)});
    add_text(options, "list-blob", selection.list_blob);
}

Result<int> read_key(const Client& client, const std::string& job, const std::string& serial) {
    DRAY_LET(const std::string path, client.drive_path(job, serial));
    const Options none;
    DRAY_LET(const BusMessage reply, client.call(path, bus::kDriveInterface, "GetKey", {}, &none));
    int fd = -1;
    if (const int result = sd_bus_message_read_basic(reply.get(), 'h', &fd); result < 0)
        return fail_errno(-result, "drayd's answer cannot be read");
    DRAY_LET(const SecretBytes key, read_sealed_memfd(fd, kMaxKeyBytes));
    // Byte by byte what unlocks the drive: a file made of it is a key file.
    const std::string_view text = key.text();
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
        return fail_errno(errno, "cannot write the key");
    if (isatty(STDOUT_FILENO) == 1)
        fmt::print("\n");
    return 0;
}

Result<int> add_drive(const Client& client, const OutputOptions& output, const DriveOptions& options) {
    FileDescriptor key;
    Options dictionary;
    if (!options.key_file.empty()) {
        DRAY_LET(key, key_memfd(options.key_file));
        dictionary.push_back({"key", key.get()});
    }
    add_text(dictionary, "manifest", options.manifest);
    add_text(dictionary, "manifest-hash", options.manifest_hash);
    if (options.partition)
        dictionary.push_back({"partition", *options.partition});
    if (options.may_overwrite)
        dictionary.push_back({"overwrite", true});
    add_text(dictionary, "header-hash", options.header_hash);
    add_text(dictionary, "volume-id", options.volume_id);
    DRAY_LET(const std::string path, client.job_path(options.job));
    DRAY_LET([[maybe_unused]] const BusMessage reply,
             client.call(path, bus::kJobInterface, "AddDrive", {options.serial}, &dictionary));
    say(output, fmt::format("Added drive {} to job {}. When all drives are listed: drayctl ship {}",
                            options.serial, options.job, options.job));
    return 0;
}

Result<int> retry_drive(const Client& client, const OutputOptions& output, const DriveOptions& options) {
    FileDescriptor key;
    Options dictionary;
    if (!options.key_file.empty()) {
        DRAY_LET(key, key_memfd(options.key_file));
        dictionary.push_back({"key", key.get()});
    }
    add_text(dictionary, "manifest", options.manifest);
    add_text(dictionary, "manifest-hash", options.manifest_hash);
    if (options.partition)
        dictionary.push_back({"partition", *options.partition});
    if (options.may_overwrite)
        dictionary.push_back({"overwrite", true});
    DRAY_LET(const std::string path, client.drive_path(options.job, options.serial));
    DRAY_LET([[maybe_unused]] const BusMessage reply,
             client.call(path, bus::kDriveInterface, "Retry", {}, &dictionary));
    say(output, fmt::format("Drive {} of job {} is tried again.", options.serial, options.job));
    return 0;
}

Result<int> release_drive(const Client& client, const OutputOptions& output, const std::string& job,
                          const std::string& serial) {
    DRAY_LET(const std::string path, client.drive_path(job, serial));
    const Options none;
    DRAY_LET([[maybe_unused]] const BusMessage reply,
             client.call(path, bus::kDriveInterface, "Release", {}, &none));
    say(output, fmt::format("Drive {} of job {} is released.", serial, job));
    return 0;
}

Result<int> ship_job(const Client& client, const OutputOptions& output, const ShipOptions& options) {
    Options dictionary;
    add_text(dictionary, "carrier", options.carrier);
    add_text(dictionary, "tracking", options.tracking);
    if (!options.return_address.empty())
        dictionary.push_back({"return-address", options.return_address});
    return call_job(client, output, options.job, "Ship", dictionary,
                    fmt::format("Job {} is shipped: its drives are copied as soon as they are plugged in.",
                                options.job));
}

Result<int> cancel_job(const Client& client, const OutputOptions& output, const std::string& job,
                       const std::string& drain) {
    Options dictionary;
    add_text(dictionary, "drain", drain);
    DRAY_LET(const std::string path, client.job_path(job));
    DRAY_LET([[maybe_unused]] const BusMessage reply,
             client.call(path, bus::kJobInterface, "Cancel", {}, &dictionary));
    DRAY_LET(const Properties state, client.properties(path, bus::kJobInterface));
    DRAY_LET(const std::string how, [&]() -> Result<std::string> {
        unsigned draining = 0;
        for (const std::string& drive : state.list("Drives")) {
            DRAY_LET(const Properties found, client.properties(drive, bus::kDriveInterface));
            draining += found.flag("Draining") ? 1 : 0;
        }
        if (draining == 0)
            return std::string("no drive is being copied");
        return fmt::format("{} drive{} in mid-copy {} first (drain: {})", draining,
                           draining == 1 ? "" : "s", draining == 1 ? "is finished" : "are finished",
                           state.text("Drain"));
    }());
    say(output, fmt::format("Job {} is cancelled: no new drive starts, {}.", job, how));
    return 0;
}

Result<int> close_job(const Client& client, const OutputOptions& output, const std::string& job) {
    return call_job(client, output, job, "Close", {},
                    fmt::format("Job {} is closed for further drives.", job));
}

Result<int> delete_job(const Client& client, const OutputOptions& output, const std::string& job,
                       bool force) {
    Options dictionary;
    if (force)
        dictionary.push_back({"force", true});
    return call_job(client, output, job, "Delete", dictionary,
                    fmt::format("Job {} is deleted. What is in the store and on its drives stays.", job));
}

Result<int> update_job(const Client& client, const OutputOptions& output, const UpdateOptions& options) {
    Options dictionary;
    if (options.log_level)
        dictionary.push_back({"log-level", *options.log_level});
    if (options.backup_manifest)
        dictionary.push_back({"backup-manifest", *options.backup_manifest});
    if (options.carrier)
        dictionary.push_back({"carrier", *options.carrier});
    if (options.tracking)
        dictionary.push_back({"tracking", *options.tracking});
    if (!options.tags.empty())
        dictionary.push_back({"tags", options.tags});
    return call_job(client, output, options.job, "Update", dictionary,
                    fmt::format("Job {} is updated.", options.job));
}

Result<int> reload(const Client& client, const OutputOptions& output) {
    const Result<BusMessage> done = client.call(bus::kRootPath, bus::kManagerInterface, "Reload", {}, nullptr);
    if (done) {
        say(output, "drayd has read its configuration anew.");
        return 0;
    }
    const Error& error = done.error();
    if (error.kind() != ErrorKind::InvalidArgument && error.kind() != ErrorKind::Conflict)
        return fail(Error(error));
    // Every reason on a line of its own, as a compiler would show them.
    fmt::print(stderr, "{}\ndrayctl: the new configuration is not taken, the old one is kept.\n", error.text());
    return 1;
}

Result<int> assign_device(const Client& client, const OutputOptions& output, const std::string& device,
                          const std::string& job, const std::string& drive, bool may_overwrite) {
    DRAY_LET(const std::string path, client.device_path(device));
    Options dictionary;
    if (may_overwrite)
        dictionary.push_back({"overwrite", true});
    add_text(dictionary, "drive", drive);
    DRAY_LET([[maybe_unused]] const BusMessage reply,
             client.call(path, bus::kDeviceInterface, "Assign", {job}, &dictionary));
    say(output, fmt::format("Device {} is assigned to job {}.", device, job));
    return 0;
}

}  // namespace dray::ctl
