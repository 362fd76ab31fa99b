// SPDX-License-Identifier: Apache-2.0
//
// Jobs and drives that survive: every field, every change, deletion without a trace.
#include <chrono>

#include "daemon/database/database.hpp"
#include "tests/unit/catalog/catalog_fixture.hpp"

namespace dray {
namespace {

TEST_F(CatalogTest, IsEmptyWhenNew) {
    EXPECT_TRUE(load().empty());
    EXPECT_FALSE(catalog().has_keys().value());
}

TEST_F(CatalogTest, KeepsEveryFieldOfAJob) {
    ASSERT_TRUE(catalog().save(full_job(1)));
    reopen();
    const std::vector<Job> jobs = load();
    ASSERT_EQ(jobs.size(), 1U);
    expect_same(jobs[0], full_job(1));
}

// Each field alone, so that two that were mixed up show.
TEST_F(CatalogTest, KeepsDefaultsToo) {
    Job job;
    job.name = "plain";
    job.drives.emplace_back().serial = "S1";
    ASSERT_TRUE(catalog().save(job));
    reopen();
    ASSERT_EQ(load().size(), 1U);
    expect_same(load()[0], job);
}

TEST_F(CatalogTest, KeepsEveryState) {
    std::vector<Job> expected;
    for (int state = 0; state <= static_cast<int>(JobState::Closed); ++state) {
        Job job;
        job.name = "state-" + std::to_string(state);
        job.state = static_cast<JobState>(state);
        job.created = from_usec(static_cast<std::uint64_t>(state));
        for (int drive = 0; drive <= static_cast<int>(DriveState::ShippedBack); ++drive) {
            job.drives.emplace_back().serial = std::to_string(drive);
            job.drives.back().state = static_cast<DriveState>(drive);
            job.drives.back().drain = static_cast<DrainMode>(drive % 3);
        }
        job.drain = static_cast<DrainMode>(state % 3);
        job.log_level = static_cast<LogLevel>(state % 2);
        job.type = static_cast<JobType>(state % 2);
        ASSERT_TRUE(catalog().save(job));
        expected.push_back(std::move(job));
    }
    reopen();
    const std::vector<Job> found = load();
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i)
        expect_same(found[i], expected[i]);
}

TEST_F(CatalogTest, ReplacesAllOfAJobThatIsSavedAgain) {
    ASSERT_TRUE(catalog().save(full_job(1)));
    ASSERT_TRUE(catalog().save(full_job(2)));
    Job changed = full_job(3);
    changed.name = "lYON-1";  // the same job, spelled otherwise
    changed.tags = {{"only", "one"}};
    ASSERT_TRUE(catalog().save(changed));
    reopen();
    const std::vector<Job> jobs = load();
    ASSERT_EQ(jobs.size(), 2U);
    expect_same(jobs[0], full_job(2));
    expect_same(jobs[1], changed);
}

TEST_F(CatalogTest, KeepsTheOrderOfDrives) {
    Job job = full_job(1);
    ASSERT_TRUE(catalog().save(job));
    std::swap(job.drives[0], job.drives[2]);
    ASSERT_TRUE(catalog().save(job));
    expect_same(load().at(0), job);
    ASSERT_TRUE(catalog().save_drive(job, job.drives[2]));
    expect_same(load().at(0), job);
}

TEST_F(CatalogTest, SavesOneDriveAlone) {
    Job job = full_job(1);
    ASSERT_TRUE(catalog().save(job));
    Job changed = job;
    changed.drives[1] = full_drive(77);
    changed.drives[1].serial = job.drives[1].serial;
    changed.drives[1].state = DriveState::Transferring;
    changed.outcome = "not to be saved";
    ASSERT_TRUE(catalog().save_drive(changed, changed.drives[1]));
    reopen();
    job.drives[1] = changed.drives[1];
    expect_same(load().at(0), job);
}

TEST_F(CatalogTest, SavesNoDriveOfAJobItDoesNotHave) {
    const Job job = full_job(1);
    EXPECT_EQ(kind_of(catalog().save_drive(job, job.drives[0])), "NotFound");
    EXPECT_TRUE(load().empty());
}

TEST_F(CatalogTest, RemovesAJobAndNoOther) {
    for (int i = 1; i <= 3; ++i)
        ASSERT_TRUE(catalog().save(full_job(i)));
    ASSERT_TRUE(catalog().remove(full_job(2)));
    ASSERT_TRUE(catalog().remove(full_job(2))) << "again is harmless";
    reopen();
    const std::vector<Job> jobs = load();
    ASSERT_EQ(jobs.size(), 2U);
    expect_same(jobs[0], full_job(1));
    expect_same(jobs[1], full_job(3));
}

Job marked_job(int number, const std::string& mark) {
    Job job = full_job(number);
    job.name = "job" + mark;
    job.tags = {{"tag" + mark, "value" + mark}};
    for (std::string* text : {&job.store, &job.outcome, &job.diagnostics_path, &job.carrier,
                              &job.tracking, &job.incomplete_list_uri})
        *text = "text" + mark;
    for (Drive& drive : job.drives) {
        drive.serial += mark;
        drive.volume_id = "volume" + mark;
        drive.fault_reason = std::string(9000, 'x') + mark;  // longer than a page
    }
    return job;
}

// Among many others, so that pages are split, joined and used again.
TEST_F(CatalogTest, LeavesNoTraceOfARemovedJob) {
    constexpr int kJobs = 60;
    const auto mark = [](int number) { return "Rumpelstilz" + std::to_string(number) + "chen"; };
    for (int round = 0; round < 3; ++round)
        for (int i = 0; i < kJobs; ++i) {
            Job job = marked_job(i, mark(i));
            job.drives.resize(static_cast<std::size_t>(1 + (i + round) % 3));
            for (Drive& drive : job.drives) {
                drive.fault_reason.resize(drive.fault_reason.size() %
                                          static_cast<std::size_t>(50 + 3000 * round + i));
                drive.fault_reason += mark(i);
            }
            ASSERT_TRUE(catalog().save_with_key(job, job.drives[0], SecretBytes("key" + mark(i))));
        }
    for (int i = 0; i < kJobs; i += 2) {
        ASSERT_TRUE(is_on_disk(mark(i)));
        ASSERT_TRUE(catalog().remove(marked_job(i, mark(i))));
        ASSERT_FALSE(is_on_disk(mark(i))) << i;
    }
    for (int i = 0; i < kJobs; ++i)
        EXPECT_EQ(is_on_disk(mark(i)), i % 2 != 0) << i;
    EXPECT_EQ(load().size(), static_cast<std::size_t>(kJobs / 2));
}

TEST_F(CatalogTest, LeavesNoTraceOfADriveThatIsTakenOut) {
    Job job = marked_job(1, "Rumpelstilz");
    job.drives[1].volume_id = "Rapunzel";
    ASSERT_TRUE(catalog().save_with_key(job, job.drives[1], SecretBytes(std::string_view("key"))));
    job.drives.erase(job.drives.begin() + 1);
    ASSERT_TRUE(catalog().save(job));
    EXPECT_FALSE(catalog().has_keys().value());
    ASSERT_TRUE(catalog().remove(full_job(2)));
    EXPECT_FALSE(is_on_disk("Rapunzel"));
    EXPECT_TRUE(is_on_disk("Rumpelstilz"));
}

// drayd was killed between the deletion and the emptying of the log.
TEST_F(CatalogTest, FinishesARemovalThatWasCutShort) {
    Result<Database> reader = Database::open(path());
    ASSERT_TRUE(reader);
    ASSERT_TRUE(catalog().save(marked_job(1, "Rumpelstilz")));
    {
        Result<Database> other = Database::open(path());
        ASSERT_TRUE(other && other->execute("DELETE FROM job"));
    }
    ASSERT_TRUE(is_on_disk("Rumpelstilz")) << "the log has it still";
    // The reader keeps SQLite from emptying the log as its last user would.
    reopen();
    EXPECT_TRUE(load().empty());
    EXPECT_FALSE(is_on_disk("Rumpelstilz"));
}

TEST_F(CatalogTest, SaysSoWhenARemovalLeavesATrace) {
    ASSERT_TRUE(catalog().save(marked_job(1, "Rumpelstilz")));
    Result<Database> reader = Database::open(path());
    ASSERT_TRUE(reader && reader->execute("BEGIN; SELECT * FROM job"));
    EXPECT_EQ(kind_of(catalog().remove(marked_job(1, "Rumpelstilz"))), "Busy");
    EXPECT_TRUE(load().empty());
    ASSERT_TRUE(reader->execute("COMMIT"));
    ASSERT_TRUE(catalog().remove(marked_job(1, "Rumpelstilz")));
    EXPECT_FALSE(is_on_disk("Rumpelstilz"));
}

TEST_F(CatalogTest, HoldsTwoThousandJobs) {
    constexpr int kJobs = 2000;
    using Clock = std::chrono::steady_clock;
    const Clock::time_point begin = Clock::now();
    for (int i = 0; i < kJobs; ++i)
        ASSERT_TRUE(catalog().save(full_job(i)));
    const Clock::time_point saved = Clock::now();
    reopen();
    const Clock::time_point opened = Clock::now();
    const std::vector<Job> jobs = load();
    const Clock::time_point loaded = Clock::now();
    ASSERT_EQ(jobs.size(), static_cast<std::size_t>(kJobs));
    expect_same(jobs[1234], full_job(1234));
    const auto milliseconds = [](Clock::duration span) {
        return std::chrono::duration<double, std::milli>(span).count();
    };
    RecordProperty("milliseconds_a_save", std::to_string(milliseconds(saved - begin) / kJobs));
    RecordProperty("milliseconds_to_load", std::to_string(milliseconds(loaded - opened)));
    // Far above what a slow disk needs; a search through all jobs at each save would show.
    EXPECT_LT(milliseconds(saved - begin) / kJobs, 100.0);
    EXPECT_LT(milliseconds(loaded - opened), 5000.0);
}

}  // namespace
}  // namespace dray
