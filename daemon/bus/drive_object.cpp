// SPDX-License-Identifier: Apache-2.0
//
// org.dray1.Drive at /org/dray1/job/<name>/drive/<serial>.
#include <algorithm>
#include <array>

#include "daemon/base/memfd.hpp"
#include "daemon/bus/object_paths.hpp"
#include "daemon/bus/objects.hpp"
#include "daemon/bus/options.hpp"
#include "daemon/bus/property.hpp"

namespace dray::bus {
namespace {

constexpr std::array kRetryOptions{OptionSpec{"key", OptionType::Secret},
                                   OptionSpec{"manifest", OptionType::Text},
                                   OptionSpec{"manifest-hash", OptionType::Text},
                                   OptionSpec{"partition", OptionType::Number},
                                   OptionSpec{"overwrite", OptionType::Flag}};

std::string subject_of(const Found& found) {
    return "job " + found.job->name + " drive " + found.drive->serial;
}

Result<Request> release(sd_bus_message* call, const Found& found) {
    DRAY_TRY(Options::read(call, {}));
    auto run = [objects = found.objects, job = found.job->name,
                serial = found.drive->serial]() -> Result<Reply> {
        DRAY_TRY(objects->engine().release(job, serial));
        return Done();
    };
    return Request{{kRunJobs}, subject_of(found), std::move(run)};
}

Result<Request> retry(sd_bus_message* call, const Found& found) {
    DRAY_LET(Options options, Options::read(call, kRetryOptions));
    RetryRequest wish;
    wish.key = options.take_secret("key");
    wish.manifest = options.text("manifest");
    wish.manifest_hash = options.text("manifest-hash");
    wish.partition = options.number("partition");
    wish.may_overwrite = options.flag("overwrite").value_or(false);
    std::vector<const char*> actions{kRunJobs};
    if (wish.may_overwrite)
        actions.push_back(kOverwriteDrives);
    auto run = [objects = found.objects, job = found.job->name, serial = found.drive->serial,
                wish = std::move(wish)]() mutable -> Result<Reply> {
        DRAY_TRY(objects->engine().retry(job, serial, std::move(wish)));
        return Done();
    };
    return Request{std::move(actions), subject_of(found), std::move(run)};
}

Result<Request> repair(sd_bus_message* call, const Found& found) {
    DRAY_TRY(Options::read(call, {}));
    auto run = []() -> Result<Reply> {
        return fail(ErrorKind::Unsupported, "this version of dray cannot repair an import");
    };
    return Request{{kRunJobs}, subject_of(found), std::move(run)};
}

Result<Request> get_key(sd_bus_message* call, const Found& found) {
    DRAY_TRY(Options::read(call, {}));
    auto run = [objects = found.objects, job = found.job->name, serial = found.drive->serial]() -> Result<Reply> {
        DRAY_LET(const SecretBytes key, objects->engine().read_key(job, serial));
        DRAY_LET(FileDescriptor memfd, make_sealed_memfd("dray-key", key.bytes()));
        return Descriptor{std::make_shared<const FileDescriptor>(std::move(memfd))};
    };
    return Request{{kReadKeys}, subject_of(found), std::move(run)};
}

std::string path_of_device(const Found& found) {
    const DeviceEntry* device = found.objects->engine().device_of(*found.job, *found.drive);
    return device == nullptr ? "" : device_path(device->device.id);
}

double percent_of_drive(const Drive& drive) {
    if (drive.is_finished())
        return 100;
    const Counters& counters = drive.counters;
    if (counters.bytes_total == 0)
        return 0;
    return 100 * static_cast<double>(std::min(counters.bytes_done, counters.bytes_total)) /
           static_cast<double>(counters.bytes_total);
}

Rate rate_of(const Found& found) { return found.objects->engine().rate_of(*found.job, *found.drive); }

constexpr auto serial = property<[](const Found& f) { return f.drive->serial; }>;
constexpr auto state = property<[](const Found& f) { return std::string(to_string(f.drive->state)); }>;
constexpr auto outcome = property<[](const Found& f) { return f.drive->outcome; }>;
constexpr auto faulted = property<[](const Found& f) { return f.drive->is_faulted; }>;
constexpr auto fault_reason = property<[](const Found& f) { return f.drive->fault_reason; }>;
constexpr auto manifest = property<[](const Found& f) { return f.drive->manifest; }>;
constexpr auto manifest_hash = property<[](const Found& f) { return f.drive->manifest_hash; }>;
constexpr auto partition = property<[](const Found& f) { return f.drive->partition; }>;
constexpr auto volume_id = property<[](const Found& f) { return f.drive->volume_id; }>;
constexpr auto copy_status = property<[](const Found& f) { return f.drive->copy_status; }>;
constexpr auto device = property<[](const Found& f) { return ObjectPath{path_of_device(f)}; }>;
constexpr auto percent = property<[](const Found& f) { return percent_of_drive(*f.drive); }>;
constexpr auto bytes_done = property<[](const Found& f) { return f.drive->counters.bytes_done; }>;
constexpr auto bytes_total = property<[](const Found& f) { return f.drive->counters.bytes_total; }>;
constexpr auto blobs_done = property<[](const Found& f) { return f.drive->counters.blobs_done; }>;
constexpr auto blobs_total = property<[](const Found& f) { return f.drive->counters.blobs_total; }>;
constexpr auto blobs_failed = property<[](const Found& f) { return f.drive->counters.blobs_failed; }>;
constexpr auto bytes_per_second = property<[](const Found& f) { return rate_of(f).bytes_per_second; }>;
constexpr auto remaining = property<[](const Found& f) {
    return static_cast<std::uint64_t>(rate_of(f).remaining.count());
}>;
constexpr auto error_log = property<[](const Found& f) { return f.drive->error_log_uri; }>;
constexpr auto verbose_log = property<[](const Found& f) { return f.drive->verbose_log_uri; }>;
constexpr auto manifest_uri = property<[](const Found& f) { return f.drive->manifest_uri; }>;
constexpr auto overdue = property<[](const Found& f) { return to_usec(f.drive->overdue); }>;
constexpr auto draining = property<[](const Found& f) { return f.drive->is_draining; }>;

constexpr auto kChanges = SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE;

}  // namespace

const sd_bus_vtable kDriveVtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD_WITH_NAMES("Release", "a{sv}", SD_BUS_PARAM(options), "", "", change<release>,
                             SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_NAMES("Retry", "a{sv}", SD_BUS_PARAM(options), "", "", change<retry>,
                             SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_NAMES("Repair", "a{sv}", SD_BUS_PARAM(options), "", "", change<repair>,
                             SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_NAMES("GetKey", "a{sv}", SD_BUS_PARAM(options), "h", SD_BUS_PARAM(key), change<get_key>,
                             SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_SIGNAL_WITH_NAMES("Finished", "s", SD_BUS_PARAM(outcome), 0),
    SD_BUS_PROPERTY("Serial", "s", serial, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("State", "s", state, 0, kChanges),
    SD_BUS_PROPERTY("Outcome", "s", outcome, 0, kChanges),
    SD_BUS_PROPERTY("Faulted", "b", faulted, 0, kChanges),
    SD_BUS_PROPERTY("FaultReason", "s", fault_reason, 0, kChanges),
    SD_BUS_PROPERTY("Manifest", "s", manifest, 0, kChanges),
    SD_BUS_PROPERTY("ManifestHash", "s", manifest_hash, 0, kChanges),
    SD_BUS_PROPERTY("VolumeId", "s", volume_id, 0, kChanges),
    SD_BUS_PROPERTY("Partition", "u", partition, 0, kChanges),
    SD_BUS_PROPERTY("CopyStatus", "s", copy_status, 0, kChanges),
    SD_BUS_PROPERTY("Device", "o", device, 0, kChanges),
    SD_BUS_PROPERTY("Percent", "d", percent, 0, kChanges),
    SD_BUS_PROPERTY("BytesDone", "t", bytes_done, 0, kChanges),
    SD_BUS_PROPERTY("BytesTotal", "t", bytes_total, 0, kChanges),
    SD_BUS_PROPERTY("BlobsDone", "t", blobs_done, 0, kChanges),
    SD_BUS_PROPERTY("BlobsTotal", "t", blobs_total, 0, kChanges),
    SD_BUS_PROPERTY("BlobsFailed", "t", blobs_failed, 0, kChanges),
    SD_BUS_PROPERTY("BytesPerSecond", "t", bytes_per_second, 0, kChanges),
    SD_BUS_PROPERTY("RemainingUSec", "t", remaining, 0, kChanges),
    SD_BUS_PROPERTY("ErrorLogUri", "s", error_log, 0, kChanges),
    SD_BUS_PROPERTY("VerboseLogUri", "s", verbose_log, 0, kChanges),
    SD_BUS_PROPERTY("ManifestUri", "s", manifest_uri, 0, kChanges),
    SD_BUS_PROPERTY("Draining", "b", draining, 0, kChanges),
    SD_BUS_PROPERTY("OverdueUSec", "t", overdue, 0, kChanges),
    SD_BUS_VTABLE_END};

}  // namespace dray::bus
