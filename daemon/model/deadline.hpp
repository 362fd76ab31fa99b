// SPDX-License-Identifier: Apache-2.0
//
// What happens to a job by itself when its time has come (azure-import-export.md 2.6, rules.md 3 and 21). Pure: it
// reads the deadlines that were fixed when the job or a drive came into its state.
#pragma once

#include <string>
#include <string_view>

#include "daemon/model/job.hpp"

namespace dray {

enum class Expiry {
    None,
    /// Creating, Completed, Closed: the job is deleted.
    Delete,
    /// A drive that was shipped has not come: it is NeverReceived, and somebody is told.
    Overdue,
    /// A drive that had come was unplugged and stayed away: it is faulted.
    Fault,
    /// None of the drives came, and nobody has done anything about it since that was said: the job is to be closed.
    NoReply,
};

/// "", "delete", "overdue", "fault", "no-reply".
std::string_view to_string(Expiry expiry);

struct Deadline {
    /// 0 for none.
    TimePoint time;
    Expiry expiry = Expiry::None;
};

/// The job's next one; it may have passed already.
Deadline next_deadline(const Job& job);

/// Drives are awaited: it was shipped, is not cancelled and not in Packaging yet.
bool awaits_drives(const Job& job);
/// It was shipped, and every drive of it is missing for good or for longer than it should.
bool has_no_drive(const Job& job);

/// What somebody has to be told of a job whose drives are overdue; "" if there is nothing.
std::string notice_of(const Job& job);

}  // namespace dray
