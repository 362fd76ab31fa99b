// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/export_journal.hpp"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "daemon/base/wire.hpp"
#include "daemon/transfer/group_access.hpp"

namespace dray::transfer {
namespace {

constexpr std::size_t kMaxText = 64 * kKiB;
constexpr auto kOutcomes = static_cast<std::uint8_t>(format::BlobOutcome::Failed) + 1;

constexpr const char* kSchema =
    "CREATE TABLE blob(idx INTEGER PRIMARY KEY, container TEXT NOT NULL, name TEXT NOT NULL, snapshot TEXT NOT NULL,"
    " is_page INTEGER NOT NULL, length INTEGER NOT NULL, path TEXT NOT NULL,"
    // Of what has ended; 0 for what has not.
    " generation INTEGER NOT NULL DEFAULT 0, is_failed INTEGER NOT NULL DEFAULT 0, outcome BLOB) STRICT;"
    "CREATE INDEX unfinished ON blob(idx) WHERE generation=0;"
    "CREATE TABLE begun(idx INTEGER NOT NULL, generation INTEGER NOT NULL, etag TEXT NOT NULL, hashes BLOB NOT NULL,"
    // No path has a line break.
    " sides TEXT NOT NULL,"
    " PRIMARY KEY(idx, generation)) STRICT;"
    "CREATE TABLE known(generation INTEGER NOT NULL) STRICT; INSERT INTO known VALUES(0);";

std::string path_in(const std::string& directory) { return directory + "/export.sqlite"; }

void put_side(WireWriter& out, const std::optional<format::SideFile>& side) {
    out.boolean(side.has_value());
    if (!side)
        return;
    out.text(side->path);
    out.text({reinterpret_cast<const char*>(side->hash.data()), side->hash.size()});
}

Md5Hash take_hash(WireReader& in) {
    Md5Hash hash{};
    const std::string bytes = in.text(hash.size());
    if (bytes.size() != hash.size())
        in.reject();
    else
        std::ranges::transform(bytes, hash.begin(), [](char c) { return static_cast<std::byte>(c); });
    return hash;
}

std::optional<format::SideFile> take_side(WireReader& in) {
    if (!in.boolean())
        return std::nullopt;
    format::SideFile side;
    side.path = in.text(kMaxText);
    side.hash = take_hash(in);
    return side;
}

WireWriter encoded(const ExportOutcome& outcome) {
    WireWriter out;
    out.u8(static_cast<std::uint8_t>(outcome.outcome));
    out.boolean(outcome.has_no_room);
    out.u64(outcome.length);
    out.u64(to_usec(outcome.modified));
    put_side(out, outcome.metadata);
    put_side(out, outcome.properties);
    out.u64(outcome.pieces.size());
    for (const format::ManifestPiece& piece : outcome.pieces) {
        out.u64(piece.offset);
        out.u64(piece.length);
        out.text(piece.id);
        out.text({reinterpret_cast<const char*>(piece.hash.data()), piece.hash.size()});
    }
    return out;
}

Result<ExportOutcome> decoded(std::uint64_t index, std::span<const std::byte> bytes) {
    WireReader in(bytes);
    ExportOutcome outcome;
    outcome.index = index;
    outcome.outcome = in.enumerator<format::BlobOutcome>(kOutcomes);
    outcome.has_no_room = in.boolean();
    outcome.length = in.u64();
    outcome.modified = from_usec(in.u64());
    outcome.metadata = take_side(in);
    outcome.properties = take_side(in);
    for (std::uint64_t count = in.u64(); count > 0 && !in.is_bad(); --count) {
        format::ManifestPiece piece;
        piece.offset = in.u64();
        piece.length = in.u64();
        piece.id = in.text(kMaxText);
        piece.hash = take_hash(in);
        outcome.pieces.push_back(std::move(piece));
    }
    DRAY_TRY(in.finish());
    return outcome;
}

bool is_failure(const ExportOutcome& outcome) { return outcome.outcome != format::BlobOutcome::Completed; }

}  // namespace

Result<std::unique_ptr<ExportJournal>> ExportJournal::open(const std::string& directory) {
    const std::string path = path_in(directory);
    if (access(path.c_str(), F_OK) != 0)
        return fail(ErrorKind::NotFound, "there is no journal of an export in {}", directory);
    DRAY_LET(Database database, Database::open(path, kFileMode));
    Statement known;
    if (auto prepared = database.prepare("SELECT generation FROM known"); prepared)
        known = *std::move(prepared);
    else  // it was broken off when it was made
        return fail(ErrorKind::NotFound, "the journal of an export in {} was not completed", directory);
    DRAY_LET(const bool is_complete, known.step());
    known.reset();
    if (!is_complete)
        return fail(ErrorKind::NotFound, "the journal of an export in {} was not completed", directory);
    return std::unique_ptr<ExportJournal>(new ExportJournal(std::move(database)));
}

Result<std::unique_ptr<ExportJournal>> ExportJournal::make(const std::string& directory,
                                                           const std::function<Result<void>(ExportJournal&)>& fill) {
    const std::string path = path_in(directory);
    for (const char* suffix : {"", "-wal", "-shm"})
        if (unlink((path + suffix).c_str()) != 0 && errno != ENOENT)
            return fail_errno(errno, "cannot remove {}", path);
    DRAY_LET(Database database, Database::open(path, kFileMode));
    std::unique_ptr<ExportJournal> journal(new ExportJournal(std::move(database)));
    const auto body = [&]() -> Result<void> {
        DRAY_TRY(journal->database_.execute(kSchema));
        DRAY_LET(journal->add_, journal->database_.prepare("INSERT INTO blob(idx, container, name, snapshot, is_page, length, path)"
                                                           " VALUES(?1,?2,?3,?4,?5,?6,?7)"));
        return fill(*journal);
    };
    DRAY_TRY(journal->database_.transaction(body));
    return journal;
}

Result<void> ExportJournal::add(const ExportEntry& entry) {
    add_.bind(entry.index).bind(entry.name.container).bind(entry.name.name).bind(entry.name.snapshot);
    add_.bind(entry.is_page_blob).bind(entry.length).bind(entry.path);
    return add_.run();
}

Result<ExportJournal::Totals> ExportJournal::totals() const {
    DRAY_LET(Statement sum, database_.prepare("SELECT count(*), sum(length) FROM blob"));
    DRAY_LET([[maybe_unused]] const bool is_there, sum.step());
    return Totals{sum.unsigned_number(0), sum.unsigned_number(1)};
}

Result<ExportJournal::Done> ExportJournal::done() const {
    DRAY_LET(Statement sum, database_.prepare("SELECT count(*), sum(length), sum(is_failed), sum(length*(1-is_failed)) FROM blob"
                                              " WHERE generation<>0"));
    DRAY_LET([[maybe_unused]] const bool is_there, sum.step());
    Done done;
    done.blobs = sum.unsigned_number(0);
    done.bytes = sum.unsigned_number(1);
    done.failed = sum.unsigned_number(2);
    done.bytes_succeeded = sum.unsigned_number(3);
    return done;
}

Result<std::uint64_t> ExportJournal::commit(const std::vector<ExportOutcome>& ended, const std::vector<ExportPart>& begun) {
    std::uint64_t generation = 0;
    const auto body = [&]() -> Result<void> {
        DRAY_LET(Statement next, database_.prepare("UPDATE known SET generation=generation+1 RETURNING generation"));
        DRAY_LET([[maybe_unused]] const bool is_there, next.step());
        generation = next.unsigned_number(0);
        next.reset();
        DRAY_LET(Statement end, database_.prepare("UPDATE blob SET generation=?1, is_failed=?2, outcome=?3 WHERE idx=?4"));
        for (const ExportOutcome& outcome : ended) {
            const WireWriter bytes = encoded(outcome);
            DRAY_TRY(end.bind(generation).bind(is_failure(outcome)).bind(bytes.bytes()).bind(outcome.index).run());
        }
        // The last checkpoint but one is of no use once there is a newer one; which of the two counts is not known here.
        DRAY_LET(Statement forget, database_.prepare("DELETE FROM begun WHERE generation<?1"));
        DRAY_TRY(forget.bind(generation - 1).run());
        DRAY_LET(Statement begin, database_.prepare("INSERT INTO begun(idx, generation, etag, hashes, sides) VALUES(?1,?2,?3,?4,?5)"));
        for (const ExportPart& part : begun) {
            const std::string sides = fmt::format("{}", fmt::join(part.sides, "\n"));
            DRAY_TRY(begin.bind(part.index).bind(generation).bind(part.etag)
                         .bind(std::as_bytes(std::span(part.hashes))).bind(sides).run());
        }
        return {};
    };
    DRAY_TRY(database_.transaction(body));
    return generation;
}

Result<void> ExportJournal::go_back_to(std::uint64_t generation) {
    return database_.transaction([&]() -> Result<void> {
        DRAY_LET(Statement reopen, database_.prepare("UPDATE blob SET generation=0, is_failed=0, outcome=NULL WHERE generation>?1"));
        DRAY_TRY(reopen.bind(generation).run());
        DRAY_LET(Statement forget, database_.prepare("DELETE FROM begun WHERE generation<>?1"));
        DRAY_TRY(forget.bind(generation).run());
        DRAY_LET(Statement set, database_.prepare("UPDATE known SET generation=?1"));
        return set.bind(generation).run();
    });
}

Result<std::vector<ExportPart>> ExportJournal::begun() const {
    DRAY_LET(Statement query, database_.prepare("SELECT idx, etag, hashes, sides FROM begun JOIN known USING(generation)"));
    std::vector<ExportPart> parts;
    for (;;) {
        DRAY_LET(const bool is_there, query.step());
        if (!is_there)
            return parts;
        const std::vector<std::byte> bytes = query.bytes(2);
        ExportPart part{query.unsigned_number(0), query.text(1), std::vector<Md5Hash>(bytes.size() / sizeof(Md5Hash))};
        const std::string sides = query.text(3);
        for (std::size_t begin = 0; begin < sides.size();) {
            const std::size_t end = std::min(sides.find('\n', begin), sides.size());
            part.sides.push_back(sides.substr(begin, end - begin));
            begin = end + 1;
        }
        std::ranges::copy(std::span(bytes).first(part.hashes.size() * sizeof(Md5Hash)),
                          std::as_writable_bytes(std::span(part.hashes)).begin());
        parts.push_back(std::move(part));
    }
}

ExportEntry ExportJournal::read_entry(const Statement& row) {
    return {row.unsigned_number(0), {row.text(1), row.text(2), row.text(3)}, row.flag(4), row.unsigned_number(5), row.text(6)};
}

Result<std::optional<ExportEntry>> ExportJournal::next(std::uint64_t index) const {
    DRAY_LET(Statement query, database_.prepare("SELECT idx, container, name, snapshot, is_page, length, path FROM blob"
                                                " WHERE generation=0 AND idx>=?1 ORDER BY idx LIMIT 1"));
    DRAY_LET(const bool is_there, query.bind(index).step());
    return is_there ? std::optional(read_entry(query)) : std::nullopt;
}

Result<ExportEntry> ExportJournal::entry(std::uint64_t index) const {
    DRAY_LET(Statement query, database_.prepare("SELECT idx, container, name, snapshot, is_page, length, path FROM blob"
                                                " WHERE idx=?1"));
    DRAY_LET(const bool is_there, query.bind(index).step());
    if (!is_there)
        return fail(ErrorKind::Corrupt, "the journal of the export has no blob {}", index);
    return read_entry(query);
}

Result<void> ExportJournal::walk(bool with_others, const Visit& visit) const {
    DRAY_LET(Statement query, database_.prepare("SELECT idx, container, name, snapshot, is_page, length, path, outcome FROM blob"
                                                " WHERE ?1 OR generation<>0 ORDER BY idx"));
    query.bind(with_others);
    for (;;) {
        DRAY_LET(const bool is_there, query.step());
        if (!is_there)
            return {};
        std::optional<ExportOutcome> outcome;
        if (const std::vector<std::byte> bytes = query.bytes(7); !bytes.empty()) {
            DRAY_LET(outcome, decoded(query.unsigned_number(0), bytes));
        }
        DRAY_TRY(visit(read_entry(query), outcome));
    }
}

}  // namespace dray::transfer
