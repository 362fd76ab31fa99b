// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/deadline.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dray {
namespace {

using testing::HasSubstr;

constexpr TimePoint at(int time) { return TimePoint(Microseconds(time)); }

Drive drive_in(DriveState state, int overdue, const char* serial = "A") {
    Drive drive;
    drive.serial = serial;
    drive.state = state;
    drive.overdue = at(overdue);
    return drive;
}

Job job_in(JobState state, int expires, std::vector<Drive> drives) {
    Job job;
    job.name = "lyon";
    job.state = state;
    job.expires = at(expires);
    job.drives = std::move(drives);
    return job;
}

TEST(Deadline, FollowsFromTheStatesOfJobAndDrives) {
    using enum JobState;
    constexpr auto specified = DriveState::Specified;
    constexpr auto received = DriveState::Received;
    constexpr auto never = DriveState::NeverReceived;
    const struct {
        const char* description;
        Job job;
        Expiry expiry;
        int time;
    } rows[] = {
        {"not shipped", job_in(Creating, 7, {drive_in(specified, 0)}), Expiry::Delete, 7},
        {"completed", job_in(Completed, 7, {drive_in(DriveState::ShippedBack, 0)}), Expiry::Delete, 7},
        {"closed, with a drive that never came", job_in(Closed, 7, {drive_in(never, 3)}), Expiry::Delete, 7},
        {"in packaging", job_in(Packaging, 0, {drive_in(specified, 3)}), Expiry::None, 0},
        {"awaited", job_in(Shipping, 0, {drive_in(specified, 5), drive_in(specified, 4, "B")}), Expiry::Overdue, 4},
        {"awaited while another one is copied",
         job_in(Transferring, 0, {drive_in(DriveState::Transferring, 0), drive_in(specified, 4, "B")}),
         Expiry::Overdue, 4},
        {"plugged in", job_in(Received, 0, {drive_in(received, 0)}), Expiry::None, 0},
        {"unplugged", job_in(Transferring, 0, {drive_in(received, 6)}), Expiry::Fault, 6},
        {"overdue", job_in(Shipping, 9, {drive_in(never, 3)}), Expiry::NoReply, 9},
        {"overdue, and nobody cared", job_in(Shipping, 0, {drive_in(never, 3)}), Expiry::None, 0},
        {"one of two overdue", job_in(Shipping, 9, {drive_in(never, 3), drive_in(received, 0, "B")}), Expiry::None, 0},
    };
    for (const auto& row : rows) {
        const Deadline next = next_deadline(row.job);
        EXPECT_EQ(next.expiry, row.expiry) << row.description;
        EXPECT_EQ(next.time, at(row.time)) << row.description;
    }
}

TEST(Deadline, LeavesCancelledAndFaultedOnesAlone) {
    Job cancelled = job_in(JobState::Transferring, 0, {drive_in(DriveState::Specified, 4)});
    cancelled.is_cancel_requested = true;
    EXPECT_EQ(next_deadline(cancelled).expiry, Expiry::None);
    Job faulted = job_in(JobState::Shipping, 0, {drive_in(DriveState::Received, 4)});
    faulted.drives[0].is_faulted = true;
    EXPECT_EQ(next_deadline(faulted).expiry, Expiry::None);
}

TEST(Deadline, HasAWordForEach) {
    EXPECT_EQ(to_string(Expiry::None), "");
    EXPECT_EQ(to_string(Expiry::Delete), "delete");
    EXPECT_EQ(to_string(Expiry::Overdue), "overdue");
    EXPECT_EQ(to_string(Expiry::Fault), "fault");
    EXPECT_EQ(to_string(Expiry::NoReply), "no-reply");
}

TEST(Notice, NamesTheDrivesThatAreOverdueAndWhatToDo) {
    Job job = job_in(JobState::Shipping, 9,
                     {drive_in(DriveState::NeverReceived, 3), drive_in(DriveState::Specified, 10, "B")});
    EXPECT_EQ(notice_of(job), "drive A is overdue and counts as never received; a late one is still taken. Ask the "
                              "sender; if no more will come: drayctl close lyon");
    job.drives[1].state = DriveState::NeverReceived;
    EXPECT_THAT(notice_of(job), HasSubstr("drives A, B are overdue and count as never received"));
    job.expires = TimePoint();
    EXPECT_THAT(notice_of(job), HasSubstr("nobody has done anything about it"));
    job.is_closed_for_drives = true;
    EXPECT_EQ(notice_of(job), "");
    EXPECT_EQ(notice_of(job_in(JobState::Transferring, 0, {drive_in(DriveState::Received, 0)})), "");
    EXPECT_EQ(notice_of(job_in(JobState::Closed, 0, {drive_in(DriveState::NeverReceived, 0)})), "");
}

}  // namespace
}  // namespace dray
