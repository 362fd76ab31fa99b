// SPDX-License-Identifier: Apache-2.0
//
// SQLite as dray uses it: values, transactions, error kinds, what is left in the files.
#include "daemon/database/database.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>

#include "tests/support/scratch_directory.hpp"

namespace dray {
namespace {

namespace fs = std::filesystem;

template <typename T>
std::string kind_of(const Result<T>& result) {
    return result ? "success" : std::string(to_string(result.error().kind()));
}

class DatabaseTest : public testing::Test {
protected:
    std::string path() const { return directory_ / "test.db"; }
    std::string bytes_of(const char* suffix = "") const {
        std::ifstream file(path() + suffix, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    static std::int64_t count(const Database& database) {
        Result<Statement> statement = database.prepare("SELECT count(*) FROM thing");
        return statement && statement->step().value_or(false) ? statement->number(0) : -1;
    }

    test::ScratchDirectory directory_;
};

TEST_F(DatabaseTest, KeepsWhatItIsGiven) {
    Result<Database> database = Database::open(path());
    ASSERT_TRUE(database) << database.error().text();
    ASSERT_TRUE(database->execute("CREATE TABLE thing(number, large, flag, text, bytes, empty)"));
    const std::string text("a\0b \xC3\xA9", 6);
    const std::vector<std::byte> bytes = {std::byte{0}, std::byte{255}, std::byte{7}};
    {
        Result<Statement> put = database->prepare("INSERT INTO thing VALUES(?1,?2,?3,?4,?5,?6)");
        ASSERT_TRUE(put);
        put->bind(std::int64_t{-5})
            .bind(std::numeric_limits<std::uint64_t>::max())
            .bind(true)
            .bind(text);
        put->bind(std::span<const std::byte>(bytes)).bind(std::string_view());
        ASSERT_TRUE(put->run());
    }
    database = Database::open(path());
    ASSERT_TRUE(database);
    Result<Statement> get = database->prepare("SELECT * FROM thing");
    ASSERT_TRUE(get);
    ASSERT_TRUE(get->step().value());
    EXPECT_EQ(get->number(0), -5);
    EXPECT_EQ(get->unsigned_number(1), std::numeric_limits<std::uint64_t>::max());
    EXPECT_TRUE(get->flag(2));
    EXPECT_EQ(get->text(3), text);
    EXPECT_EQ(get->bytes(4), bytes);
    EXPECT_EQ(get->text(5), "");
    EXPECT_FALSE(get->step().value());
}

TEST_F(DatabaseTest, RunsAStatementAgain) {
    Result<Database> database = Database::open(path());
    ASSERT_TRUE(database);
    ASSERT_TRUE(database->execute("CREATE TABLE thing(name TEXT UNIQUE)"));
    Result<Statement> put = database->prepare("INSERT INTO thing VALUES(?1)");
    ASSERT_TRUE(put);
    EXPECT_TRUE(put->bind("one").run());
    EXPECT_EQ(kind_of(put->bind("one").run()), "Exists");
    EXPECT_TRUE(put->bind("two").run());
    EXPECT_EQ(count(*database), 2);
}

TEST_F(DatabaseTest, UndoesATransactionThatFails) {
    Result<Database> database = Database::open(path());
    ASSERT_TRUE(database);
    ASSERT_TRUE(database->execute("CREATE TABLE thing(name TEXT UNIQUE)"));
    const Result<void> failed = database->transaction([&]() -> Result<void> {
        DRAY_TRY(database->execute("INSERT INTO thing VALUES('one')"));
        return fail(ErrorKind::Conflict, "no");
    });
    EXPECT_EQ(kind_of(failed), "Conflict");
    EXPECT_EQ(kind_of(database->transaction([&] {
                  return database->execute(
                      "INSERT INTO thing VALUES('two'); INSERT INTO thing VALUES('two')");
              })),
              "Exists");
    EXPECT_EQ(count(*database), 0);
    EXPECT_TRUE(database->transaction(
        [&] { return database->execute("INSERT INTO thing VALUES('one')"); }));
    EXPECT_EQ(count(*database), 1);
}

TEST_F(DatabaseTest, IsForItsOwnerAlone) {
    const mode_t before = umask(0);
    Result<Database> database = Database::open(path());
    ASSERT_TRUE(database);
    ASSERT_TRUE(database->execute("CREATE TABLE thing(name)"));
    umask(before);
    for (const char* suffix : {"", "-wal", "-shm"}) {
        struct stat status {};
        ASSERT_EQ(stat((path() + suffix).c_str(), &status), 0) << suffix;
        EXPECT_EQ(status.st_mode & 0777, 0600U) << suffix;
    }
}

TEST_F(DatabaseTest, IsDurableAndOverwritesWhatIsDeleted) {
    Result<Database> database = Database::open(path());
    ASSERT_TRUE(database);
    const struct {
        const char* pragma;
        const char* expected;
    } rows[] = {{"PRAGMA journal_mode", "wal"},
                {"PRAGMA synchronous", "2"},
                {"PRAGMA secure_delete", "1"},
                {"PRAGMA foreign_keys", "1"}};
    for (const auto& row : rows) {
        Result<Statement> statement = database->prepare(row.pragma);
        ASSERT_TRUE(statement && statement->step().value_or(false)) << row.pragma;
        EXPECT_EQ(statement->text(0), row.expected) << row.pragma;
    }
}

TEST_F(DatabaseTest, EmptiesItsLog) {
    Result<Database> database = Database::open(path());
    ASSERT_TRUE(database);
    ASSERT_TRUE(
        database->execute("CREATE TABLE thing(name); INSERT INTO thing VALUES('Rumpelstiltskin')"));
    EXPECT_NE(bytes_of("-wal").find("Rumpelstiltskin"), std::string::npos);
    ASSERT_TRUE(database->execute("DELETE FROM thing"));
    ASSERT_TRUE(database->truncate_log());
    EXPECT_EQ(bytes_of("-wal"), "");
    EXPECT_EQ(bytes_of().find("Rumpelstiltskin"), std::string::npos);
}

// SQLite reports a log that it could not empty as a row, not as an error.
TEST_F(DatabaseTest, SaysBusyWhenAReaderKeepsItsLog) {
    Result<Database> database = Database::open(path());
    ASSERT_TRUE(database);
    ASSERT_TRUE(
        database->execute("CREATE TABLE thing(name); INSERT INTO thing VALUES('Rumpelstiltskin')"));
    ASSERT_TRUE(database->execute("PRAGMA busy_timeout=0"));
    Result<Database> reader = Database::open(path());
    ASSERT_TRUE(reader);
    ASSERT_TRUE(reader->execute("BEGIN"));
    EXPECT_EQ(count(*reader), 1);
    ASSERT_TRUE(database->execute("DELETE FROM thing"));
    EXPECT_EQ(kind_of(database->truncate_log()), "Busy");
    ASSERT_TRUE(reader->execute("COMMIT"));
    EXPECT_EQ(kind_of(database->truncate_log()), "success");
    EXPECT_EQ(bytes_of("-wal"), "");
}

TEST_F(DatabaseTest, SaysWhatIsWrong) {
    EXPECT_EQ(kind_of(Database::open(directory_ / "nowhere/test.db")), "NotFound");
    EXPECT_NE(kind_of(Database::open(directory_.path().string())), "success");
    std::ofstream(path()) << std::string(10'000, 'x');
    const Result<Database> garbage = Database::open(path());
    ASSERT_EQ(kind_of(garbage), "Corrupt");
    EXPECT_NE(garbage.error().text().find(path()), std::string::npos) << garbage.error().text();
}

TEST_F(DatabaseTest, NoticesThatItsFileWasEmptied) {
    {
        Result<Database> database = Database::open(path());
        ASSERT_TRUE(database);
        ASSERT_TRUE(database->execute("CREATE TABLE thing(name); INSERT INTO thing VALUES('one')"));
        // As a kill leaves them: file and log.
        fs::copy(path(), path() + ".copy");
        fs::copy(path() + "-wal", path() + ".copy-wal");
    }
    fs::resize_file(path() + ".copy", 0);
    EXPECT_EQ(kind_of(Database::open(path() + ".copy")), "Corrupt");
    EXPECT_GT(fs::file_size(path() + ".copy-wal"), 0U) << "what may be rescued from is still there";
}

TEST_F(DatabaseTest, SaysNoSpace) {
    Result<Database> database = Database::open(path());
    ASSERT_TRUE(database);
    ASSERT_TRUE(database->execute("CREATE TABLE thing(name)"));
    ASSERT_TRUE(database->execute("PRAGMA max_page_count=3"));
    EXPECT_EQ(kind_of(database->execute("INSERT INTO thing VALUES(zeroblob(100000))")), "NoSpace");
    EXPECT_EQ(count(*database), 0);
}

}  // namespace
}  // namespace dray
