// SPDX-License-Identifier: Apache-2.0
//
// Copies: which drive is next, starting its pair, what the pair says, and what its end means.

#include <algorithm>
#include <cerrno>
#include <tuple>
#include <utility>

#include "daemon/base/file.hpp"
#include "daemon/base/log.hpp"
#include "daemon/base/memfd.hpp"
#include "daemon/base/overloaded.hpp"
#include "daemon/engine/engine_state.hpp"

namespace dray {
namespace {

using transfer::Ending;
using transfer::TaskKind;

constexpr Microseconds kAnnounceEvery = std::chrono::seconds(1);
constexpr Microseconds kSaveEvery = std::chrono::seconds(5);
constexpr std::uint32_t kMaxCrashes = 3;
/// A device that somebody else has open is tried again so often before it is a fault.
constexpr unsigned kBusyTries = 10;
/// Of an export, beside those of its drives; no serial number is such a file name.
constexpr const char* kPlanDirectory = "%plan";

/// A serial number as a file name: what might mean something to a path is written as %XX.
std::string file_name(const std::string& serial) {
    std::string name;
    for (const char c : fold_serial(serial)) {
        const auto byte = static_cast<unsigned char>(c);
        if (std::isalnum(byte) != 0 || c == '-' || c == '_')
            name += c;
        else
            name += fmt::format("%{:02x}", byte);
    }
    return name;
}

/// While a pair runs it may not have come yet to what an earlier one had done: what is done never falls. Its last
/// word counts as it is.
void take_counters(Drive& drive, const Counters& counters, bool is_last) {
    const Counters before = drive.counters;
    drive.counters = counters;
    if (is_last || before.bytes_total != counters.bytes_total)
        return;
    drive.counters.bytes_done = std::max(before.bytes_done, counters.bytes_done);
    drive.counters.blobs_done = std::max(before.blobs_done, counters.blobs_done);
    drive.counters.blobs_failed = std::max(before.blobs_failed, counters.blobs_failed);
}

/// In udev's words, so that images and disks read alike.
std::string signature_of(const transfer::Unlocked& unlocked) {
    if (!unlocked.partition_table.empty())
        return unlocked.partition_table;
    if (unlocked.volume_type.starts_with("luks"))
        return "crypto_LUKS";
    if (unlocked.volume_type == "bitlocker")
        return "BitLocker";
    return unlocked.volume_type == "plain" ? unlocked.filesystem : unlocked.volume_type;
}

}  // namespace

std::string JobEngine::State::copy_key(const Job& job, const Drive& drive) {
    return fold_job_name(job.name) + "/" + fold_serial(drive.serial);
}

std::string JobEngine::State::directory_of(const Job& job) const {
    return config.state_directory + "/transfers/" + fold_job_name(job.name);
}

std::string JobEngine::State::directory_of(const Job& job, const Drive& drive) const {
    return directory_of(job) + "/" + file_name(drive.serial);
}

JobEngine::State::Copy* JobEngine::State::copy_of(const Job& job, const Drive& drive) {
    const auto found = copies.find(copy_key(job, drive));
    return found == copies.end() ? nullptr : found->second.get();
}

const JobEngine::State::Copy* JobEngine::State::copy_of(const Job& job, const Drive& drive) const {
    const auto found = copies.find(copy_key(job, drive));
    return found == copies.end() ? nullptr : found->second.get();
}

// A draining drive between two pairs (a crash, a restart, a fault to be mended) still counts, and so does one whose log
// the store has yet to take.
bool JobEngine::State::has_running(const Job& job) const {
    return std::ranges::any_of(job.drives, [&](const Drive& drive) {
        return copy_of(job, drive) != nullptr || (drive.is_draining && !drive.is_finished()) ||
               owing_logs.contains(copy_key(job, drive));
    });
}

unsigned JobEngine::State::active() const {
    return static_cast<unsigned>(
        std::ranges::count_if(copies, [](const auto& item) { return transfer::has_drive(item.second->kind); }));
}

bool JobEngine::State::has_slot_on_bus(const Device& device) const {
    const std::string bus = bus_of(device);
    if (config.transfers.per_bus == 0 || bus.empty())
        return true;
    const auto is_on_it = [&](const auto& item) {
        const DeviceEntry* other = devices.find(item.second->device_id);
        return transfer::has_drive(item.second->kind) && other != nullptr && bus_of(other->device) == bus;
    };
    return std::ranges::count_if(copies, is_on_it) < std::ptrdiff_t{config.transfers.per_bus};
}

void JobEngine::State::schedule_soon() {
    scheduling = loop.soon([this] { schedule(); });
}

// Resumed drives first, then by the time of Ship; jobs without a ready drive are passed over (rules.md 3).
void JobEngine::State::schedule() {
    if (is_stopping)
        return;
    struct Ready {
        Job* job;
        std::string serial;
        bool is_fresh;
    };
    std::vector<Ready> ready;
    for (auto& [name, job] : jobs) {
        if (job->state != JobState::Shipping && job->state != JobState::Received &&
            job->state != JobState::Transferring)
            continue;
        for (Drive& drive : job->drives) {
            const std::string key = copy_key(*job, drive);
            if (drive.state != DriveState::Received || copy_of(*job, drive) != nullptr || pausing.contains(key) ||
                owing_logs.contains(key))
                continue;
            const DeviceEntry* device = devices.device_of(*job, drive);
            // A drain whose disk is gone ends here (rules.md 19); so does a pair that keeps dying.
            if (drive.is_draining && device == nullptr && is_settled)
                abandon(*job, drive, "Cancelled", "cancelled");
            else if (drive.crashes >= kMaxCrashes)
                abandon(*job, drive, "InternalError", "completed-more-info");
            else if (device != nullptr && device->problem.empty() && !drive.is_faulted &&
                     (!job->is_cancel_requested || drive.is_draining))
                ready.push_back({job.get(), drive.serial, drive.started == TimePoint()});
        }
    }
    std::ranges::sort(ready, {}, [](const Ready& entry) {
        return std::tuple(entry.is_fresh, entry.job->shipped, entry.job->name, entry.serial);
    });
    for (const Ready& entry : ready) {
        if (active() >= config.transfers.max)
            return;
        Drive* drive = entry.job->find_drive(entry.serial);
        const DeviceEntry* device = drive == nullptr ? nullptr : devices.device_of(*entry.job, *drive);
        if (device == nullptr || drive->state != DriveState::Received || !has_slot_on_bus(device->device))
            continue;
        if (Result<void> started = start_copy(*entry.job, *drive, *device); !started)
            fault(*entry.job, *drive, started.error().kind(), started.error().text());
        advance(*entry.job);
    }
}

Result<transfer::Task> JobEngine::State::task_for(const Job& job, const Drive& drive, TaskKind kind) {
    const auto store = config.stores.find(job.store);
    if (store == config.stores.end())
        return fail(ErrorKind::NotFound, "store \"{}\" of job {} is not in the configuration", job.store, job.name);
    transfer::Task task;
    task.kind = kind;
    task.job = job.name;
    task.serial = drive.serial;
    task.store = store->second;
    task.store_identity = store_memory.identity(store->second);
    task.manifest = drive.manifest;
    task.manifest_hash = drive.manifest_hash;
    task.volume_id = drive.volume_id;
    task.header_hash = drive.header_hash;
    task.partition = drive.partition;
    task.diagnostics_path = job.diagnostics_path;
    task.is_verbose_log = job.log_level == LogLevel::Verbose;
    task.backup_manifest = job.backup_manifest;
    task.directory = directory_of(job, drive);
    task.ring = config.transfers.ring;
    task.requests = config.transfers.requests;
    task.unlock_memory = config.drives.unlock_memory;
    task.allow_plain = config.drives.allow_plain;
    task.strict_header_hash = config.drives.strict_header_hash;
    task.is_draining = drive.is_draining;
    task.drain = drive.drain;
    if (job.type == JobType::Export) {
        task.list_blob = job.list_blob;
        task.plan_directory = directory_of(job) + "/" + kPlanDirectory;
        task.may_overwrite = drive.may_overwrite;
        task.checkpoint = config.transfers.checkpoint;
    }
    return task;
}

Result<std::unique_ptr<TransferLink>> JobEngine::State::start_process(const Job& job, Drive& drive, Copy& copy,
                                                                      const DeviceEntry* device) {
    TransferProcess::Start start;
    start.programs = programs;
    DRAY_LET(start.task, task_for(job, drive, copy.kind));
    start.task.status = copy.final_status;
    copy.store = start.task.store;
    DRAY_TRY(add_secrets(start));
    start.users = child_users;
    DRAY_TRY(make_copy_directory(config.state_directory, start.task.directory, child_users));
    if (!start.task.plan_directory.empty()) {
        DRAY_TRY(make_copy_directory(config.state_directory, start.task.plan_directory, child_users));
        if (!job.selection.empty())
            DRAY_TRY(write_file_atomically(start.task.plan_directory + "/selection.xml", std::as_bytes(std::span(job.selection)), 0640));
    }
    if (device != nullptr) {
        start.task.drive_size = device->device.size;
        SecretBytes key;
        if (drive.has_key) {
            Result<SecretBytes> read = catalog.read_key(job, drive);
            // Not Denied, which would be the store's, and would be tried again and again.
            if (!read)
                return fail(ErrorKind::Internal, "{}", read.error().text());
            key = *std::move(read);
        }
        DRAY_LET(start.key, make_sealed_memfd("dray-key", key.bytes()));
        devices.count_open(device->device.id);
        DRAY_LET(start.device, open_device(device->device, job.type == JobType::Export));
    }
    const std::string key = copy_key(job, drive);
    return start_transfer(
        loop, std::move(start),
        {[this, key](const transfer::FromTransfer& message) { heard(key, message); }, [this, key] { ended(key); }});
}

Result<void> JobEngine::State::start_copy(Job& job, Drive& drive, const DeviceEntry& device) {
    const std::string key = copy_key(job, drive);
    auto copy = std::make_unique<Copy>();
    copy->job = job.name;
    copy->serial = drive.serial;
    copy->device_id = device.device.id;
    copy->kind = job.type == JobType::Export ? TaskKind::Export : TaskKind::Import;
    copy->announced = copy->saved = clock.since_boot();
    // In the catalog before anything starts: after a crash this drive is the first to be resumed.
    set_state(job, drive, DriveState::Transferring);
    drive.copy_status = "Unlocking";
    // What had no place so far may find one on this drive.
    job.incomplete_list_uri.clear();
    DRAY_TRY(save(job));
    Result<std::unique_ptr<TransferLink>> process = start_process(job, drive, *copy, &device);
    // Gone: its `remove` is on the way. Busy: the pair before it may not have let go of it yet (rules.md 9).
    const bool is_gone = !process && process.error().kind() == ErrorKind::Gone;
    if (is_gone || (!process && process.error().kind() == ErrorKind::Busy && busy[key]++ < kBusyTries)) {
        set_state(job, drive, DriveState::Received);
        save_or_log(job);
        tell(job, drive, Change::State);
        log::info("job {}, drive {}: {}", job.name, drive.serial, process.error().text());
        pause(job, drive, is_gone ? pace.gone : pace.busy, {});
        return {};
    }
    busy.erase(key);
    if (!process)
        return fail(std::move(process.error()), "cannot start copying drive {}", drive.serial);
    copy->process = *std::move(process);
    copies[key] = std::move(copy);
    if (drive.started == TimePoint()) {
        drive.started = clock.now();
        save_or_log(job);
    }
    observer.device_changed(*devices.find(device.device.id));
    tell(job, drive, Change::State);
    observer.transfers_changed();
    return {};
}

void JobEngine::State::heard(const std::string& key, const transfer::FromTransfer& message) {
    const auto found = copies.find(key);
    Job* job = found == copies.end() ? nullptr : find(found->second->job);
    Drive* drive = job == nullptr ? nullptr : job->find_drive(found->second->serial);
    if (drive == nullptr)
        return;
    Copy& copy = *found->second;
    std::visit(
        Overloaded{
            [&](const transfer::UnlockWanted& wanted) {
                if (const auto store = config.stores.find(job->store); store != config.stores.end())
                    store_memory.remember(store->second, wanted.store_identity);
                if (const auto entry = stores.find(job->store); entry != stores.end() && !entry->second.is_reachable)
                    set_reachable(job->store, {});  // it has just been opened
                // A turn each: who asks again would only keep others waiting.
                copy.wants_unlock = !copy.has_unlocked;
                grant_unlock();
            },
            [&](const transfer::Unlocked& unlocked) {
                copy.is_unlocking = false;
                copy.unlock_limit.reset();
                if (const DeviceEntry* device = devices.find(copy.device_id);
                    !unlocked.volume_type.empty() && device != nullptr && device->device.is_image && device->device.signature.empty()) {
                    devices.set_content(copy.device_id, signature_of(unlocked), unlocked.volume_id);
                    observer.device_changed(*device);
                }
                if (drive->volume_id.empty() && !unlocked.volume_id.empty()) {
                    drive->volume_id = unlocked.volume_id;
                    save_or_log(*job);
                    tell(*job, *drive, Change::State);
                }
                grant_unlock();
            },
            [&](const transfer::Progress& progress) { heard_progress(*job, *drive, copy, progress); },
            [&](const transfer::Note& note) {
                if (note.is_warning)
                    log::warning("job {}, drive {}: {}", job->name, drive->serial, note.text);
                else
                    log::info("job {}, drive {}: {}", job->name, drive->serial, note.text);
            },
            [&](const transfer::Report& report) { copy.report = report; },
        },
        message);
}

void JobEngine::State::heard_progress(Job& job, Drive& drive, Copy& copy, const transfer::Progress& progress) {
    const Microseconds now = clock.since_boot();
    const bool is_new_phase = transfer::has_drive(copy.kind) && drive.copy_status != progress.phase;
    copy.file = progress.file;
    copy.pieces_journaled = progress.pieces_journaled;
    // Before the manifest was looked through there are no totals; what was known before stays then. After a
    // power cut the journal may know a second less than we announced: what is done is never taken back.
    if (progress.counters.bytes_total != 0 || progress.counters.blobs_total != 0)
        take_counters(drive, progress.counters, false);
    copy.rate.add(now, progress.counters.bytes_done);
    if (progress.pieces_journaled > 0)
        drive.crashes = 0;
    if (is_new_phase) {
        drive.copy_status = progress.phase;
        save_or_log(job);
        tell(job, drive, Change::State);
    } else if (now - copy.saved >= kSaveEvery) {
        copy.saved = now;
        if (Result<void> saved = catalog.save_drive(job, drive); !saved)
            log::error("job {} cannot be saved: {}", job.name, saved.error().text());
    }
    if (is_new_phase || now - copy.announced >= kAnnounceEvery) {
        copy.announced = now;
        tell(job, drive, Change::Progress);
    }
}

// One at a time per appliance: each may take a gigabyte (rules.md 7).
void JobEngine::State::grant_unlock() {
    for (const auto& [key, copy] : copies)
        if (copy->is_unlocking)
            return;
    for (const auto& [key, copy] : copies) {
        if (!copy->wants_unlock)
            continue;
        copy->wants_unlock = false;
        copy->is_unlocking = copy->has_unlocked = true;
        copy->process->send(transfer::UnlockGranted{});
        Copy* late = copy.get();
        copy->unlock_limit = loop.after(pace.unlock, [late] {
            late->is_unlock_late = true;
            late->process->kill();
        });
        return;
    }
}

void JobEngine::State::ended(const std::string& key) {
    const auto found = copies.find(key);
    if (found == copies.end())
        return;
    const std::unique_ptr<Copy> copy = std::move(found->second);
    copies.erase(found);
    grant_unlock();
    Job* job = find(copy->job);
    Drive* drive = job == nullptr ? nullptr : job->find_drive(copy->serial);
    if (drive != nullptr && transfer::has_drive(copy->kind)) {
        copy_ended(*job, *drive, *copy);
    } else if (drive != nullptr && copy->kind == TaskKind::Abandon) {
        abandon_ended(*job, *drive, *copy);
    }
    observer.transfers_changed();
    if (is_stopping && copies.empty() && stopped) {
        std::exchange(stopped, {})();
        return;
    }
    settle();
}

JobEngine::State::Crash JobEngine::State::crash_of(const Copy& copy) {
    return {copy.device_id, copy.file, copy.pieces_journaled};
}

void JobEngine::State::copy_ended(Job& job, Drive& drive, const Copy& copy) {
    if (!copy.report) {
        if (copy.is_unlock_late)
            return fault(job, drive, ErrorKind::LimitReached, "unlocking took longer than 60 s and was stopped");
        if (copy.is_device_gone)
            return device_went(job, drive);
        if (is_stopping) {
            set_state(job, drive, DriveState::Received);
            return save_or_log(job);
        }
        return crashed(job, drive, crash_of(copy), "its processes died");
    }
    const transfer::Report& report = *copy.report;
    if (report.status == transfer::kBeginAnew) {
        // The disk is ours already, whatever of the first beginning is on it.
        drive.volume_id.clear();
        drive.may_overwrite = true;
        log::info("job {}, drive {}: nothing of it was there for good yet; it is begun anew", job.name, drive.serial);
        set_state(job, drive, DriveState::Received);
        save_or_log(job);
        return tell(job, drive, Change::State);
    }
    const bool is_end = report.ending == Ending::Finished || report.ending == Ending::Cancelled;
    if (report.counters.bytes_total != 0 || report.counters.blobs_total != 0)
        take_counters(drive, report.counters, is_end);
    if (!report.error_log_uri.empty())
        drive.error_log_uri = report.error_log_uri;
    if (!report.verbose_log_uri.empty())
        drive.verbose_log_uri = report.verbose_log_uri;
    if (!report.manifest_uri.empty())
        drive.manifest_uri = report.manifest_uri;
    if (is_end && copy.kind == TaskKind::Export) {
        drive.manifest = report.manifest;
        drive.manifest_hash = report.manifest_hash;
        if (!report.incomplete_list_uri.empty())
            job.incomplete_list_uri = report.incomplete_list_uri;
    }
    switch (report.ending) {
        case Ending::Finished: {
            const bool is_clean = report.status == "Completed";
            if (!report.message.empty())
                log::warning("job {}, drive {}: {}", job.name, drive.serial, report.message);
            return finish(job, drive, is_clean ? DriveState::Completed : DriveState::CompletedMoreInfo,
                          report.status, is_clean ? "completed" : "completed-more-info");
        }
        case Ending::Cancelled:
            return finish(job, drive, DriveState::CompletedMoreInfo, "Cancelled", "cancelled");
        case Ending::DeviceGone: {
            // Without a `remove` soon after, the device is there and only its pair says otherwise: that counts as a
            // crash, or a drive that lies would be started for ever.
            const bool is_here = !copy.is_device_gone;
            device_went(job, drive);
            if (is_here)
                pause(job, drive, pace.gone, crash_of(copy));
            return;
        }
        case Ending::Stopped:
            if (copy.is_device_gone)
                return device_went(job, drive);
            set_state(job, drive, DriveState::Received);
            save_or_log(job);
            return tell(job, drive, Change::State);
        case Ending::Faulted:
            if (copy.is_device_gone)
                return device_went(job, drive);
            if (report.kind == ErrorKind::Internal)
                return crashed(job, drive, crash_of(copy), report.message);
            // The drive's own disk ends as DeviceGone: what is gone here is the store's, and is probed.
            return fault(job, drive, report.kind == ErrorKind::Gone ? ErrorKind::Unreachable : report.kind,
                         report.message);
    }
}

// Nothing is started for the drive meanwhile. With a `copy` whose device is still there afterwards, that copy counts as
// crashed.
void JobEngine::State::pause(const Job& job, const Drive& drive, Microseconds length, const std::optional<Crash>& crash) {
    const std::string key = copy_key(job, drive);
    pausing[key] = loop.after(length, [this, key, job_name = job.name, serial = drive.serial, crash] {
        const EventSource done = std::move(pausing[key]);
        pausing.erase(key);
        Job* found = find(job_name);
        Drive* paused = found == nullptr ? nullptr : found->find_drive(serial);
        if (paused != nullptr && crash && devices.find(crash->device_id) != nullptr &&
            paused->state == DriveState::Received)
            crashed(*found, *paused, *crash, "its device did not answer");
        settle();
    });
}

void JobEngine::State::crashed(Job& job, Drive& drive, const Crash& crash, const std::string& how) {
    drive.crashes = crash.pieces_journaled > 0 ? 1 : drive.crashes + 1;
    const std::string file = crash.file.empty() ? "" : fmt::format(" while it read {}", crash.file);
    log::warning("job {}, drive {}: {}{}; {}", job.name, drive.serial, how, file,
                 drive.crashes < kMaxCrashes ? "it starts again where it was"
                                             : "three times without a new piece, so the drive ends here");
    set_state(job, drive, DriveState::Received);
    save_or_log(job);
    tell(job, drive, Change::State);
}

void JobEngine::State::device_went(Job& job, Drive& drive) {
    log::info("job {}, drive {}: its device is gone; the copy goes on when it is back", job.name, drive.serial);
    set_state(job, drive, DriveState::Received);
    save_or_log(job);
    tell(job, drive, Change::State);
}

void JobEngine::device_removed(const std::string& id) {
    const DeviceEntry gone = state_->devices.take(id);
    if (gone.device.id.empty())
        return;
    state_->observer.device_removed(gone);
    for (auto& [key, copy] : state_->copies) {
        if (copy->device_id != id)
            continue;
        copy->is_device_gone = true;
        State::Copy* held = copy.get();
        if (gone.device.is_image)
            copy->process->kill();
        else {
            // What it could not read was the removal's doing; it must not go into the journal (rules.md 1).
            copy->process->send(transfer::Stop{});
            copy->gone_limit = state_->loop.after(state_->pace.gone, [held] { held->process->kill(); });
        }
    }
    Job* job = gone.job.empty() ? nullptr : state_->find(gone.job);
    if (Drive* drive = job == nullptr ? nullptr : job->find_drive(gone.serial)) {
        state_->tell(*job, *drive, Change::State);
        if (state_->config.lifecycle.hand_back == HandBack::Unplug &&
            (drive->state == DriveState::Completed || drive->state == DriveState::CompletedMoreInfo))
            state_->hand_back(*job, *drive);
    }
    state_->settle();
}

void JobEngine::device_present(const Device& device) {
    const bool is_new = state_->devices.put(device);
    const DeviceEntry& entry = *state_->devices.find(device.id);
    if (is_new)
        state_->observer.device_added(entry);
    else
        state_->observer.device_changed(entry);
    state_->settle();
}

void JobEngine::stop(std::function<void()> stopped) {
    state_->is_stopping = true;
    state_->stopped = std::move(stopped);
    for (auto& [name, check] : state_->checks)
        check->process->kill();
    for (auto& [number, preview] : state_->previews)
        preview->process->kill();
    for (auto& [key, copy] : state_->copies)
        copy->process->send(transfer::Stop{});
    constexpr Microseconds kStopLimit = std::chrono::seconds(5);
    state_->stop_limit = state_->loop.after(kStopLimit, [state = state_.get()] {
        for (auto& [key, copy] : state->copies)
            copy->process->kill();
    });
    // In a place of its own: whatever else comes in until then may ask for a look at what can start.
    if (state_->copies.empty())
        state_->stopping = state_->loop.soon([state = state_.get()] {
            if (state->stopped)
                std::exchange(state->stopped, {})();
        });
}

}  // namespace dray
