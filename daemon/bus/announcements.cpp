// SPDX-License-Identifier: Apache-2.0
//
// The observer's half of Objects: what changed in the engine, as signals.
#include <iterator>

#include "daemon/bus/bus_text.hpp"
#include "daemon/bus/names.hpp"
#include "daemon/bus/object_paths.hpp"
#include "daemon/bus/objects.hpp"

// Signals have no answer, and sending fails only when the bus is gone, which the connection notices by
// itself: results are ignored in this file for that reason.

namespace dray::bus {
namespace {

/// Above that many messages waiting to be sent, progress is not worth another one.
constexpr std::uint64_t kChokedQueue = 1000;

// Everything that may change, for changes of state. The last of them before a Finished has the last counts.
constexpr const char* kJobState[] = {
    "State",         "CancelRequested", "Drain",       "Outcome",          "Percent",       "BytesDone",
    "BytesTotal",    "BlobsDone",       "BlobsTotal",  "BlobsFailed",      "BytesPerSecond", "RemainingUSec",
    "Drives",        "DrivesTotal",     "DrivesHere",  "LogLevel",    "BackupManifest",   "IncompleteListUri",
    "CompletedUSec", "ExpiresUSec",     "Expiry",      "Notice",           "Faulted",       "FaultReason", nullptr};
constexpr const char* kDriveState[] = {
    "State",         "Outcome",    "Faulted",       "FaultReason", "Manifest",       "ManifestHash",
    "VolumeId",      "Partition",  "CopyStatus", "Device",        "Percent",     "BytesDone",      "BytesTotal",
    "BlobsDone",     "BlobsTotal", "BlobsFailed",   "BytesPerSecond", "RemainingUSec", "ErrorLogUri",
    "VerboseLogUri", "ManifestUri", "Draining",     "OverdueUSec", nullptr};
constexpr const char* kProgress[] = {"Percent",     "BytesDone",      "BytesTotal",    "BlobsDone", "BlobsTotal",
                                     "BlobsFailed", "BytesPerSecond", "RemainingUSec", nullptr};
// What a job's properties take from its drives.
constexpr const char* kJobOfDrives[] = {"Drives", "DrivesTotal", "DrivesHere", "Faulted", "FaultReason",
                                        "ExpiresUSec", "Expiry", "Notice", nullptr};
constexpr const char* kDrivesHere[] = {"DrivesHere", nullptr};
constexpr const char* kDriveDevice[] = {"Device", nullptr};
constexpr const char* kDeviceState[] = {"Serial", "Model", "Node",      "Bus", "Bay",
                                        "Size",   "Signature", "Job", "Opens", "Problem", nullptr};
constexpr const char* kStoreState[] = {"Url", "Reachable", "Encrypted", "Problem", nullptr};
constexpr const char* kTransfers[] = {"ActiveTransfers", nullptr};
constexpr const char* kProblems[] = {"Problems", nullptr};
constexpr const char* kStores[] = {"Stores", nullptr};
constexpr const char* kSettings[] = {"MaxTransfers", "RetentionUSec", "Drain", nullptr};

}  // namespace

bool Objects::is_choked() const {
    std::uint64_t queued = 0;
    return sd_bus_get_n_queued_write(bus_, &queued) >= 0 && queued > kChokedQueue;
}

void Objects::announce(const std::string& path, const char* interface, const char* const* properties) {
    // sd-bus takes the list as char** for history's sake and does not write to it.
    (void)sd_bus_emit_properties_changed_strv(bus_, path.c_str(), interface, const_cast<char**>(properties));
}

void Objects::announce_removed(const std::string& path, const char* interface) {
    // sd_bus_emit_object_removed would look the object up, and it is gone already.
    (void)sd_bus_emit_interfaces_removed(bus_, path.c_str(), interface, "org.freedesktop.DBus.Peer",
                                         "org.freedesktop.DBus.Introspectable",
                                         "org.freedesktop.DBus.Properties", nullptr);
}

void Objects::announce_finished(const std::string& path, const char* interface, const std::string& outcome) {
    (void)sd_bus_emit_signal(bus_, path.c_str(), interface, "Finished", "s", as_utf8(outcome).c_str());
}

void Objects::job_added(const Job& job) {
    (void)sd_bus_emit_object_added(bus_, job_path(job.name).c_str());
    if (overview_)
        overview_();
}

void Objects::job_changed(const Job& job, Change change) {
    if (change == Change::State)
        announce(job_path(job.name), kJobInterface, kJobState);
    else if (!is_choked())
        announce(job_path(job.name), kJobInterface, kProgress);
}

void Objects::job_removed(const Job& job) {
    for (const Drive& drive : job.drives)
        announce_removed(drive_path(job.name, drive.serial), kDriveInterface);
    announce_removed(job_path(job.name), kJobInterface);
    if (overview_)
        overview_();
}

void Objects::job_finished(const Job& job) {
    announce_finished(job_path(job.name), kJobInterface, job.outcome);
}

void Objects::drive_added(const Job& job, const Drive& drive) {
    (void)sd_bus_emit_object_added(bus_, drive_path(job.name, drive.serial).c_str());
    announce(job_path(job.name), kJobInterface, kJobOfDrives);
}

void Objects::drive_changed(const Job& job, const Drive& drive, Change change) {
    const std::string path = drive_path(job.name, drive.serial);
    if (change == Change::State) {
        announce(path, kDriveInterface, kDriveState);
        announce(job_path(job.name), kJobInterface, kJobOfDrives);
    } else if (!is_choked()) {
        announce(path, kDriveInterface, kProgress);
    }
}

void Objects::drive_finished(const Job& job, const Drive& drive) {
    announce_finished(drive_path(job.name, drive.serial), kDriveInterface, drive.outcome);
}

void Objects::announce_carried_drive(const DeviceEntry& device, bool is_present) {
    const auto before = carried_.find(device.device.id);
    const std::pair now(device.job, device.serial);
    if (before != carried_.end() && before->second == now && is_present)
        return;
    const auto tell = [this](const std::pair<std::string, std::string>& drive) {
        if (drive.first.empty())
            return;
        if (!drive.second.empty())
            announce(drive_path(drive.first, drive.second), kDriveInterface, kDriveDevice);
        announce(job_path(drive.first), kJobInterface, kDrivesHere);
    };
    if (before != carried_.end() && before->second != now)
        tell(before->second);
    tell(now);
    if (is_present)
        carried_.insert_or_assign(device.device.id, now);
    else
        carried_.erase(device.device.id);
}

void Objects::device_added(const DeviceEntry& device) {
    (void)sd_bus_emit_object_added(bus_, device_path(device.device.id).c_str());
    announce_carried_drive(device, true);
}

void Objects::device_changed(const DeviceEntry& device) {
    announce(device_path(device.device.id), kDeviceInterface, kDeviceState);
    announce_carried_drive(device, true);
}

void Objects::device_removed(const DeviceEntry& device) {
    announce_removed(device_path(device.device.id), kDeviceInterface);
    announce_carried_drive(device, false);
}

void Objects::store_changed(const StoreEntry& store) {
    announce(store_path(store.name), kStoreInterface, kStoreState);
}

void Objects::store_added(const StoreEntry& store) {
    (void)sd_bus_emit_object_added(bus_, store_path(store.name).c_str());
    announce(kRootPath, kManagerInterface, kStores);
}

void Objects::store_removed(const StoreEntry& store) {
    announce_removed(store_path(store.name), kStoreInterface);
    announce(kRootPath, kManagerInterface, kStores);
}

void Objects::settings_changed() { announce(kRootPath, kManagerInterface, kSettings); }

void Objects::problems_changed() { announce(kRootPath, kManagerInterface, kProblems); }

void Objects::transfers_changed() {
    announce(kRootPath, kManagerInterface, kTransfers);
    if (overview_)
        overview_();
}

}  // namespace dray::bus
