// SPDX-License-Identifier: Apache-2.0
//
// org.dray1.Manager at /org/dray1: makes jobs, finds them, lists what there is.
#include <array>
#include <memory>
#include <optional>

#include "daemon/base/units.hpp"
#include "daemon/bus/job_words.hpp"
#include "daemon/bus/object_paths.hpp"
#include "daemon/bus/objects.hpp"
#include "daemon/bus/options.hpp"
#include "daemon/bus/property.hpp"

namespace dray::bus {
namespace {

constexpr std::array kCreateOptions{
    OptionSpec{"selection", OptionType::Selection},   OptionSpec{"list-blob", OptionType::Text},
    OptionSpec{"diagnostics-path", OptionType::Text}, OptionSpec{"log-level", OptionType::Text},
    OptionSpec{"backup-manifest", OptionType::Flag},  OptionSpec{"tags", OptionType::Dictionary},
    OptionSpec{"expected-drives", OptionType::Number}};

Result<JobType> read_type(sd_bus_message* call) {
    DRAY_LET(const std::string text, read_text(call, "type"));
    const auto type = parse_job_type(text);
    if (!type)
        return fail(ErrorKind::InvalidArgument, "\"{}\" is no type of job; it is import or export",
                    text.substr(0, 100));
    return *type;
}

Result<CreateJobRequest> read_job(sd_bus_message* call) {
    CreateJobRequest job;
    DRAY_LET(job.name, read_text(call, "name"));
    DRAY_TRY(check_job_name(job.name));
    DRAY_LET(job.type, read_type(call));
    DRAY_LET(job.store, read_text(call, "store"));
    DRAY_LET(const Options options, Options::read(call, kCreateOptions));
    job.selection = options.selection("selection").value_or(format::BlobSelection());
    job.list_blob = options.text("list-blob").value_or("");
    job.diagnostics_path = options.text("diagnostics-path");
    if (const auto level = options.text("log-level"); level) {
        DRAY_LET(job.log_level, read_log_level(*level));
    }
    job.backup_manifest = options.flag("backup-manifest").value_or(false);
    job.tags = options.dictionary("tags").value_or(Texts());
    job.expected_drives = options.number("expected-drives").value_or(0);
    return job;
}

Result<Request> create_job(sd_bus_message* call, const Found& found) {
    DRAY_LET(CreateJobRequest job, read_job(call));
    std::string subject = "job " + job.name;
    auto run = [objects = found.objects, job = std::move(job)]() mutable -> Result<Reply> {
        DRAY_LET(const Job* made, objects->engine().create_job(std::move(job)));
        return Path{job_path(made->name)};
    };
    return Request{{kRunJobs}, std::move(subject), std::move(run)};
}

Result<Request> reload(sd_bus_message* /*call*/, const Found& found) {
    auto run = [objects = found.objects]() -> Result<Reply> {
        DRAY_TRY(objects->reload());
        return Done();
    };
    return Request{{kManage}, "the configuration", std::move(run)};
}

int get_job(sd_bus_message* call, void* userdata, sd_bus_error* error) noexcept {
    const auto& found = *static_cast<const Found*>(userdata);
    const auto name = read_text(call, "name");
    if (!name)
        return set_error(error, name.error());
    const Job* job = found.objects->engine().find_job(*name);
    if (job == nullptr)
        return set_error(error, Error(ErrorKind::NotFound,
                                      fmt::format("there is no job {}", as_line(*name))));
    return sd_bus_reply_method_return(call, "o", job_path(job->name).c_str());
}

/// Finishes and sends `reply`, or passes on what went wrong while it was filled.
int send_reply(sd_bus_message* reply, int result) {
    if (result >= 0)
        result = sd_bus_message_close_container(reply);
    return result < 0 ? result : sd_bus_send(sd_bus_message_get_bus(reply), reply, nullptr);
}

int list_jobs(sd_bus_message* call, void* userdata, sd_bus_error* /*error*/) noexcept {
    const auto& found = *static_cast<const Found*>(userdata);
    sd_bus_message* reply = nullptr;
    int result = sd_bus_message_new_method_return(call, &reply);
    const BusMessage owner(reply);
    if (result >= 0)
        result = sd_bus_message_open_container(reply, 'a', "(sssbdo)");
    for (const Job* job : found.objects->engine().jobs()) {
        if (result < 0)
            break;
        const std::string type(to_string(job->type));
        const std::string state(to_string(job->state));
        result = sd_bus_message_append(reply, "(sssbdo)", job->name.c_str(), type.c_str(), state.c_str(),
                                       static_cast<int>(job->is_cancel_requested), percent_of(*job),
                                       job_path(job->name).c_str());
    }
    return send_reply(reply, result);
}

int list_devices(sd_bus_message* call, void* userdata, sd_bus_error* /*error*/) noexcept {
    const auto& found = *static_cast<const Found*>(userdata);
    sd_bus_message* reply = nullptr;
    int result = sd_bus_message_new_method_return(call, &reply);
    const BusMessage owner(reply);
    if (result >= 0)
        result = sd_bus_message_open_container(reply, 'a', "(ssstso)");
    for (const DeviceEntry* entry : found.objects->engine().devices()) {
        if (result < 0)
            break;
        const Device& device = entry->device;
        result = sd_bus_message_append(reply, "(ssstso)", as_utf8(device.id).c_str(),
                                       as_utf8(device.serial).c_str(), as_utf8(device.node).c_str(),
                                       device.size, entry->job.c_str(), device_path(device.id).c_str());
    }
    return send_reply(reply, result);
}

constexpr std::array kPreviewOptions{OptionSpec{"selection", OptionType::Selection},
                                     OptionSpec{"list-blob", OptionType::Text},
                                     OptionSpec{"drive-size", OptionType::Text}};

/// The store is looked through in a process of its own; the call is kept and answered when that has ended.
Result<Request> preview_export(sd_bus_message* call, const Found& found) {
    PreviewRequest wish;
    DRAY_LET(wish.store, read_text(call, "store"));
    DRAY_LET(const Options options, Options::read(call, kPreviewOptions));
    wish.selection = options.selection("selection").value_or(format::BlobSelection());
    wish.list_blob = options.text("list-blob").value_or("");
    const auto size = options.text("drive-size");
    if (!size)
        return fail(ErrorKind::InvalidArgument, "option drive-size is missing: how large each drive is, as in 500GB");
    Result<Bytes> bytes = parse_bytes(*size);
    if (!bytes)
        return fail(std::move(bytes.error()), "option drive-size");
    wish.drive_size = *bytes;
    std::string subject = "store " + std::string(wish.store.substr(0, 128));
    auto run = [objects = found.objects, wish = std::move(wish), kept = KeptCall(call)]() -> Result<Reply> {
        DRAY_TRY(objects->engine().preview_export(wish, [kept](Result<FileDescriptor> json) {
            kept.answer(json ? Result<Reply>(Descriptor{std::make_shared<const FileDescriptor>(*std::move(json))})
                             : Result<Reply>(fail(std::move(json.error()))));
        }));
        return Later();
    };
    return Request{{kRunJobs}, std::move(subject), std::move(run)};
}

const Config& config(const Found& found) { return found.objects->engine().config(); }

constexpr auto version = property<[](const Found&) { return std::string(DRAY_VERSION); }>;
constexpr auto active_transfers = property<[](const Found& found) -> std::uint32_t {
    return found.objects->engine().active_transfers();
}>;
constexpr auto max_transfers =
    property<[](const Found& found) -> std::uint32_t { return config(found).transfers.max; }>;
constexpr auto retention = property<[](const Found& found) {
    return static_cast<std::uint64_t>(config(found).lifecycle.retention.count());
}>;
constexpr auto stores = property<[](const Found& found) {
    std::vector<ObjectPath> paths;
    for (const StoreEntry* store : found.objects->engine().stores())
        paths.push_back({store_path(store->name)});
    return paths;
}>;
constexpr auto problems = property<[](const Found& found) { return found.objects->engine().problems(); }>;
constexpr auto drain =
    property<[](const Found& found) { return std::string(to_string(config(found).cancel_drain)); }>;

}  // namespace

const sd_bus_vtable kManagerVtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD_WITH_NAMES("CreateJob", "sssa{sv}",
                             SD_BUS_PARAM(name) SD_BUS_PARAM(type) SD_BUS_PARAM(store) SD_BUS_PARAM(options), "o",
                             SD_BUS_PARAM(job), change<create_job>, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_NAMES("GetJob", "s", SD_BUS_PARAM(name), "o", SD_BUS_PARAM(job), get_job,
                             SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_NAMES("ListJobs", "", "", "a(sssbdo)", SD_BUS_PARAM(jobs), list_jobs,
                             SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_NAMES("ListDevices", "", "", "a(ssstso)", SD_BUS_PARAM(devices), list_devices,
                             SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_NAMES("PreviewExport", "sa{sv}", SD_BUS_PARAM(store) SD_BUS_PARAM(options), "h",
                             SD_BUS_PARAM(json), change<preview_export>, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_NAMES("Reload", "", "", "", "", change<reload>, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_PROPERTY("Version", "s", version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("ActiveTransfers", "u", active_transfers, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("MaxTransfers", "u", max_transfers, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("RetentionUSec", "t", retention, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Stores", "ao", stores, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Drain", "s", drain, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Problems", "as", problems, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_VTABLE_END};

}  // namespace dray::bus
