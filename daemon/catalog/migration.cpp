// SPDX-License-Identifier: Apache-2.0
#include "daemon/catalog/migration.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <span>

#include "daemon/base/file.hpp"

namespace dray {
namespace {

// Each step leads from version i to i + 1; a step is never changed once released.
constexpr std::array<const char*, kCatalogVersion> kMigrations = {
    R"(
CREATE TABLE job(
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, folded TEXT NOT NULL UNIQUE, type TEXT NOT NULL,
    store TEXT NOT NULL, state TEXT NOT NULL, cancel_requested INTEGER NOT NULL, drain TEXT NOT NULL,
    outcome TEXT NOT NULL, diagnostics_path TEXT NOT NULL, log_level TEXT NOT NULL,
    backup_manifest INTEGER NOT NULL, carrier TEXT NOT NULL, tracking TEXT NOT NULL,
    expected_drives INTEGER NOT NULL, closed_for_drives INTEGER NOT NULL, incomplete_list_uri TEXT NOT NULL,
    created INTEGER NOT NULL, shipped INTEGER NOT NULL, completed INTEGER NOT NULL, expires INTEGER NOT NULL);
CREATE TABLE tag(
    job INTEGER NOT NULL REFERENCES job(id) ON DELETE CASCADE, name TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY(job, name)) WITHOUT ROWID;
CREATE TABLE drive(
    job INTEGER NOT NULL REFERENCES job(id) ON DELETE CASCADE, serial TEXT NOT NULL, place INTEGER NOT NULL,
    state TEXT NOT NULL, copy_status TEXT NOT NULL, outcome TEXT NOT NULL, faulted INTEGER NOT NULL,
    fault_reason TEXT NOT NULL, fault_kind TEXT NOT NULL, manifest TEXT NOT NULL, manifest_hash TEXT NOT NULL,
    header_hash TEXT NOT NULL, volume_id TEXT NOT NULL, draining INTEGER NOT NULL, drain TEXT NOT NULL,
    assigned_device TEXT NOT NULL, bytes_done INTEGER NOT NULL, bytes_total INTEGER NOT NULL,
    bytes_succeeded INTEGER NOT NULL, blobs_done INTEGER NOT NULL, blobs_total INTEGER NOT NULL,
    blobs_failed INTEGER NOT NULL, crashes INTEGER NOT NULL, error_log_uri TEXT NOT NULL,
    verbose_log_uri TEXT NOT NULL, manifest_uri TEXT NOT NULL, started INTEGER NOT NULL,
    finished INTEGER NOT NULL, overdue INTEGER NOT NULL, PRIMARY KEY(job, serial)) WITHOUT ROWID;
CREATE TABLE drive_key(
    job INTEGER NOT NULL, serial TEXT NOT NULL, nonce BLOB NOT NULL, sealed BLOB NOT NULL,
    PRIMARY KEY(job, serial),
    FOREIGN KEY(job, serial) REFERENCES drive(job, serial) ON DELETE CASCADE) WITHOUT ROWID;
)",
    // What a restart must know of the clock; the latest of all dates stands for the last time seen. And `overdue`,
    // which was only written before, has become a deadline of the drives that are missing.
    R"(
CREATE TABLE clock(
    only_row INTEGER PRIMARY KEY CHECK(only_row=1), last_seen INTEGER NOT NULL, held_until INTEGER NOT NULL,
    reason TEXT NOT NULL);
INSERT INTO clock SELECT 1, coalesce(max(seen), 0), 0, '' FROM (
    SELECT max(created, shipped, completed) AS seen FROM job UNION ALL SELECT max(started, finished) FROM drive);
UPDATE drive SET overdue=0 WHERE state<>'Specified';
)",
    "ALTER TABLE drive ADD COLUMN partition INTEGER NOT NULL DEFAULT 0;",
    // Exports.
    R"(
ALTER TABLE job ADD COLUMN selection TEXT NOT NULL DEFAULT '';
ALTER TABLE job ADD COLUMN list_blob TEXT NOT NULL DEFAULT '';
ALTER TABLE drive ADD COLUMN may_overwrite INTEGER NOT NULL DEFAULT 0;
ALTER TABLE drive ADD COLUMN key_read INTEGER NOT NULL DEFAULT 0;
)"};

std::string copy_of(const std::string& path, int version) {
    return path + ".version-" + std::to_string(version);
}

Result<void> flush(const std::string& path, int flags) {
    DRAY_LET(const FileDescriptor file, open_file(path, flags));
    if (fsync(file.get()) != 0)
        return fail_errno(errno, "cannot flush {}", path);
    return {};
}

std::string parent_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

/// SQLite neither flushes the copy nor keeps it from others.
Result<void> copy(const Database& database, int version) {
    const std::string path = copy_of(database.path(), version);
    unlink(path.c_str());  // what an interrupted migration left
    DRAY_LET(FileDescriptor made, open_file(path, O_RDWR | O_CREAT | O_EXCL, 0600));
    DRAY_TRY(made.close());
    DRAY_LET(Statement statement, database.prepare("VACUUM INTO ?1"));
    Result<void> written = statement.bind(path).run();
    if (written)
        written = flush(path, O_RDWR);
    if (written)
        written = flush(parent_of(path), O_RDONLY | O_DIRECTORY);
    if (!written)
        unlink(path.c_str());
    return written;
}

Result<void> overwrite(const std::string& path) {
    DRAY_LET(const FileDescriptor file, open_file(path, O_RDWR | O_NOFOLLOW));
    struct stat status {};
    if (fstat(file.get(), &status) != 0)
        return fail_errno(errno, "cannot look at {}", path);
    constexpr std::array<std::byte, 64 * kKiB> kZeros{};
    const auto size = static_cast<Bytes>(status.st_size);
    for (Bytes offset = 0; offset < size; offset += kZeros.size())
        DRAY_TRY(write_fully(file.get(), offset, std::span(kZeros).first(std::min<Bytes>(kZeros.size(), size - offset)),
                             path));
    if (fsync(file.get()) != 0)
        return fail_errno(errno, "cannot flush {}", path);
    return {};
}

}  // namespace

Result<void> migrate(Database& database) {
    DRAY_LET(const int version, database.version());
    if (version > kCatalogVersion)
        return fail(ErrorKind::Unsupported,
                    "the catalog {} was written by a newer dray (version {}, this one knows {}); install that one",
                    database.path(), version, kCatalogVersion);
    if (version < 0)
        return fail(ErrorKind::Corrupt, "{} is no catalog of dray: its version is {}", database.path(), version);
    if (version == kCatalogVersion)
        return {};
    if (version > 0)
        if (Result<void> copied = copy(database, version); !copied)
            return fail(std::move(copied.error()), "the catalog {} is of version {} and cannot be copied to {} before "
                        "it is brought to version {}; it is as it was", database.path(), version,
                        copy_of(database.path(), version), kCatalogVersion);
    Result<void> migrated = database.transaction([&]() -> Result<void> {
        for (int step = version; step < kCatalogVersion; ++step)
            DRAY_TRY(database.execute(kMigrations.at(static_cast<std::size_t>(step))));
        return database.execute(("PRAGMA user_version=" + std::to_string(kCatalogVersion)).c_str());
    });
    if (!migrated && version > 0)
        return fail(std::move(migrated.error()), "the catalog {} cannot be brought from version {} to {}; it is as it was",
                    database.path(), version, kCatalogVersion);
    return migrated;
}

Result<void> remove_copies(const std::string& path) {
    for (int version = 1; version < kCatalogVersion; ++version) {
        const std::string name = copy_of(path, version);
        if (access(name.c_str(), F_OK) != 0)
            continue;
        DRAY_TRY(overwrite(name));
        if (unlink(name.c_str()) != 0)
            return fail_errno(errno, "cannot remove {}", name);
    }
    return {};
}

}  // namespace dray
