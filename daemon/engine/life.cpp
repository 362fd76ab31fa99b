// SPDX-License-Identifier: Apache-2.0
//
// How drives and jobs move on: arrival, faults, ends, handing back, and what the table says follows.
#include <algorithm>
#include <cassert>
#include <filesystem>
#include <system_error>
#include <utility>

#include "daemon/base/log.hpp"
#include "daemon/engine/engine_state.hpp"

namespace dray {

Result<void> JobEngine::State::save(const Job& job) {
    Result<void> saved = catalog.save(job);
    if (!saved)
        return fail(std::move(saved.error()), "job {} cannot be saved", job.name);
    return {};
}

void JobEngine::State::save_or_log(const Job& job) {
    if (Result<void> saved = save(job); !saved)
        log::error("{}", saved.error().text());
}

void JobEngine::State::set_state(Job& job, Drive& drive, DriveState state) {
    if (drive.state == state)
        return;
    assert(may_follow(drive.state, state));
    log::info("job {}, drive {}: {} after {}", job.name, drive.serial, to_string(state), to_string(drive.state));
    drive.state = state;
    // A phase is a running copy's word (azure-import-export.md 3.5).
    if (state == DriveState::Received)
        drive.copy_status.clear();
}

void JobEngine::State::tell(const Job& job, const Drive& drive, Change change) {
    observer.drive_changed(job, drive, change);
    observer.job_changed(job, change);
}

void JobEngine::State::finish(Job& job, Drive& drive, DriveState state, const std::string& status,
                              const std::string& outcome) {
    set_state(job, drive, state);
    drive.copy_status = status;
    drive.outcome = outcome;
    drive.is_draining = false;
    drive.is_faulted = false;
    drive.fault_reason.clear();
    drive.fault_kind.clear();
    drive.finished = clock.now();
    save_or_log(job);
    tell(job, drive, Change::State);
    observer.drive_finished(job, drive);
    hand_back_if_due(job, drive);
}

void JobEngine::State::hand_back(Job& job, Drive& drive) {
    set_state(job, drive, DriveState::ShippedBack);
    save_or_log(job);
    tell(job, drive, Change::State);
}

// What counts as handing back is the site's choice; a drive that is not there has been handed back.
void JobEngine::State::hand_back_if_due(Job& job, Drive& drive) {
    if (drive.state != DriveState::Completed && drive.state != DriveState::CompletedMoreInfo)
        return;
    const bool is_away = is_settled && devices.device_of(job, drive) == nullptr;
    if (config.lifecycle.hand_back == HandBack::AtOnce ||
        (config.lifecycle.hand_back == HandBack::Unplug && is_away))
        hand_back(job, drive);
}

void JobEngine::State::fault(Job& job, Drive& drive, ErrorKind kind, const std::string& reason) {
    if (drive.state == DriveState::Transferring)
        set_state(job, drive, DriveState::Received);
    drive.is_faulted = true;
    drive.fault_kind = to_string(kind);
    drive.fault_reason = reason;
    save_or_log(job);
    log::warning("job {}, drive {} is faulted: {}", job.name, drive.serial, reason);
    tell(job, drive, Change::State);
}

void JobEngine::State::enter(Job& job, JobState state) {
    assert(may_follow(job.state, state));
    log::info("job {}: {} after {}", job.name, to_string(state), to_string(job.state));
    job.state = state;
    job.expires = TimePoint();
    if (is_over(job)) {
        job.completed = clock.now();
        job.expires = job.completed + config.lifecycle.retention;
        job.outcome = outcome_of(job);
    }
    save_or_log(job);
    observer.job_changed(job, Change::State);
    if (is_over(job)) {
        log::info("job {} is finished: {}", job.name, job.outcome);
        observer.job_finished(job);
    }
}

void JobEngine::State::advance(Job& job) {
    while (const std::optional<JobState> next = next_state(job, has_running(job)))
        enter(job, *next);
}

Result<void> JobEngine::State::ship(Job& job, const ShipRequest& request) {
    if (job.drives.empty())
        return fail(ErrorKind::InvalidArgument, "job {} has no drive yet; run drayctl add-drive {} first", job.name,
                    job.name);
    Job shipped = job;
    shipped.state = JobState::Shipping;
    shipped.carrier = request.carrier.empty() ? job.carrier : request.carrier;
    shipped.tracking = request.tracking.empty() ? job.tracking : request.tracking;
    if (request.return_address) {
        std::erase_if(shipped.tags, [](const auto& tag) { return tag.first.starts_with(kReturnAddress); });
        for (const auto& [word, text] : *request.return_address)
            shipped.tags.insert_or_assign(kReturnAddress + word, text);
    }
    DRAY_TRY(check_texts(shipped));
    const bool has_address = std::ranges::any_of(
        shipped.tags, [](const auto& tag) { return tag.first.starts_with(kReturnAddress); });
    if (config.lifecycle.require_shipping && (shipped.carrier.empty() || shipped.tracking.empty() || !has_address))
        return fail(ErrorKind::InvalidArgument,
                    "job {} needs a carrier, a tracking number and a return address to be shipped", job.name);
    shipped.shipped = clock.now();
    shipped.expires = TimePoint();
    for (Drive& drive : shipped.drives)
        drive.overdue = shipped.shipped + config.lifecycle.overdue;
    DRAY_TRY(save(shipped));
    job = std::move(shipped);
    log::info("job {}: Shipping after Creating", job.name);
    observer.job_changed(job, Change::State);
    return {};
}

Result<void> JobEngine::State::cancel(Job& job, std::optional<DrainMode> drain) {
    const Verdict verdict = judge(JobOperation::Cancel, job.state, job.is_cancel_requested);
    if (verdict == Verdict::Refused)
        return fail(refusal(JobOperation::Cancel, job));
    const bool is_first = !job.is_cancel_requested;
    // A repeated cancel may only tighten, and says so by succeeding.
    const DrainMode mode = is_first ? drain.value_or(config.cancel_drain) : std::max(job.drain, drain.value_or(job.drain));
    if (!is_first && (mode == job.drain || is_over(job) || job.state == JobState::Packaging))
        return {};
    Job cancelled = job;
    cancelled.is_cancel_requested = true;
    cancelled.drain = mode;
    for (Drive& drive : cancelled.drives) {
        const Copy* copy = copy_of(job, drive);
        drive.is_draining = drive.is_draining || (copy != nullptr && transfer::has_drive(copy->kind));
        if (drive.is_draining)
            drive.drain = mode;
    }
    DRAY_TRY(save(cancelled));  // remembered before the caller gets its answer
    job = std::move(cancelled);
    log::info("job {} is cancelled (drain: {})", job.name, to_string(mode));
    observer.job_changed(job, Change::State);
    for (Drive& drive : job.drives) {
        if (Copy* copy = copy_of(job, drive); copy != nullptr && drive.is_draining) {
            copy->process->send(transfer::Drain{mode});
            observer.drive_changed(job, drive, Change::State);
        }
    }
    turn_cancelled_away(job);
    settling = loop.soon([this] { settle(); });
    return {};
}

Result<void> JobEngine::State::close(Job& job) {
    Job closed = job;
    closed.is_closed_for_drives = true;
    for (Drive& drive : closed.drives)
        if (drive.state == DriveState::Specified)
            drive.state = DriveState::NeverReceived;
    DRAY_TRY(save(closed));
    job = std::move(closed);
    for (const Drive& drive : job.drives)
        observer.drive_changed(job, drive, Change::State);
    observer.job_changed(job, Change::State);
    return {};
}

Result<void> JobEngine::State::remove(Job& job) {
    // Journals first: should we die in between, the job is still there to be deleted again.
    std::error_code error;
    std::filesystem::remove_all(directory_of(job), error);
    if (error)
        return fail_errno(error.value(), "job {} cannot be deleted: its journals in {} cannot be removed", job.name,
                          directory_of(job));
    if (Result<void> removed = catalog.remove(job); !removed)
        return fail(std::move(removed.error()), "job {} cannot be deleted", job.name);
    const std::unique_ptr<Job> gone = std::move(jobs.extract(fold_job_name(job.name)).mapped());
    log::info("job {} is deleted", gone->name);
    observer.job_removed(*gone);
    return {};
}

bool JobEngine::State::receive_arrivals() {
    bool has_shipped = false;
    for (const DeviceEntry* entry : devices.all()) {
        Job* job = entry->job.empty() ? nullptr : find(entry->job);
        if (job == nullptr)
            continue;
        if (job->state == JobState::Creating && config.lifecycle.auto_ship && !job->is_cancel_requested) {
            if (Result<void> shipped = ship(*job, {}); !shipped)
                log::warning("job {} does not ship itself: {}", job->name, shipped.error().text());
            has_shipped = has_shipped || job->state == JobState::Shipping;
        }
        // Not before: shipping puts a new record in the old one's place.
        Drive* drive = job->find_drive(entry->serial);
        if (drive == nullptr)
            continue;
        if (awaits_drives(*job) &&
            (drive->state == DriveState::Specified || drive->state == DriveState::NeverReceived)) {
            set_state(*job, *drive, DriveState::Received);
            save_or_log(*job);
            tell(*job, *drive, Change::State);
        }
    }
    return has_shipped;
}

void JobEngine::State::settle() {
    if (std::exchange(is_settling, true))
        return;
    for (bool is_again = true; is_again;) {
        std::vector<DeviceBook::Hold> holds;
        for (const auto& [key, copy] : copies)
            if (!copy->device_id.empty() && !copy->is_device_gone)
                holds.push_back({copy->device_id, copy->job, copy->serial});
        for (const std::string& id : devices.settle(all_jobs(), holds)) {
            const DeviceEntry* entry = devices.find(id);
            observer.device_changed(*entry);
            if (const Job* job = entry->job.empty() ? nullptr : find(entry->job))
                if (const Drive* drive = job->find_drive(entry->serial))
                    tell(*job, *drive, Change::State);
        }
        is_again = receive_arrivals();
    }
    for (auto& [name, job] : jobs) {
        if (is_over(*job))
            continue;
        turn_cancelled_away(*job);
        watch_absences(*job);
        advance(*job);
    }
    is_settling = false;
    set_alarm();
    schedule_soon();
}

// Before this, a finished drive without a device may be one whose device was only not announced yet.
void JobEngine::State::sources_settled() {
    is_settled = true;
    for (auto& [name, job] : jobs)
        if (!is_over(*job))
            for (Drive& drive : job->drives)
                hand_back_if_due(*job, drive);
    settle();
}

}  // namespace dray
