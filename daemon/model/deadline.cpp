// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/deadline.hpp"

#include <algorithm>

namespace dray {
namespace {

void take_earlier(Deadline& next, TimePoint time, Expiry expiry) {
    if (time != TimePoint() && (next.expiry == Expiry::None || time < next.time))
        next = {time, expiry};
}

}  // namespace

std::string_view to_string(Expiry expiry) {
    switch (expiry) {
    case Expiry::None: return "";
    case Expiry::Delete: return "delete";
    case Expiry::Overdue: return "overdue";
    case Expiry::Fault: return "fault";
    case Expiry::NoReply: return "no-reply";
    }
    return "";
}

bool awaits_drives(const Job& job) {
    return !job.is_cancel_requested && (job.state == JobState::Shipping || job.state == JobState::Received ||
                                        job.state == JobState::Transferring);
}

bool has_no_drive(const Job& job) {
    return job.state == JobState::Shipping &&
           std::ranges::all_of(job.drives, [](const Drive& drive) { return drive.state == DriveState::NeverReceived; });
}

Deadline next_deadline(const Job& job) {
    Deadline next;
    if (job.state == JobState::Creating || job.state == JobState::Completed || job.state == JobState::Closed) {
        take_earlier(next, job.expires, Expiry::Delete);
        return next;
    }
    if (!awaits_drives(job))
        return next;
    if (has_no_drive(job))
        take_earlier(next, job.expires, Expiry::NoReply);
    for (const Drive& drive : job.drives) {
        if (drive.state == DriveState::Specified)
            take_earlier(next, drive.overdue, Expiry::Overdue);
        else if (drive.state == DriveState::Received && !drive.is_faulted)
            take_earlier(next, drive.overdue, Expiry::Fault);
    }
    return next;
}

std::string notice_of(const Job& job) {
    if (!awaits_drives(job) || job.is_closed_for_drives)
        return {};
    std::string missing;
    std::size_t count = 0;
    for (const Drive& drive : job.drives) {
        if (drive.state != DriveState::NeverReceived)
            continue;
        missing += (missing.empty() ? "" : ", ") + drive.serial;
        ++count;
    }
    if (count == 0)
        return {};
    const std::string drives = count == 1 ? fmt::format("drive {} is overdue and counts as never received", missing)
                                          : fmt::format("drives {} are overdue and count as never received", missing);
    if (has_no_drive(job) && job.expires == TimePoint())
        return fmt::format("{}, and nobody has done anything about it in its time (lifecycle.no-reply); close the job: "
                           "drayctl close {}",
                           drives, job.name);
    return fmt::format("{}; a late one is still taken. Ask the sender; if no more will come: drayctl close {}", drives,
                       job.name);
}

}  // namespace dray
