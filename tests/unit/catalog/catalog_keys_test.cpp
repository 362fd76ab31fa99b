// SPDX-License-Identifier: Apache-2.0
//
// Keys of drives: sealed on disk, bound to their drive, readable with the right master key alone.
#include "daemon/database/database.hpp"
#include "tests/unit/catalog/catalog_fixture.hpp"

namespace dray {
namespace {

constexpr std::string_view kKey = "123456-654321-Rumpelstiltskin\n";

class CatalogKeys : public CatalogTest {
protected:
    Job saved_job(int number = 1) {
        Job job = full_job(number);
        EXPECT_TRUE(catalog().save_with_key(job, job.drives[1], SecretBytes(kKey)));
        return job;
    }
    std::string key_of(const Job& job, std::size_t drive = 1) {
        const Result<SecretBytes> key = catalog().read_key(job, job.drives[drive]);
        return key ? std::string(key->text()) : std::string(to_string(key.error().kind()));
    }
};

TEST_F(CatalogKeys, SurviveARestart) {
    Job job = saved_job();
    EXPECT_EQ(key_of(job), kKey);
    reopen();
    EXPECT_EQ(key_of(job), kKey);
    EXPECT_TRUE(catalog().has_keys().value());
    job.drives[1].has_key = true;
    expect_same(load().at(0), job);
    EXPECT_EQ(key_of(job, 0), "NotFound");
    EXPECT_EQ(key_of(full_job(2)), "NotFound");
}

TEST_F(CatalogKeys, AreKeptByteByByte) {
    Job job = full_job(1);
    std::string all;
    for (int i = 0; i < 256; ++i)
        all += static_cast<char>(i);
    const std::string keys[] = {"", "x", std::string(1, '\0'), all, std::string(64 * 1024, 'k')};
    for (const std::string& key : keys) {
        ASSERT_TRUE(
            catalog().save_with_key(job, job.drives[0], SecretBytes(std::string_view(key))));
        EXPECT_EQ(key_of(job, 0), key);
    }
}

TEST_F(CatalogKeys, AreNowhereOnDiskAsTheyAre) {
    const Job job = saved_job();
    for (const char* part : {"Rumpelstiltskin", "654321", "123456"})
        EXPECT_FALSE(is_on_disk(part));
    EXPECT_FALSE(is_on_disk(std::string(kMasterKeyBytes, 'm')));
    close();
    for (const char* part : {"Rumpelstiltskin", "654321", "123456"})
        EXPECT_FALSE(is_on_disk(part));
    EXPECT_TRUE(is_on_disk(job.drives[1].serial)) << "it looks in the right place";
}

TEST_F(CatalogKeys, NeverHaveTheSameFormTwice) {
    const Job job = saved_job();
    const auto sealed = [&] {
        Result<Database> database = Database::open(path());
        Result<Statement> statement = database->prepare("SELECT nonce, sealed FROM drive_key");
        EXPECT_TRUE(statement && statement->step().value_or(false));
        return std::pair(statement->bytes(0), statement->bytes(1));
    };
    const auto first = sealed();
    ASSERT_TRUE(catalog().save_with_key(job, job.drives[1], SecretBytes(kKey)));
    const auto second = sealed();
    EXPECT_NE(first.first, second.first);
    EXPECT_NE(first.second, second.second);
}

TEST_F(CatalogKeys, StayWithTheirDriveWhenItIsSaved) {
    Job job = saved_job();
    job.drives[1].state = DriveState::Transferring;
    ASSERT_TRUE(catalog().save_drive(job, job.drives[1]));
    ASSERT_TRUE(catalog().save(job));
    EXPECT_EQ(key_of(job), kKey);
    job.name = "lyon-1";
    ASSERT_TRUE(catalog().save(job));
    EXPECT_EQ(key_of(job), kKey);
}

TEST_F(CatalogKeys, AreDeniedWithoutAFittingMasterKey) {
    const Job job = saved_job();
    const struct {
        const char* description;
        SecretBytes key;
    } rows[] = {{"another", master_key('n')},
                {"none", SecretBytes()},
                {"too short", SecretBytes(std::string_view("mmm"))}};
    for (const auto& row : rows) {
        reopen();
        catalog().use_master_key(row.key.clone());
        EXPECT_EQ(key_of(job), "Denied") << row.description;
        EXPECT_EQ(load().size(), 1U) << "the rest is readable all the same";
    }
    catalog().use_master_key(master_key());
    EXPECT_EQ(key_of(job), kKey);
}

TEST_F(CatalogKeys, AreNotTakenWithoutAMasterKey) {
    catalog().use_master_key(SecretBytes());
    const Job job = full_job(1);
    EXPECT_EQ(kind_of(catalog().save_with_key(job, job.drives[0], SecretBytes(kKey))), "Denied");
    EXPECT_TRUE(load().empty()) << "nothing of it is kept";
    EXPECT_FALSE(catalog().has_keys().value());
}

TEST_F(CatalogKeys, OpenForTheirOwnDriveAlone) {
    Job job = full_job(1);
    for (const Drive& drive : job.drives)
        ASSERT_TRUE(catalog().save_with_key(job, drive, SecretBytes("key of " + drive.serial)));
    {
        Result<Database> database = Database::open(path());
        const std::string swap =
            "UPDATE drive_key SET (nonce, sealed) = (SELECT nonce, sealed FROM drive_key WHERE "
            "serial='" +
            job.drives[1].serial + "') WHERE serial='" + job.drives[0].serial + "'";
        ASSERT_TRUE(database->execute(swap.c_str()));
    }
    EXPECT_EQ(key_of(job, 0), "Denied");
    EXPECT_EQ(key_of(job, 1), "key of " + job.drives[1].serial);
}

TEST_F(CatalogKeys, AreRefusedWhenTheyWereChanged) {
    const Job job = saved_job();
    for (const char* change : {"nonce=zeroblob(12)", "sealed=zeroblob(40)"}) {
        ASSERT_TRUE(catalog().save_with_key(job, job.drives[1], SecretBytes(kKey)));
        Result<Database> database = Database::open(path());
        ASSERT_TRUE(database->execute((std::string("UPDATE drive_key SET ") + change).c_str()));
        EXPECT_EQ(key_of(job), "Denied") << change;
    }
    for (const char* change :
         {"nonce=zeroblob(0)", "nonce=zeroblob(13)", "sealed=zeroblob(0)", "sealed=zeroblob(15)"}) {
        ASSERT_TRUE(catalog().save_with_key(job, job.drives[1], SecretBytes(kKey)));
        Result<Database> database = Database::open(path());
        ASSERT_TRUE(database->execute((std::string("UPDATE drive_key SET ") + change).c_str()));
        EXPECT_EQ(key_of(job), "Corrupt") << change;
    }
}

TEST_F(CatalogKeys, GoWithTheirJob) {
    const Job job = saved_job();
    ASSERT_TRUE(catalog().remove(job));
    EXPECT_FALSE(catalog().has_keys().value());
    ASSERT_TRUE(catalog().save(job));
    EXPECT_EQ(key_of(job), "NotFound");
    EXPECT_FALSE(load().at(0).drives[1].has_key);
}

}  // namespace
}  // namespace dray
