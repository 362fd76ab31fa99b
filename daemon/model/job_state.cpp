// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/job_state.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace dray {

namespace {

enum class Cell {
    No,
    Yes,
    /// Yes, but not once a cancel was requested.
    Live,
    /// Changes nothing, and is refused once a cancel was requested.
    Same,
};

struct Rule {
    JobOperation operation;
    std::string_view word;
    /// "cannot <deed> job X".
    std::string_view deed;
    /// When it would be legal.
    std::string_view when;
    /// Creating, Shipping, Received, Transferring, Packaging, Completed, Closed.
    std::array<Cell, 7> cells;
};

constexpr Cell o = Cell::No;
constexpr Cell Y = Cell::Yes;
constexpr Cell L = Cell::Live;
constexpr Cell S = Cell::Same;

// Releasing is a matter of the drive's state: a finished drive goes back whatever its job does, even
// when the job is over and the drive was overlooked. A cancel that repeats one is handled in judge().
constexpr auto kRules = std::to_array<Rule>({
    //                                                 Creating to Closed
    {JobOperation::AddDrive, "add-drive", "add a drive to",
     "drives are added in Creating only", {L, o, o, o, o, o, o}},
    {JobOperation::UpdateTags, "update-tags", "change the tags of",
     "tags can be changed in every state", {Y, Y, Y, Y, Y, Y, Y}},
    {JobOperation::UpdateReturn, "update-return", "change the log settings of",
     "log level and manifest backup can be changed before Packaging", {Y, Y, Y, Y, o, o, o}},
    {JobOperation::UpdateShipping, "update-shipping", "change the shipping details of",
     "they can be changed in Creating and Shipping", {Y, Y, o, o, o, o, o}},
    {JobOperation::Ship, "ship", "ship",
     "a job is shipped in Creating", {L, S, o, o, o, o, o}},
    {JobOperation::Cancel, "cancel", "cancel",
     "cancelling ends before Packaging", {Y, Y, Y, Y, o, o, o}},
    {JobOperation::Close, "close", "close",
     "a job is closed for further drives in Shipping, Received and Transferring",
     {o, Y, Y, Y, o, o, o}},
    {JobOperation::Delete, "delete", "delete",
     "a job can be deleted in Creating, Completed and Closed", {Y, o, o, o, o, Y, Y}},
    {JobOperation::AssignDevice, "assign-device", "assign a device to",
     "devices are assigned before Packaging", {L, L, L, L, o, o, o}},
    {JobOperation::RetryDrive, "retry-drive", "retry a drive of",
     "drives are retried before Packaging", {Y, Y, Y, Y, o, o, o}},
    {JobOperation::ReleaseDrive, "release-drive", "release a drive of",
     "drives are released from Shipping on", {o, Y, Y, Y, Y, Y, Y}},
});

constexpr std::array kJobStates = {JobState::Creating,     JobState::Shipping,  JobState::Received,
                                   JobState::Transferring, JobState::Packaging, JobState::Completed,
                                   JobState::Closed};

constexpr std::array kDriveStates = {
    DriveState::Specified, DriveState::Received,          DriveState::NeverReceived, DriveState::Transferring,
    DriveState::Completed, DriveState::CompletedMoreInfo, DriveState::ShippedBack};

constexpr auto kDriveSteps = std::to_array<std::pair<DriveState, DriveState>>({
    {DriveState::Specified, DriveState::Received},
    {DriveState::Specified, DriveState::NeverReceived},
    {DriveState::NeverReceived, DriveState::Received},
    {DriveState::Received, DriveState::Transferring},
    // Refused before the copy, given up while faulted, or here when the cancel came.
    {DriveState::Received, DriveState::CompletedMoreInfo},
    {DriveState::Received, DriveState::ShippedBack},
    // Unplugged, stopped or faulted: it will be resumed.
    {DriveState::Transferring, DriveState::Received},
    {DriveState::Transferring, DriveState::Completed},
    {DriveState::Transferring, DriveState::CompletedMoreInfo},
    {DriveState::Completed, DriveState::ShippedBack},
    {DriveState::CompletedMoreInfo, DriveState::ShippedBack},
});

constexpr auto kJobSteps = std::to_array<std::pair<JobState, JobState>>({
    {JobState::Creating, JobState::Shipping},
    {JobState::Creating, JobState::Completed},  // cancelled
    {JobState::Shipping, JobState::Received},
    {JobState::Shipping, JobState::Transferring},
    {JobState::Shipping, JobState::Packaging},  // cancelled, drives to hand back
    {JobState::Shipping, JobState::Completed},  // cancelled, none here
    {JobState::Shipping, JobState::Closed},     // no drive ever came
    {JobState::Received, JobState::Transferring},
    {JobState::Received, JobState::Packaging},
    {JobState::Received, JobState::Completed},
    {JobState::Transferring, JobState::Packaging},
    {JobState::Transferring, JobState::Completed},
    {JobState::Packaging, JobState::Completed},
    {JobState::Packaging, JobState::Closed},
});

const Rule& rule_of(JobOperation operation) { return kRules.at(static_cast<std::size_t>(operation)); }

Cell cell_of(JobOperation operation, JobState state) {
    return rule_of(operation).cells.at(static_cast<std::size_t>(state));
}

bool is_any(const Job& job, std::initializer_list<DriveState> states) {
    return std::ranges::any_of(
        job.drives, [&](const Drive& drive) { return std::ranges::find(states, drive.state) != states.end(); });
}

/// Specified drives that still hold the job up: not after Close, which makes them NeverReceived, and
/// not after a cancel, which leaves them Specified.
bool is_waiting_for_drives(const Job& job) {
    return !job.is_closed_for_drives && !job.is_cancel_requested && is_any(job, {DriveState::Specified});
}

bool has_errors(const Job& job) {
    if (!job.incomplete_list_uri.empty())
        return true;
    return std::ranges::any_of(job.drives, [](const Drive& drive) {
        return drive.state == DriveState::NeverReceived ||
               (drive.copy_status != "Completed" && drive.copy_status != "CompletedWithWarnings");
    });
}

std::optional<JobState> next_of_cancelled(const Job& job, bool has_running) {
    if (is_any(job, {DriveState::Transferring}))
        return job.state == JobState::Transferring ? std::nullopt
                                                   : std::optional(JobState::Transferring);
    if (has_running)
        return std::nullopt;
    const bool is_here = is_any(
        job, {DriveState::Received, DriveState::Completed, DriveState::CompletedMoreInfo});
    return is_here ? JobState::Packaging : JobState::Completed;
}

std::optional<JobState> next_before_transfer(const Job& job) {
    if (is_any(job, {DriveState::Transferring, DriveState::Completed, DriveState::CompletedMoreInfo,
                     DriveState::ShippedBack}))
        return JobState::Transferring;
    if (job.state == JobState::Received)
        return std::nullopt;
    const bool has_received = is_any(job, {DriveState::Received});
    if (job.is_closed_for_drives)
        return has_received ? JobState::Received : JobState::Closed;
    const bool is_complete =
        !is_waiting_for_drives(job) && job.drives.size() >= job.expected_drives;
    return has_received && is_complete ? std::optional(JobState::Received) : std::nullopt;
}

std::optional<JobState> next_of_packaging(const Job& job, bool has_running) {
    const bool is_here = is_any(job, {DriveState::Received, DriveState::Transferring,
                                      DriveState::Completed, DriveState::CompletedMoreInfo});
    if (has_running || is_here || is_waiting_for_drives(job))
        return std::nullopt;
    return job.is_cancel_requested || !has_errors(job) ? JobState::Completed : JobState::Closed;
}

}  // namespace

std::string_view to_string(JobOperation operation) { return rule_of(operation).word; }

std::span<const JobOperation> all_job_operations() {
    static constexpr auto kOperations = [] {
        std::array<JobOperation, kRules.size()> result{};
        for (std::size_t i = 0; i < kRules.size(); ++i)
            result[i] = kRules[i].operation;
        return result;
    }();
    return kOperations;
}

std::span<const JobState> all_job_states() { return kJobStates; }
std::span<const DriveState> all_drive_states() { return kDriveStates; }

Verdict judge(JobOperation operation, JobState state, bool is_cancel_requested) {
    if (operation == JobOperation::Cancel && is_cancel_requested)
        return Verdict::NoOperation;
    switch (cell_of(operation, state)) {
    case Cell::No: return Verdict::Refused;
    case Cell::Yes: return Verdict::Allowed;
    case Cell::Live: return is_cancel_requested ? Verdict::Refused : Verdict::Allowed;
    case Cell::Same: return is_cancel_requested ? Verdict::Refused : Verdict::NoOperation;
    }
    return Verdict::Refused;
}

Error refusal(JobOperation operation, const Job& job) {
    const Rule& rule = rule_of(operation);
    const bool is_due_to_cancel = cell_of(operation, job.state) != Cell::No && job.is_cancel_requested;
    if (is_due_to_cancel)
        return Error(ErrorKind::Conflict,
                     fmt::format("cannot {} job {}: it is {} and was cancelled; {}, and not after a cancel",
                                 rule.deed, job.name, to_string(job.state), rule.when));
    return Error(ErrorKind::Conflict, fmt::format("cannot {} job {}: it is {}; {}", rule.deed, job.name,
                                                  to_string(job.state), rule.when));
}

bool may_follow(DriveState from, DriveState to) {
    return std::ranges::find(kDriveSteps, std::pair(from, to)) != kDriveSteps.end();
}

bool may_follow(JobState from, JobState to) {
    return std::ranges::find(kJobSteps, std::pair(from, to)) != kJobSteps.end();
}

std::optional<JobState> next_state(const Job& job, bool has_running) {
    switch (job.state) {
    case JobState::Creating:
        return job.is_cancel_requested ? std::optional(JobState::Completed) : std::nullopt;
    case JobState::Shipping:
    case JobState::Received:
        return job.is_cancel_requested ? next_of_cancelled(job, has_running) : next_before_transfer(job);
    case JobState::Transferring:
        if (job.is_cancel_requested)
            return next_of_cancelled(job, has_running);
        if (has_running || is_waiting_for_drives(job) ||
            is_any(job, {DriveState::Received, DriveState::Transferring}))
            return std::nullopt;
        return JobState::Packaging;
    case JobState::Packaging: return next_of_packaging(job, has_running);
    case JobState::Completed:
    case JobState::Closed: return std::nullopt;
    }
    return std::nullopt;
}

std::string_view outcome_of(const Job& job) {
    if (job.is_cancel_requested)
        return "cancelled";
    return job.state == JobState::Closed || has_errors(job) ? "completed-with-errors" : "completed";
}

}  // namespace dray
