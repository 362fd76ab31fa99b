// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/job.hpp"

#include <gtest/gtest.h>

#include "daemon/model/job_state.hpp"

namespace dray {
namespace {

Drive copied(const char* serial, DriveState state, Bytes done, Bytes total) {
    Drive drive;
    drive.serial = serial;
    drive.state = state;
    drive.counters = {done, total, done, 1, 2, 1};
    return drive;
}

TEST(Job, WordsGoBothWays) {
    for (const JobState state : all_job_states())
        EXPECT_EQ(parse_job_state(to_string(state)), state);
    EXPECT_EQ(parse_job_type(to_string(JobType::Export)), JobType::Export);
    EXPECT_EQ(parse_job_type("import"), JobType::Import);
    EXPECT_EQ(parse_log_level(to_string(LogLevel::Verbose)), LogLevel::Verbose);
    EXPECT_EQ(parse_log_level("Error"), LogLevel::Error);
    EXPECT_FALSE(parse_job_state("creating"));
    EXPECT_FALSE(parse_job_state("Cancelled"));
    EXPECT_FALSE(parse_job_type("Import"));
    EXPECT_FALSE(parse_log_level("error"));
}

TEST(Job, NamesHave2To64PlainCharacters) {
    for (const std::string& name : {std::string("ab"), std::string("Lyon-17"), std::string("a_b-9"),
                                    std::string(64, 'z')})
        EXPECT_TRUE(check_job_name(name)) << name;
    for (const std::string& name : {std::string(), std::string("a"), std::string(65, 'z'), std::string("7up"),
                                    std::string("-ab"), std::string("_ab"), std::string("a b"),
                                    std::string("a/b"), std::string("a.b"), std::string("ab\n"),
                                    std::string("ly\xC3\xB6n")})
        EXPECT_EQ(check_job_name(name).error().kind(), ErrorKind::InvalidArgument) << name;
    EXPECT_EQ(fold_job_name("LYON-x_1"), "lyon-x_1");
}

TEST(Job, FindsItsDrivesWithoutCase) {
    Job job;
    job.drives = {copied("WD1", DriveState::Specified, 0, 0), copied("wd2", DriveState::Specified, 0, 0)};
    EXPECT_EQ(job.find_drive("wd 1"), &job.drives[0]);
    EXPECT_EQ(std::as_const(job).find_drive("WD2"), &job.drives[1]);
    EXPECT_EQ(job.find_drive("WD3"), nullptr);
}

TEST(Job, CountersLeaveOutDrivesThatNeverCame) {
    Job job;
    job.state = JobState::Transferring;
    job.drives = {copied("a", DriveState::Completed, 100, 100),
                  copied("b", DriveState::Transferring, 50, 200),
                  copied("c", DriveState::NeverReceived, 1, 1000)};
    EXPECT_EQ(total_counters(job), (Counters{150, 300, 150, 2, 4, 2}));
    EXPECT_DOUBLE_EQ(percent_of(job), 50.0);
}

TEST(Job, PercentIsHundredFromPackagingOnAndNotBefore) {
    Job job;
    EXPECT_DOUBLE_EQ(percent_of(job), 0.0);
    job.drives = {copied("a", DriveState::Transferring, 100, 100)};
    job.state = JobState::Transferring;
    EXPECT_DOUBLE_EQ(percent_of(job), 99.0);
    for (const JobState state : {JobState::Packaging, JobState::Completed, JobState::Closed}) {
        job.state = state;
        EXPECT_DOUBLE_EQ(percent_of(job), 100.0) << to_string(state);
    }
}

}  // namespace
}  // namespace dray
