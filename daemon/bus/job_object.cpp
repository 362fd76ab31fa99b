// SPDX-License-Identifier: Apache-2.0
//
// org.dray1.Job at /org/dray1/job/<name>.
#include <algorithm>
#include <array>
#include <optional>

#include "daemon/bus/job_words.hpp"
#include "daemon/bus/object_paths.hpp"
#include "daemon/bus/objects.hpp"
#include "daemon/bus/options.hpp"
#include "daemon/bus/property.hpp"
#include "daemon/model/deadline.hpp"

namespace dray::bus {
namespace {

constexpr std::array kAddDriveOptions{
    OptionSpec{"key", OptionType::Secret}, OptionSpec{"manifest", OptionType::Text},
    OptionSpec{"manifest-hash", OptionType::Text}, OptionSpec{"header-hash", OptionType::Text},
    OptionSpec{"volume-id", OptionType::Text}, OptionSpec{"partition", OptionType::Number},
    OptionSpec{"overwrite", OptionType::Flag}};
constexpr std::array kUpdateOptions{
    OptionSpec{"tags", OptionType::Dictionary}, OptionSpec{"log-level", OptionType::Text},
    OptionSpec{"backup-manifest", OptionType::Flag}, OptionSpec{"carrier", OptionType::Text},
    OptionSpec{"tracking", OptionType::Text}, OptionSpec{"cancel-requested", OptionType::Flag}};
constexpr std::array kShipOptions{OptionSpec{"carrier", OptionType::Text},
                                  OptionSpec{"tracking", OptionType::Text},
                                  OptionSpec{"return-address", OptionType::Dictionary}};
constexpr std::array kCancelOptions{OptionSpec{"drain", OptionType::Text}};
constexpr std::array kDeleteOptions{OptionSpec{"force", OptionType::Flag}};

Result<Request> add_drive(sd_bus_message* call, const Found& found) {
    AddDriveRequest drive;
    DRAY_LET(drive.serial, read_text(call, "serial"));
    DRAY_LET(Options options, Options::read(call, kAddDriveOptions));
    drive.key = options.take_secret("key");
    drive.manifest = options.text("manifest").value_or("");
    drive.manifest_hash = options.text("manifest-hash").value_or("");
    drive.header_hash = options.text("header-hash").value_or("");
    drive.volume_id = options.text("volume-id").value_or("");
    drive.partition = options.number("partition").value_or(0);
    drive.may_overwrite = options.flag("overwrite").value_or(false);
    std::vector<const char*> actions{kRunJobs};
    if (drive.may_overwrite)
        actions.push_back(kOverwriteDrives);
    const std::string& job = found.job->name;
    std::string subject = "job " + job + " drive " + drive.serial;
    auto run = [objects = found.objects, job, drive = std::move(drive)]() mutable -> Result<Reply> {
        DRAY_LET(const Drive* added, objects->engine().add_drive(job, std::move(drive)));
        return Path{drive_path(job, added->serial)};
    };
    return Request{std::move(actions), std::move(subject), std::move(run)};
}

Result<Request> update(sd_bus_message* call, const Found& found) {
    DRAY_LET(const Options options, Options::read(call, kUpdateOptions));
    UpdateJobRequest wish;
    wish.tags = options.dictionary("tags");
    if (const auto level = options.text("log-level"); level) {
        DRAY_LET(wish.log_level, read_log_level(*level));
    }
    wish.backup_manifest = options.flag("backup-manifest");
    wish.carrier = options.text("carrier");
    wish.tracking = options.text("tracking");
    wish.cancel_requested = options.flag("cancel-requested");
    std::vector<const char*> actions;
    const bool changes_more =
        std::ranges::any_of(kUpdateOptions, [&](const OptionSpec& spec) {
            return spec.name != "cancel-requested" && options.has(spec.name);
        });
    if (changes_more || wish.cancel_requested != true)
        actions.push_back(kRunJobs);
    if (wish.cancel_requested == true)
        actions.push_back(kCancelJobs);
    auto run = [objects = found.objects, job = found.job->name, wish = std::move(wish)]() -> Result<Reply> {
        DRAY_TRY(objects->engine().update(job, wish));
        return Done();
    };
    return Request{std::move(actions), "job " + found.job->name, std::move(run)};
}

Result<Request> ship(sd_bus_message* call, const Found& found) {
    DRAY_LET(const Options options, Options::read(call, kShipOptions));
    ShipRequest wish{options.text("carrier").value_or(""), options.text("tracking").value_or(""),
                     options.dictionary("return-address")};
    auto run = [objects = found.objects, job = found.job->name, wish = std::move(wish)]() -> Result<Reply> {
        DRAY_TRY(objects->engine().ship(job, wish));
        return Done();
    };
    return Request{{kRunJobs}, "job " + found.job->name, std::move(run)};
}

Result<Request> cancel(sd_bus_message* call, const Found& found) {
    DRAY_LET(const Options options, Options::read(call, kCancelOptions));
    std::optional<DrainMode> drain;
    if (const auto text = options.text("drain"); text) {
        drain = parse_drain_mode(*text);
        if (!drain)
            return fail(ErrorKind::InvalidArgument,
                        "option drain: \"{}\" is not known; it is drive, blob or piece", text->substr(0, 100));
    }
    auto run = [objects = found.objects, job = found.job->name, drain]() -> Result<Reply> {
        DRAY_TRY(objects->engine().cancel(job, drain));
        return Done();
    };
    return Request{{kCancelJobs}, "job " + found.job->name, std::move(run)};
}

Result<Request> close(sd_bus_message* call, const Found& found) {
    DRAY_TRY(Options::read(call, {}));
    auto run = [objects = found.objects, job = found.job->name]() -> Result<Reply> {
        DRAY_TRY(objects->engine().close(job));
        return Done();
    };
    return Request{{kRunJobs}, "job " + found.job->name, std::move(run)};
}

Result<Request> remove(sd_bus_message* call, const Found& found) {
    DRAY_LET(const Options options, Options::read(call, kDeleteOptions));
    const bool force = options.flag("force").value_or(false);
    auto run = [objects = found.objects, job = found.job->name, force]() -> Result<Reply> {
        DRAY_TRY(objects->engine().remove(job, force));
        return Done();
    };
    return Request{{kDeleteJobs}, "job " + found.job->name, std::move(run)};
}

/// The first drive that waits for the site, or null.
const Drive* faulted_drive(const Job& job) {
    const auto drive = std::ranges::find_if(job.drives, &Drive::is_faulted);
    return drive == job.drives.end() ? nullptr : &*drive;
}

std::string fault_reason_of(const Job& job) {
    const Drive* drive = faulted_drive(job);
    return drive == nullptr ? "" : "drive " + drive->serial + ": " + drive->fault_reason;
}

/// How running drives end, or would if the job were cancelled now.
DrainMode drain_of(const Found& found) {
    return found.job->is_cancel_requested ? found.job->drain : found.objects->engine().config().cancel_drain;
}

Rate rate_of(const Found& found) { return found.objects->engine().rate_of(*found.job); }
Counters counters_of(const Found& found) { return total_counters(*found.job); }

constexpr auto name = property<[](const Found& f) { return f.job->name; }>;
constexpr auto type = property<[](const Found& f) { return std::string(to_string(f.job->type)); }>;
constexpr auto store = property<[](const Found& f) { return f.job->store; }>;
constexpr auto state = property<[](const Found& f) { return std::string(to_string(f.job->state)); }>;
constexpr auto cancel_requested = property<[](const Found& f) { return f.job->is_cancel_requested; }>;
constexpr auto drain = property<[](const Found& f) { return std::string(to_string(drain_of(f))); }>;
constexpr auto outcome = property<[](const Found& f) { return f.job->outcome; }>;
constexpr auto percent = property<[](const Found& f) { return percent_of(*f.job); }>;
constexpr auto bytes_done = property<[](const Found& f) { return counters_of(f).bytes_done; }>;
constexpr auto bytes_total = property<[](const Found& f) { return counters_of(f).bytes_total; }>;
constexpr auto blobs_done = property<[](const Found& f) { return counters_of(f).blobs_done; }>;
constexpr auto blobs_total = property<[](const Found& f) { return counters_of(f).blobs_total; }>;
constexpr auto blobs_failed = property<[](const Found& f) { return counters_of(f).blobs_failed; }>;
constexpr auto bytes_per_second = property<[](const Found& f) { return rate_of(f).bytes_per_second; }>;
constexpr auto remaining = property<[](const Found& f) {
    return static_cast<std::uint64_t>(rate_of(f).remaining.count());
}>;
constexpr auto drives_total = property<[](const Found& f) {
    return std::max(static_cast<std::uint32_t>(f.job->drives.size()), f.job->expected_drives);
}>;
constexpr auto drives_here = property<[](const Found& f) -> std::uint32_t {
    return f.objects->engine().drives_here(*f.job);
}>;
constexpr auto diagnostics_path = property<[](const Found& f) { return f.job->diagnostics_path; }>;
constexpr auto log_level = property<[](const Found& f) { return std::string(to_string(f.job->log_level)); }>;
constexpr auto backup_manifest = property<[](const Found& f) { return f.job->backup_manifest; }>;
constexpr auto incomplete_list = property<[](const Found& f) { return f.job->incomplete_list_uri; }>;
constexpr auto created = property<[](const Found& f) { return to_usec(f.job->created); }>;
constexpr auto completed = property<[](const Found& f) { return to_usec(f.job->completed); }>;
constexpr auto expires = property<[](const Found& f) { return to_usec(next_deadline(*f.job).time); }>;
constexpr auto expiry = property<[](const Found& f) { return std::string(to_string(next_deadline(*f.job).expiry)); }>;
constexpr auto notice = property<[](const Found& f) { return notice_of(*f.job); }>;
constexpr auto faulted = property<[](const Found& f) { return faulted_drive(*f.job) != nullptr; }>;
constexpr auto fault_reason = property<[](const Found& f) { return fault_reason_of(*f.job); }>;

constexpr auto drives = property<[](const Found& f) {
    std::vector<ObjectPath> paths;
    paths.reserve(f.job->drives.size());
    for (const Drive& drive : f.job->drives)
        paths.push_back({drive_path(f.job->name, drive.serial)});
    return paths;
}>;

constexpr auto kChanges = SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE;
constexpr auto kConst = SD_BUS_VTABLE_PROPERTY_CONST;

}  // namespace

const sd_bus_vtable kJobVtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD_WITH_NAMES("AddDrive", "sa{sv}", SD_BUS_PARAM(serial) SD_BUS_PARAM(options), "o",
                             SD_BUS_PARAM(drive), change<add_drive>, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_NAMES("Update", "a{sv}", SD_BUS_PARAM(options), "", "", change<update>,
                             SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_NAMES("Ship", "a{sv}", SD_BUS_PARAM(options), "", "", change<ship>,
                             SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_NAMES("Cancel", "a{sv}", SD_BUS_PARAM(options), "", "", change<cancel>,
                             SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_NAMES("Close", "a{sv}", SD_BUS_PARAM(options), "", "", change<close>,
                             SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_NAMES("Delete", "a{sv}", SD_BUS_PARAM(options), "", "", change<remove>,
                             SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_SIGNAL_WITH_NAMES("Finished", "s", SD_BUS_PARAM(outcome), 0),
    SD_BUS_PROPERTY("Name", "s", name, 0, kConst),
    SD_BUS_PROPERTY("Type", "s", type, 0, kConst),
    SD_BUS_PROPERTY("Store", "s", store, 0, kConst),
    SD_BUS_PROPERTY("State", "s", state, 0, kChanges),
    SD_BUS_PROPERTY("CancelRequested", "b", cancel_requested, 0, kChanges),
    SD_BUS_PROPERTY("Drain", "s", drain, 0, kChanges),
    SD_BUS_PROPERTY("Outcome", "s", outcome, 0, kChanges),
    SD_BUS_PROPERTY("Percent", "d", percent, 0, kChanges),
    SD_BUS_PROPERTY("BytesDone", "t", bytes_done, 0, kChanges),
    SD_BUS_PROPERTY("BytesTotal", "t", bytes_total, 0, kChanges),
    SD_BUS_PROPERTY("BlobsDone", "t", blobs_done, 0, kChanges),
    SD_BUS_PROPERTY("BlobsTotal", "t", blobs_total, 0, kChanges),
    SD_BUS_PROPERTY("BlobsFailed", "t", blobs_failed, 0, kChanges),
    SD_BUS_PROPERTY("BytesPerSecond", "t", bytes_per_second, 0, kChanges),
    SD_BUS_PROPERTY("RemainingUSec", "t", remaining, 0, kChanges),
    SD_BUS_PROPERTY("Drives", "ao", drives, 0, kChanges),
    SD_BUS_PROPERTY("DrivesTotal", "u", drives_total, 0, kChanges),
    SD_BUS_PROPERTY("DrivesHere", "u", drives_here, 0, kChanges),
    SD_BUS_PROPERTY("DiagnosticsPath", "s", diagnostics_path, 0, kConst),
    SD_BUS_PROPERTY("LogLevel", "s", log_level, 0, kChanges),
    SD_BUS_PROPERTY("BackupManifest", "b", backup_manifest, 0, kChanges),
    SD_BUS_PROPERTY("IncompleteListUri", "s", incomplete_list, 0, kChanges),
    SD_BUS_PROPERTY("CreatedUSec", "t", created, 0, kConst),
    SD_BUS_PROPERTY("CompletedUSec", "t", completed, 0, kChanges),
    SD_BUS_PROPERTY("ExpiresUSec", "t", expires, 0, kChanges),
    SD_BUS_PROPERTY("Expiry", "s", expiry, 0, kChanges),
    SD_BUS_PROPERTY("Notice", "s", notice, 0, kChanges),
    SD_BUS_PROPERTY("Faulted", "b", faulted, 0, kChanges),
    SD_BUS_PROPERTY("FaultReason", "s", fault_reason, 0, kChanges),
    SD_BUS_VTABLE_END};

}  // namespace dray::bus
