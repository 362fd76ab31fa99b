// SPDX-License-Identifier: Apache-2.0
//
// Catalogs of earlier versions, from dumps of them in tests/data: every one is brought up to date with nothing lost, or
// left as it was.
#include "daemon/catalog/migration.hpp"

#include <sys/stat.h>

#include <fstream>
#include <iterator>

#include "daemon/database/database.hpp"
#include "tests/unit/catalog/catalog_fixture.hpp"

namespace dray {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

class Migration : public CatalogTest {
protected:
    Migration() {
        close();
        for (const char* suffix : {"", "-wal", "-shm"})
            fs::remove(path() + suffix);
        Result<Database> database = Database::open(path());
        const Result<void> made = database->execute(text_of(fs::path(DRAY_TEST_DATA) / "catalog-version-1.sql").c_str());
        EXPECT_TRUE(made) << made.error().text();
    }

    std::string copy() const { return path() + ".version-1"; }
    std::string version_of(const std::string& file) {
        Result<Database> database = Database::open(file);
        return database ? std::to_string(database->version().value_or(-1)) : database.error().text();
    }
    /// Every table with every row, as text; equal for equal content.
    std::string content_of(const std::string& file) {
        Result<Database> database = Database::open(file);
        std::string all;
        for (const char* query : {"SELECT json_group_array(json_array(name, state, store, carrier, created, shipped, "
                                  "completed, expires, closed_for_drives)) FROM job",
                                  "SELECT json_group_array(json_array(job, serial, state, manifest_hash, overdue, "
                                  "started, finished, error_log_uri)) FROM drive",
                                  "SELECT json_group_array(json_array(job, serial, hex(nonce), hex(sealed))) FROM "
                                  "drive_key",
                                  "SELECT json_group_array(json_array(job, name, value)) FROM tag"}) {
            Result<Statement> statement = database->prepare(query);
            if (statement && statement->step().value_or(false))
                all += statement->text(0) + "\n";
        }
        return all;
    }
    static SecretBytes old_master_key() { return SecretBytes(std::string_view("dray test master key, 32 bytes!!")); }
};

TEST_F(Migration, KeepsJobsDrivesTagsAndKeysOfVersionOne) {
    auto opened = Catalog::open(path());
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_EQ(version_of(path()), std::to_string(kCatalogVersion));
    ASSERT_TRUE((*opened)->check_master_key(old_master_key()));
    (*opened)->use_master_key(old_master_key());
    const Result<std::vector<Job>> jobs = (*opened)->load();
    ASSERT_TRUE(jobs) << jobs.error().text();
    ASSERT_EQ(jobs->size(), 4U);
    EXPECT_EQ(jobs->at(0).state, JobState::Completed);
    EXPECT_EQ(to_usec(jobs->at(0).expires), 1803325845187333U);
    EXPECT_EQ(jobs->at(3).tags, (std::map<std::string, std::string>{{"cost centre", "it's \"17\""}}));
    EXPECT_EQ(jobs->at(3).carrier, "Zo\xC3\xAB's vans");
    std::size_t drives = 0;
    for (const Job& job : *jobs) {
        for (const Drive& drive : job.drives) {
            const Result<SecretBytes> key = (*opened)->read_key(job, drive);
            ASSERT_TRUE(key) << key.error().text();
            EXPECT_EQ(key->size(), 64U);
            ++drives;
        }
    }
    EXPECT_EQ(drives, 5U);
}

TEST_F(Migration, KnowsWhenItWasLastUsedAndWhichDrivesAreAwaited) {
    const auto opened = Catalog::open(path());
    ASSERT_TRUE(opened);
    const Result<ClockRecord> clock = (*opened)->load_clock();
    ASSERT_TRUE(clock) << clock.error().text();
    EXPECT_EQ(*clock, (ClockRecord{from_usec(1795549845331062), {}, ""})) << "the latest of all dates that have been";
    const std::vector<Job> jobs = (*opened)->load().value();
    EXPECT_EQ(jobs.at(0).drives.at(0).overdue, TimePoint()) << "a drive that has come is not awaited";
    EXPECT_EQ(to_usec(jobs.at(1).drives.at(0).overdue), 1796759445212243U);
}

TEST_F(Migration, CopiesTheOldCatalogFirstForNobodyElseToRead) {
    const std::string before = content_of(path());
    ASSERT_TRUE(Catalog::open(path()));
    EXPECT_EQ(version_of(copy()), "1");
    EXPECT_EQ(content_of(copy()), before);
    struct stat status {};
    ASSERT_EQ(stat(copy().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600U);
}

TEST_F(Migration, ReplacesTheCopyOfAnInterruptedOne) {
    std::ofstream(copy()) << std::string(100, 'x');
    ASSERT_TRUE(Catalog::open(path()));
    EXPECT_EQ(version_of(copy()), "1");
}

TEST_F(Migration, LeavesTheOldOneWholeWhenItCannotBeCopied) {
    const std::string before = content_of(path());
    fs::create_directories(copy() + "/in-the-way");
    const auto opened = Catalog::open(path());
    ASSERT_FALSE(opened);
    EXPECT_NE(opened.error().text().find("it is as it was"), std::string::npos) << opened.error().text();
    EXPECT_EQ(version_of(path()), "1");
    EXPECT_EQ(content_of(path()), before);
    fs::remove_all(copy());
    EXPECT_TRUE(Catalog::open(path()));
}

TEST_F(Migration, LeavesTheOldOneWholeWhenAStepFails) {
    {
        Result<Database> database = Database::open(path());
        ASSERT_TRUE(database->execute("CREATE TRIGGER full BEFORE UPDATE OF overdue ON drive BEGIN"
                                      " SELECT RAISE(ABORT, 'no room'); END"));
    }
    const std::string before = content_of(path());
    const auto opened = Catalog::open(path());
    ASSERT_FALSE(opened);
    EXPECT_NE(opened.error().text().find("cannot be brought from version 1"), std::string::npos)
        << opened.error().text();
    EXPECT_EQ(version_of(path()), "1");
    EXPECT_EQ(content_of(path()), before);
    Result<Database> database = Database::open(path());
    EXPECT_FALSE(database->prepare("SELECT * FROM clock")) << "nothing of the step is left";
}

TEST_F(Migration, CatalogsOfVersionsTwoAndThreeAreBroughtUpToDateAsWell) {
    for (const std::string version : {"2", "3"}) {
        SCOPED_TRACE("version " + version);
        for (const char* suffix : {"", "-wal", "-shm"})
            fs::remove(path() + suffix);
        {
            Result<Database> database = Database::open(path());
            const std::string dump = text_of(fs::path(DRAY_TEST_DATA) / ("catalog-version-" + version + ".sql"));
            ASSERT_TRUE(database->execute(dump.c_str()));
        }
        const std::string before = content_of(path());
        const auto opened = Catalog::open(path());
        ASSERT_TRUE(opened) << opened.error().text();
        EXPECT_EQ(content_of(path()), before);
        EXPECT_EQ(version_of(path()), std::to_string(kCatalogVersion));
        EXPECT_EQ(version_of(path() + ".version-" + version), version);
        EXPECT_EQ((*opened)->load_clock()->last_seen, from_usec(1795549845331062));
        const std::vector<Job> jobs = (*opened)->load().value();
        ASSERT_EQ(jobs.size(), 4U);
        EXPECT_EQ(jobs.at(0).drives.at(0).partition, version == "2" ? 0U : 2U);
        EXPECT_EQ(jobs.at(0).selection + jobs.at(0).list_blob, "");
        EXPECT_FALSE(jobs.at(0).drives.at(0).may_overwrite || jobs.at(0).drives.at(0).is_key_read);
    }
}

// What is deleted must be gone, and the copy has it, too.
TEST_F(Migration, TheCopyGoesWithTheFirstJobThatIsDeleted) {
    const auto opened = Catalog::open(path());
    ASSERT_TRUE(opened);
    ASSERT_TRUE(is_on_disk("waiting-1"));
    ASSERT_TRUE((*opened)->remove((*opened)->load().value().at(1)));
    EXPECT_FALSE(fs::exists(copy()));
    EXPECT_FALSE(is_on_disk("waiting-1"));
    EXPECT_FALSE(is_on_disk("OLD-2"));
}

// A removal that is broken off must not leave a copy of what nobody will remove any more.
TEST_F(Migration, TheCopyGoesBeforeTheJob) {
    const auto opened = Catalog::open(path());
    ASSERT_TRUE(opened);
    ASSERT_TRUE(fs::exists(copy()));
    Result<Database> database = Database::open(path());
    ASSERT_TRUE(database->execute("CREATE TRIGGER stop BEFORE DELETE ON job BEGIN SELECT RAISE(ABORT, 'stop'); END"));
    const Job job = (*opened)->load().value().at(1);
    EXPECT_FALSE((*opened)->remove(job));
    EXPECT_FALSE(fs::exists(copy()));
    ASSERT_TRUE(database->execute("DROP TRIGGER stop"));
    database = fail(ErrorKind::NotFound, "closed");
    EXPECT_TRUE((*opened)->remove(job));
}

TEST_F(Migration, ACatalogTellsAFittingMasterKeyFromAnother) {
    const auto opened = Catalog::open(path());
    ASSERT_TRUE(opened);
    EXPECT_EQ(kind_of((*opened)->check_master_key(master_key('n'))), "Denied");
    EXPECT_EQ(kind_of((*opened)->check_master_key(old_master_key())), "success");
    (*opened)->refuse_keys("the master key was eaten");
    const Job job = (*opened)->load().value().at(1);
    EXPECT_EQ((*opened)->read_key(job, job.drives[0]).error().text(),
              "the key of drive OLD-2 cannot be opened: the master key was eaten");
    EXPECT_EQ((*opened)->save_with_key(job, job.drives[0], SecretBytes(std::string_view("x"))).error().text(),
              "the key of drive OLD-2 cannot be kept: the master key was eaten");
}

TEST_F(CatalogTest, RemembersTheClock) {
    EXPECT_EQ(catalog().load_clock().value(), ClockRecord());
    const ClockRecord record{from_usec(5), from_usec(7), "somebody set it"};
    ASSERT_TRUE(catalog().save_clock({from_usec(1), from_usec(2), "x"}));
    ASSERT_TRUE(catalog().save_clock(record));
    reopen();
    EXPECT_EQ(catalog().load_clock().value(), record);
}

}  // namespace
}  // namespace dray
