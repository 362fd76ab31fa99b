// SPDX-License-Identifier: Apache-2.0
//
// The rules of azure-import-export.md 2 and 3, as amended by rules.md, as one pure table: which
// operation is legal when, and what follows. The engine asks here and nowhere else.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "daemon/model/drive.hpp"
#include "daemon/model/job.hpp"

namespace dray {

/// What callers ask of a job.
enum class JobOperation {
    AddDrive,
    UpdateTags,
    UpdateReturn,    // log level, manifest backup: until Packaging
    UpdateShipping,  // carrier, tracking: until all drives have arrived
    Ship,
    Cancel,
    Close,
    Delete,
    AssignDevice,
    RetryDrive,
    ReleaseDrive,
};

enum class Verdict {
    Allowed,
    /// Succeeds and changes nothing: a repeated Ship or Cancel.
    NoOperation,
    Refused,
};

std::string_view to_string(JobOperation operation);
std::span<const JobOperation> all_job_operations();
std::span<const JobState> all_job_states();
std::span<const DriveState> all_drive_states();

/// The table. `is_cancel_requested` matters for Ship, AddDrive, AssignDevice (refused after a cancel)
/// and Cancel (a repeated one succeeds in every state).
Verdict judge(JobOperation operation, JobState state, bool is_cancel_requested);

/// "cannot cancel job lyon-17: it is Packaging; cancelling ends before Packaging": Conflict for the bus.
Error refusal(JobOperation operation, const Job& job);

/// Whether a drive may go from one state to the other (3.3). Staying is no step.
bool may_follow(DriveState from, DriveState to);
/// Whether a job may (2.2). All steps lead onward.
bool may_follow(JobState from, JobState to);

/// The job state that follows from the drives and flags, or nothing when it stays as it is. Call until
/// it answers nothing. Covers transitions 6 to 14: Shipping to Received, Transferring, Packaging,
/// Completed or Closed; a cancelled job's way; a job closed without drives.
///
/// `has_running` tells whether a transfer of this job still lives: a draining drive counts until its
/// process has ended.
///
/// Drives are only looked at. When a cancel comes, the engine turns those that are Received into
/// CompletedMoreInfo with copy_status "Cancelled"; Specified ones stay so and hold nothing up. On Close it
/// turns Specified into NeverReceived; where none ever came the job is Closed.
std::optional<JobState> next_state(const Job& job, bool has_running);

/// "completed", "completed-with-errors" or "cancelled" for a job that is finished.
std::string_view outcome_of(const Job& job);

}  // namespace dray
