// SPDX-License-Identifier: Apache-2.0
//
// Drives that end before their copy does: released while faulted, turned away by a cancel, drained until their disk was
// pulled, or read by a pair that keeps dying. What they left uncommitted in the store is thrown away, and the error log
// is written from journal and spool.
#include <utility>

#include "daemon/base/log.hpp"
#include "daemon/engine/engine_state.hpp"

namespace dray {
namespace {

using transfer::Ending;
using transfer::TaskKind;

/// The word of azure-import-export.md 6.3 for a drive that is given up while it is faulted.
std::string status_of_fault(const std::string& kind) {
    if (kind == to_string(ErrorKind::WrongKey))
        return "BitLockerKeyInvalid";
    if (kind == to_string(ErrorKind::Denied))
        return "BlobRequestForbidden";
    if (kind == to_string(ErrorKind::Gone))
        return "DiskNotFound";
    return "InternalError";
}

}  // namespace

void JobEngine::State::abandon(Job& job, Drive& drive, const std::string& status, const std::string& outcome,
                               bool is_given_up) {
    if (copy_of(job, drive) != nullptr)
        return;
    auto copy = std::make_unique<Copy>();
    copy->job = job.name;
    copy->serial = drive.serial;
    copy->kind = TaskKind::Abandon;
    copy->final_status = status;
    copy->final_outcome = outcome;
    copy->is_given_up = is_given_up;
    Result<std::unique_ptr<TransferLink>> process = start_process(job, drive, *copy, nullptr);
    if (process) {
        copy->process = *std::move(process);
        copies[copy_key(job, drive)] = std::move(copy);
        return;
    }
    // A store that is not configured any more takes no log, however long one waits.
    copy->is_given_up = is_given_up || !config.stores.contains(job.store);
    copy->report.emplace();
    copy->report->ending = Ending::Faulted;
    copy->report->kind = process.error().kind();
    copy->report->message = process.error().text();
    abandon_ended(job, drive, *copy);
}

// A log that the store does not take holds its drive up until it is delivered, or the drive is released (rules.md 14).
void JobEngine::State::abandon_ended(Job& job, Drive& drive, const Copy& copy) {
    const bool has_log = copy.report && copy.report->ending != Ending::Faulted;
    if (!has_log && is_stopping)
        return;
    if (!has_log && !copy.is_given_up) {
        owing_logs.insert(copy_key(job, drive));
        const std::string why = copy.report ? copy.report->message : "the process that writes it died";
        return fault(job, drive, copy.report ? copy.report->kind : ErrorKind::Internal,
                     "the drive is done but for its log, which cannot be stored: " + why);
    }
    if (has_log)
        drive.error_log_uri = copy.report->error_log_uri;
    else
        log::warning("job {}, drive {} ends without a log{}", job.name, drive.serial,
                     copy.report ? ": " + copy.report->message : "");
    if (has_log && copy.report->counters.blobs_total != 0)
        drive.counters = copy.report->counters;
    owing_logs.erase(copy_key(job, drive));
    finish(job, drive, DriveState::CompletedMoreInfo, copy.final_status, copy.final_outcome);
}

// Drives of a cancelled job that wait for a copy get none. Looked at again and again, because nothing but their state
// tells of it after a restart.
void JobEngine::State::turn_cancelled_away(Job& job) {
    if (!job.is_cancel_requested || is_stopping || job.state == JobState::Packaging || is_over(job))
        return;
    for (Drive& drive : job.drives) {
        if (drive.state != DriveState::Received || drive.is_draining || copy_of(job, drive) != nullptr ||
            owing_logs.contains(copy_key(job, drive)))
            continue;
        if (drive.started == TimePoint())
            finish(job, drive, DriveState::CompletedMoreInfo, "Cancelled", "cancelled");
        else
            abandon(job, drive, "Cancelled", "cancelled");
    }
}

Result<void> JobEngine::release(const std::string& job_name, const std::string& serial) {
    DRAY_LET(Job* const job, state_->need(job_name));
    DRAY_LET(Drive* const drive, state_->need_drive(*job, serial));
    if (judge(JobOperation::ReleaseDrive, job->state, job->is_cancel_requested) == Verdict::Refused)
        return fail(refusal(JobOperation::ReleaseDrive, *job));
    const bool is_packed = job->state == JobState::Packaging || is_over(*job);
    switch (drive->state) {
        case DriveState::ShippedBack: return {};
        case DriveState::Completed:
        case DriveState::CompletedMoreInfo: state_->hand_back(*job, *drive); break;
        case DriveState::Received: {
            if (state_->copy_of(*job, *drive) != nullptr)
                return fail(ErrorKind::Conflict, "drive {} of job {} is being released already", drive->serial,
                            job->name);
            const bool is_cancelled = drive->is_draining || job->is_cancel_requested;
            if (is_packed)
                state_->hand_back(*job, *drive);
            else if (!drive->is_faulted && !drive->is_draining)
                return fail(ErrorKind::Conflict,
                            "drive {} of job {} waits for its turn and is not faulted; cancel the job instead",
                            drive->serial, job->name);
            else if (drive->started == TimePoint())
                state_->finish(*job, *drive, DriveState::CompletedMoreInfo, status_of_fault(drive->fault_kind),
                               "completed-more-info");
            else
                state_->abandon(*job, *drive, is_cancelled ? "Cancelled" : status_of_fault(drive->fault_kind),
                                is_cancelled ? "cancelled" : "completed-more-info", true);
            break;
        }
        case DriveState::Transferring:
            return fail(ErrorKind::Conflict, "drive {} of job {} is being copied; cancel the job to stop it",
                        drive->serial, job->name);
        case DriveState::Specified:
        case DriveState::NeverReceived:
            return fail(ErrorKind::Conflict, "drive {} of job {} has not come", drive->serial, job->name);
    }
    state_->settle();
    return {};
}

}  // namespace dray
