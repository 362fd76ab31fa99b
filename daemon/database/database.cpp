// SPDX-License-Identifier: Apache-2.0
#include "daemon/database/database.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "daemon/base/file.hpp"

namespace dray {
namespace {

constexpr int kBusyMilliseconds = 5000;

ErrorKind kind_of(int code) {
    switch (code & 0xFF) {
        case SQLITE_FULL: return ErrorKind::NoSpace;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB: return ErrorKind::Corrupt;
        case SQLITE_PERM:
        case SQLITE_AUTH:
        case SQLITE_READONLY:
        case SQLITE_CANTOPEN: return ErrorKind::Denied;
        case SQLITE_BUSY:
        case SQLITE_LOCKED: return ErrorKind::Busy;
        case SQLITE_CONSTRAINT: return ErrorKind::Exists;
        default: return ErrorKind::Internal;
    }
}

/// SQLite takes an empty file for a new database and throws the log beside it away, and with it perhaps all
/// that was. Its own first write is to the file, so this is never the work of a crash.
Result<void> refuse_an_emptied_file(int file, const std::string& path) {
    struct stat status {};
    struct stat log {};
    if (fstat(file, &status) != 0)
        return fail_errno(errno, "cannot look at {}", path);
    if (status.st_size == 0 && stat((path + "-wal").c_str(), &log) == 0 && log.st_size > 0)
        return fail(ErrorKind::Corrupt, "the database {} is empty, but its log is not: it was cut off", path);
    return {};
}

}  // namespace

Statement& Statement::bind(std::int64_t value) {
    sqlite3_bind_int64(statement_.get(), ++bound_, value);
    return *this;
}

Statement& Statement::bind(std::string_view text) {
    sqlite3_bind_text64(statement_.get(), ++bound_, text.data() != nullptr ? text.data() : "", text.size(),
                        SQLITE_STATIC, SQLITE_UTF8);
    return *this;
}

Statement& Statement::bind(std::span<const std::byte> bytes) {
    sqlite3_bind_blob64(statement_.get(), ++bound_, bytes.empty() ? reinterpret_cast<const std::byte*>("") : bytes.data(),
                        bytes.size(), SQLITE_STATIC);
    return *this;
}

Result<bool> Statement::step() {
    const int code = sqlite3_step(statement_.get());
    if (code == SQLITE_ROW)
        return true;
    if (code == SQLITE_DONE) {
        reset();
        return false;
    }
    auto error = database_->failure(code);
    reset();
    return error;
}

Result<void> Statement::run() {
    DRAY_LET(const bool has_row, step());
    if (has_row)
        reset();
    return {};
}

void Statement::reset() {
    sqlite3_reset(statement_.get());
    sqlite3_clear_bindings(statement_.get());
    bound_ = 0;
}

std::int64_t Statement::number(int column) const { return sqlite3_column_int64(statement_.get(), column); }

std::string Statement::text(int column) const {
    const unsigned char* text = sqlite3_column_text(statement_.get(), column);
    const int size = sqlite3_column_bytes(statement_.get(), column);
    return text == nullptr ? std::string()
                           : std::string(reinterpret_cast<const char*>(text), static_cast<std::size_t>(size));
}

std::vector<std::byte> Statement::bytes(int column) const {
    const auto* data = static_cast<const std::byte*>(sqlite3_column_blob(statement_.get(), column));
    const int size = sqlite3_column_bytes(statement_.get(), column);
    return data == nullptr ? std::vector<std::byte>() : std::vector<std::byte>(data, data + size);
}

Result<Database> Database::open(const std::string& path, unsigned mode) {
    // SQLite would make it with the umask's mode; these files hold what others have no business with.
    DRAY_LET(const FileDescriptor made, open_file(path, O_RDWR | O_CREAT, mode));
    DRAY_TRY(refuse_an_emptied_file(made.get(), path));
    Database database;
    database.path_ = path;
    sqlite3* handle = nullptr;
    const int code = sqlite3_open_v2(path.c_str(), &handle,
                                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                                         SQLITE_OPEN_EXRESCODE,
                                     nullptr);
    database.handle_.reset(handle);
    if (code != SQLITE_OK)
        return database.failure(code);
    sqlite3_busy_timeout(handle, kBusyMilliseconds);
    for (const char* pragma :
         {"PRAGMA secure_delete=ON", "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL",
          "PRAGMA foreign_keys=ON", "PRAGMA temp_store=MEMORY", "PRAGMA cache_size=-2048"})
        DRAY_TRY(database.execute(pragma));
    return database;
}

std::unexpected<Error> Database::failure(int code) const {
    const char* message = handle_ ? sqlite3_errmsg(handle_.get()) : sqlite3_errstr(code);
    return fail(kind_of(code), "the database {}: {}", path_, message);
}

Result<void> Database::execute(const char* sql) {
    if (const int code = sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr); code != SQLITE_OK)
        return failure(code);
    return {};
}

Result<Statement> Database::prepare(std::string_view sql) const {
    sqlite3_stmt* raw = nullptr;
    const int code = sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()),
                                        SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
    if (code != SQLITE_OK)
        return failure(code);
    Statement statement;
    statement.statement_.reset(raw);
    statement.database_ = this;
    return statement;
}

Result<void> Database::transaction(const std::function<Result<void>()>& body) {
    DRAY_TRY(execute("BEGIN IMMEDIATE"));
    Result<void> result = body();
    if (result)
        result = execute("COMMIT");
    if (!result && sqlite3_get_autocommit(handle_.get()) == 0)
        (void)execute("ROLLBACK");  // the first error is the one that tells
    return result;
}

// A log that could not be emptied is a row, not an error, of SQLite's.
Result<void> Database::truncate_log() {
    DRAY_LET(Statement statement, prepare("PRAGMA wal_checkpoint(TRUNCATE)"));
    DRAY_LET(const bool has_row, statement.step());
    if (has_row && statement.flag(0))
        return fail(ErrorKind::Busy, "the database {}: another program reads it, its log cannot be emptied", path_);
    return {};
}

Result<int> Database::version() const {
    DRAY_LET(Statement statement, prepare("PRAGMA user_version"));
    DRAY_LET(const bool has_row, statement.step());
    return has_row ? static_cast<int>(statement.number(0)) : 0;
}

}  // namespace dray
