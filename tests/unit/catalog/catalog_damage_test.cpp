// SPDX-License-Identifier: Apache-2.0
//
// Catalogs that are newer, foreign, cut off: opened with the truth or refused, never half a
// transaction.
#include <fstream>
#include <iterator>
#include <random>

#include "daemon/catalog/migration.hpp"
#include "daemon/database/database.hpp"
#include "tests/unit/catalog/catalog_fixture.hpp"

namespace dray {
namespace {

namespace fs = std::filesystem;

class CatalogDamage : public CatalogTest {
protected:
    void set_version(int version) {
        close();
        Result<Database> database = Database::open(path());
        ASSERT_TRUE(database->execute(("PRAGMA user_version=" + std::to_string(version)).c_str()));
    }
};

TEST_F(CatalogDamage, RefusesANewerCatalogAndLeavesItAlone) {
    ASSERT_TRUE(catalog().save(full_job(1)));
    set_version(kCatalogVersion + 1);
    const auto opened = Catalog::open(path());
    ASSERT_EQ(kind_of(opened), "Unsupported");
    EXPECT_NE(opened.error().text().find("newer"), std::string::npos) << opened.error().text();
    set_version(kCatalogVersion);
    reopen();
    expect_same(load().at(0), full_job(1));
}

TEST_F(CatalogDamage, RefusesAVersionThatIsNone) {
    set_version(-1);
    EXPECT_EQ(kind_of(Catalog::open(path())), "Corrupt");
}

TEST_F(CatalogDamage, RefusesWhatIsNoCatalog) {
    close();
    for (const char* suffix : {"", "-wal", "-shm"})
        fs::remove(path() + suffix);
    std::ofstream(path()) << std::string(5000, 'x');
    EXPECT_EQ(kind_of(Catalog::open(path())), "Corrupt");
}

TEST_F(CatalogDamage, CallsAnUnknownWordCorrupt) {
    const char* changes[] = {"UPDATE job SET state='Dreaming'", "UPDATE job SET type='theft'",
                             "UPDATE job SET drain=''",         "UPDATE job SET log_level='x'",
                             "UPDATE drive SET state=''",       "UPDATE drive SET drain='x'"};
    for (const char* change : changes) {
        ASSERT_TRUE(catalog().save(full_job(1)));
        {
            Result<Database> database = Database::open(path());
            ASSERT_TRUE(database->execute(change));
        }
        const Result<std::vector<Job>> loaded = catalog().load();
        ASSERT_EQ(kind_of(loaded), "Corrupt") << change;
        ASSERT_TRUE(catalog().save(full_job(1)));
        EXPECT_EQ(kind_of(catalog().load()), "success");
    }
}

// Each transaction leaves all of a job's texts alike. A kill leaves file and log; then either is
// cut off anywhere. What opens must show whole transactions.
TEST_F(CatalogDamage, ShowsWholeTransactionsWhateverIsCutOff) {
    const char* given = std::getenv("DRAY_TEST_SEED");
    const std::uint64_t seed = given != nullptr ? std::stoull(given) : std::random_device()();
    SCOPED_TRACE("DRAY_TEST_SEED=" + std::to_string(seed));
    std::mt19937_64 random(seed);
    const auto job_of = [](int number, int generation) {
        Job job = full_job(number);
        const std::string mark = "generation-" + std::to_string(generation);
        job.carrier = job.tracking = mark;
        job.tags = {{"generation", mark}};
        for (Drive& drive : job.drives)
            drive.fault_reason = std::string(2000, 'x') + mark;
        return job;
    };
    constexpr int kJobs = 5;
    for (int generation = 0; generation < 6; ++generation)
        for (int number = 0; number < kJobs; ++number)
            ASSERT_TRUE(catalog().save(job_of(number, generation)));
    const fs::path copies = directory() / "copy";
    const std::string copy = (copies / "catalog.db").string();
    int opened_well = 0;
    int refused = 0;
    for (int round = 0; round < 150; ++round) {
        fs::remove_all(copies);
        fs::create_directories(copies);
        fs::copy(path(), copy);
        fs::copy(path() + "-wal", copy + "-wal");
        const std::string victim = round % 3 == 0 ? copy : copy + "-wal";
        const std::uint64_t size = fs::file_size(victim);
        ASSERT_GT(size, 0U);
        const std::uint64_t left = round == 0 ? 0 : random() % size;
        fs::resize_file(victim, left);
        SCOPED_TRACE(victim + " cut off at " + std::to_string(left) + " of " +
                     std::to_string(size));
        const Result<std::unique_ptr<Catalog>> opened = Catalog::open(copy);
        const Result<std::vector<Job>> jobs = opened ? (*opened)->load() : fail(opened.error());
        if (!jobs) {
            EXPECT_EQ(jobs.error().kind(), ErrorKind::Corrupt) << jobs.error().text();
            ++refused;
            continue;
        }
        ++opened_well;
        for (const Job& job : *jobs) {
            EXPECT_EQ(job.tracking, job.carrier);
            EXPECT_EQ(job.tags, (std::map<std::string, std::string>{{"generation", job.carrier}}));
            ASSERT_EQ(job.drives.size(), 3U);
            for (const Drive& drive : job.drives)
                EXPECT_EQ(drive.fault_reason, std::string(2000, 'x') + job.carrier);
        }
        if (victim == copy) {
            EXPECT_EQ(jobs->size(), static_cast<std::size_t>(kJobs))
                << "opened, but jobs are missing";
        }
    }
    EXPECT_GT(opened_well, 0);
    EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace dray
