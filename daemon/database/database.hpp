// SPDX-License-Identifier: Apache-2.0
//
// SQLite, as the catalog and a transfer's journal use it: WAL, synchronous=FULL, errors as values. One
// connection, one thread at a time.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/handle.hpp"
#include "daemon/base/result.hpp"

namespace dray {

class Database;

/// A prepared statement; bind in order, then step. Bound texts and bytes must live until the step, the
/// database, which must not be moved meanwhile, longer than the statement.
class Statement {
public:
    Statement& bind(std::int64_t value);
    Statement& bind(std::uint64_t value) { return bind(static_cast<std::int64_t>(value)); }
    Statement& bind(int value) { return bind(static_cast<std::int64_t>(value)); }
    Statement& bind(bool value) { return bind(std::int64_t{value ? 1 : 0}); }
    Statement& bind(std::string_view text);
    Statement& bind(const std::string& text) { return bind(std::string_view(text)); }
    Statement& bind(const char* text) { return bind(std::string_view(text)); }
    Statement& bind(std::span<const std::byte> bytes);

    /// True: a row is there. False: no more; the statement is ready to be bound again.
    Result<bool> step();
    /// For statements without rows: runs once and is ready to be bound again.
    Result<void> run();

    std::int64_t number(int column) const;
    std::uint64_t unsigned_number(int column) const { return static_cast<std::uint64_t>(number(column)); }
    bool flag(int column) const { return number(column) != 0; }
    std::string text(int column) const;
    std::vector<std::byte> bytes(int column) const;
    void reset();

private:
    friend class Database;
    Handle<sqlite3_stmt, sqlite3_finalize> statement_;
    const Database* database_ = nullptr;
    int bound_ = 0;
};

class Database {
public:
    /// Opens or makes `path` (with `mode`, less the mask). Corrupt: the file is no database or a broken one; an
    /// empty file with a log beside it is one.
    static Result<Database> open(const std::string& path, unsigned mode = 0600);

    Result<void> execute(const char* sql);
    Result<Statement> prepare(std::string_view sql) const;
    /// All or nothing: what `body` fails with undoes everything.
    Result<void> transaction(const std::function<Result<void>()>& body);
    /// Moves the log into the file and empties it, so that nothing of what was deleted stays in it. Busy:
    /// somebody else reads from it.
    Result<void> truncate_log();

    Result<int> version() const;
    std::int64_t last_row() const { return sqlite3_last_insert_rowid(handle_.get()); }
    const std::string& path() const { return path_; }

private:
    friend class Statement;
    std::unexpected<Error> failure(int code) const;
    Handle<sqlite3, sqlite3_close> handle_;
    std::string path_;
};

}  // namespace dray
