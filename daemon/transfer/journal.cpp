// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/journal.hpp"

#include <openssl/rand.h>
#include <pthread.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <utility>

#include "daemon/base/encoding.hpp"
#include "daemon/transfer/group_access.hpp"

namespace dray::transfer {
namespace {

constexpr int kVersion = 2;
constexpr std::size_t kBatch = 64;
constexpr auto kInterval = std::chrono::milliseconds(250);

/// Version 2 reserves names; version 1 found them at the commit.
constexpr const char* kReservations = "CREATE TABLE reservation(idx INTEGER PRIMARY KEY, name TEXT NOT NULL)";

constexpr const char* kSchema = R"(
CREATE TABLE binding(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE blob(idx INTEGER PRIMARY KEY, sequence INTEGER NOT NULL, outcome INTEGER NOT NULL,
    disposition INTEGER NOT NULL, name TEXT NOT NULL, pieces BLOB NOT NULL, metadata INTEGER NOT NULL,
    properties INTEGER NOT NULL, bytes INTEGER NOT NULL);
CREATE TABLE intent(idx INTEGER PRIMARY KEY, name TEXT NOT NULL, time INTEGER NOT NULL,
    replaces INTEGER NOT NULL);
CREATE TABLE piece(idx INTEGER NOT NULL, piece INTEGER NOT NULL, sequence INTEGER NOT NULL,
    PRIMARY KEY(idx, piece)) WITHOUT ROWID;
)";

/// Journals of before do not have it, and earlier programs do not look at it.
constexpr const char* kLost =
    "CREATE TABLE IF NOT EXISTS lost(idx INTEGER NOT NULL, begin INTEGER NOT NULL, length INTEGER NOT NULL, "
    "exact INTEGER NOT NULL, PRIMARY KEY(idx, begin)) WITHOUT ROWID";

/// Journals of the first version do not have it.
constexpr const char* kUploads =
    "CREATE TABLE IF NOT EXISTS upload(id TEXT PRIMARY KEY, name TEXT NOT NULL, page INTEGER NOT NULL) WITHOUT ROWID";

template <typename Enum>
int optional_number(const std::optional<Enum>& value) {
    return value ? static_cast<int>(*value) : -1;
}

template <typename Enum>
std::optional<Enum> optional_enum(std::int64_t number) {
    return number < 0 ? std::nullopt : std::optional(static_cast<Enum>(number));
}

std::vector<std::byte> bytes_of(const std::vector<format::PieceOutcome>& pieces) {
    std::vector<std::byte> bytes;
    bytes.reserve(pieces.size());
    for (const format::PieceOutcome piece : pieces)
        bytes.push_back(static_cast<std::byte>(piece));
    return bytes;
}

Result<std::map<std::string, std::string>> read_binding(const Database& database) {
    DRAY_LET(Statement select, database.prepare("SELECT name, value FROM binding"));
    std::map<std::string, std::string> values;
    for (;;) {
        DRAY_LET(const bool is_row, select.step());
        if (!is_row)
            return values;
        values[select.text(0)] = select.text(1);
    }
}

Result<void> put_binding(const Database& database, const char* name, const std::string& value) {
    DRAY_LET(Statement put, database.prepare("INSERT OR REPLACE INTO binding(name, value) VALUES(?1, ?2)"));
    return put.bind(name).bind(value).run();
}

/// Why the journal at hand is not this drive's, or "".
std::string difference(const std::map<std::string, std::string>& found, const JournalBinding& wanted) {
    const auto is = [&](const char* name, const std::string& value) {
        const auto entry = found.find(name);
        return entry != found.end() && entry->second == value;
    };
    if (!is("manifest-hash", wanted.manifest_hash))
        return "the manifest is another one";
    if (!is("volume-id", wanted.volume_id))
        return "the drive was made anew";
    if (!is("store", wanted.store))
        return "the store is another one";
    return {};
}

std::string path_in(const std::string& directory) { return directory + "/journal.sqlite"; }
std::string old_path(const std::string& path) { return path + ".old"; }

void set_file_aside(const std::string& path) {
    // SQLite looks for its log under the file's name with this at the end.
    for (const char* suffix : {"", "-wal", "-shm"})
        (void)std::rename((path + suffix).c_str(), (old_path(path) + suffix).c_str());
}

Result<void> read_uploads(const Database& database, std::vector<Upload>& uploads) {
    DRAY_LET(Statement find, database.prepare("SELECT id, name, page FROM upload"));
    for (;;) {
        DRAY_LET(const bool is_row, find.step());
        if (!is_row)
            return {};
        uploads.push_back({find.text(0), find.text(1), find.flag(2)});
    }
}

Result<void> read_open_intents(const Database& database, const std::string& id, std::vector<Upload>& uploads) {
    DRAY_LET(Statement find,
             database.prepare("SELECT idx, name FROM intent WHERE idx NOT IN (SELECT idx FROM blob)"));
    for (;;) {
        DRAY_LET(const bool is_row, find.step());
        if (!is_row)
            return {};
        uploads.push_back({upload_id(id, find.unsigned_number(0)), find.text(1), false});
    }
}

/// Of any journal, as far as it can be read.
std::vector<Upload> uploads_of(const std::string& path, const std::string& store) {
    std::vector<Upload> uploads;
    if (access(path.c_str(), F_OK) != 0)
        return uploads;
    const Result<Database> database = Database::open(path);
    Result<std::map<std::string, std::string>> binding =
        database ? read_binding(*database) : fail(Error(database.error()));
    if (!binding || (*binding)["store"] != store)
        return uploads;
    (void)read_uploads(*database, uploads);
    (void)read_open_intents(*database, (*binding)["id"], uploads);
    return uploads;
}

}  // namespace

Journal::Journal(Database database, const Clock& clock)
    : database_(std::make_unique<Database>(std::move(database))), clock_(clock) {}

Result<Journal::Opened> Journal::open(const std::string& directory, const JournalBinding& binding,
                                      const Clock& clock) {
    const std::string path = path_in(directory);
    std::string set_aside;
    for (int attempt = 0; attempt < 2; ++attempt) {
        // Nothing here may use the file when it is moved away.
        Result<std::unique_ptr<Journal>> journal = try_open(path, binding, clock);
        if (journal) {
            (*journal)->thread_ = std::jthread([self = journal->get()](const std::stop_token& stop) {
                pthread_setname_np(pthread_self(), "journal");
                self->run(stop);
            });
            return Opened{*std::move(journal), std::move(set_aside)};
        }
        if (journal.error().kind() != ErrorKind::Corrupt && journal.error().kind() != ErrorKind::Conflict)
            return fail(std::move(journal.error()));
        set_aside = "the earlier journal is set aside and the drive starts anew: " +
                    (journal.error().kind() == ErrorKind::Corrupt ? "it is damaged" : journal.error().text());
        set_file_aside(path);
    }
    return fail(ErrorKind::Internal, "the journal {} cannot be made", path);
}

// Corrupt: it is damaged. Conflict, with the reason alone: it is not this drive's.
Result<std::unique_ptr<Journal>> Journal::try_open(const std::string& path, const JournalBinding& binding,
                                                   const Clock& clock) {
    DRAY_LET(Database database, Database::open(path, kFileMode));
    DRAY_LET(const int version, database.version());
    if (version < 0 || version > kVersion)
        return fail(ErrorKind::Conflict, "it was written by a later version");
    if (version != 0) {
        // Damage that is met in mid-copy would stop the drive again and again.
        DRAY_LET(Statement check, database.prepare("PRAGMA quick_check(1)"));
        DRAY_LET(const bool is_answered, check.step());
        if (!is_answered || check.text(0) != "ok")
            return fail(ErrorKind::Corrupt, "the journal {} is damaged", path);
        check.reset();
        DRAY_LET(const auto found, read_binding(database));
        if (const std::string why = difference(found, binding); !why.empty())
            return fail(ErrorKind::Conflict, "{}", why);
    }
    std::unique_ptr<Journal> journal(new Journal(std::move(database), clock));
    DRAY_TRY(journal->set_up(binding));
    return journal;
}

Result<void> Journal::set_up(const JournalBinding& binding) {
    DRAY_LET(const int version, database_->version());
    return database_->transaction([&]() -> Result<void> {
        DRAY_TRY(database_->execute(kUploads));
        DRAY_TRY(database_->execute(kLost));
        is_new_ = version == 0;
        if (is_new_) {
            DRAY_TRY(database_->execute(kSchema));
            std::byte random[8];
            if (RAND_bytes(reinterpret_cast<unsigned char*>(random), sizeof random) != 1)
                return fail(ErrorKind::Internal, "no random numbers for a journal's id");
            DRAY_TRY(put_binding(*database_, "id", to_hex(random)));
            DRAY_TRY(put_binding(*database_, "manifest-hash", binding.manifest_hash));
            DRAY_TRY(put_binding(*database_, "volume-id", binding.volume_id));
            DRAY_TRY(put_binding(*database_, "store", binding.store));
            DRAY_TRY(inherit_uploads(binding.store));
        }
        if (version < kVersion) {
            DRAY_TRY(database_->execute(kReservations));
            DRAY_TRY(database_->execute(("PRAGMA user_version=" + std::to_string(kVersion)).c_str()));
        }
        DRAY_LET(auto values, read_binding(*database_));
        id_ = values["id"];
        const std::uint64_t synced = std::strtoull(values["synced"].c_str(), nullptr, 10);
        if (!values["boot-id"].empty() && values["boot-id"] != binding.boot_id) {
            // The power may have been cut: what the store had not synced may be gone. Commits that did
            // survive are recognised by their intents.
            for (const char* table : {"blob", "piece"}) {
                DRAY_LET(Statement drop,
                         database_->prepare(fmt::format("DELETE FROM {} WHERE sequence>?1", table)));
                DRAY_TRY(drop.bind(synced).run());
            }
        }
        DRAY_LET(Statement most, database_->prepare("SELECT max(coalesce((SELECT max(sequence) FROM blob),0), "
                                                    "coalesce((SELECT max(sequence) FROM piece),0))"));
        DRAY_LET([[maybe_unused]] const bool is_row, most.step());
        next_sequence_ = std::max(most.unsigned_number(0), synced) + 1;
        committed_sequence_ = next_sequence_ - 1;
        most.reset();
        return put_binding(*database_, "boot-id", binding.boot_id);
    });
}

Journal::~Journal() {
    if (!thread_.joinable())
        return;  // it never came into use
    (void)flush();  // whoever cares has called it
    thread_.request_stop();
    wake_.notify_all();
}

Result<std::optional<BlobRecord>> Journal::blob(std::uint64_t index) {
    const std::lock_guard lock(database_mutex_);
    DRAY_LET(Statement find, database_->prepare("SELECT outcome, disposition, name, pieces, metadata, properties, "
                                                "bytes FROM blob WHERE idx=?1"));
    DRAY_LET(const bool is_there, find.bind(index).step());
    if (!is_there)
        return std::nullopt;
    BlobRecord record;
    record.index = index;
    record.outcome = static_cast<format::BlobOutcome>(find.number(0));
    record.disposition = static_cast<format::DispositionOutcome>(find.number(1));
    record.name = find.text(2);
    for (const std::byte piece : find.bytes(3))
        record.pieces.push_back(static_cast<format::PieceOutcome>(piece));
    record.metadata = optional_enum<format::SideFileOutcome>(find.number(4));
    record.properties = optional_enum<format::SideFileOutcome>(find.number(5));
    record.bytes_succeeded = find.unsigned_number(6);
    if (record.outcome != format::BlobOutcome::Completed) {
        DRAY_LET(record.lost, lost(index));
    }
    return record;
}

Result<std::vector<format::LostRange>> Journal::lost(std::uint64_t index) {
    DRAY_LET(Statement find,
             database_->prepare("SELECT begin, length, exact FROM lost WHERE idx=?1 ORDER BY begin"));
    find.bind(index);
    std::vector<format::LostRange> ranges;
    for (;;) {
        DRAY_LET(const bool is_row, find.step());
        if (!is_row)
            return ranges;
        ranges.push_back({find.unsigned_number(0), find.unsigned_number(1), find.flag(2)});
    }
}

Result<std::vector<std::uint64_t>> Journal::pieces(std::uint64_t index) {
    const std::lock_guard lock(database_mutex_);
    DRAY_LET(Statement find, database_->prepare("SELECT piece FROM piece WHERE idx=?1 ORDER BY piece"));
    find.bind(index);
    std::vector<std::uint64_t> pieces;
    for (;;) {
        DRAY_LET(const bool is_row, find.step());
        if (!is_row)
            return pieces;
        pieces.push_back(find.unsigned_number(0));
    }
}

Result<std::optional<Intent>> Journal::intent(std::uint64_t index) {
    const std::lock_guard lock(database_mutex_);
    DRAY_LET(Statement find, database_->prepare("SELECT name, time, replaces FROM intent WHERE idx=?1"));
    DRAY_LET(const bool is_there, find.bind(index).step());
    if (!is_there)
        return std::nullopt;
    return Intent{find.text(0), from_usec(find.unsigned_number(1)), find.flag(2)};
}

Result<std::optional<std::string>> Journal::reservation(std::uint64_t index) {
    const std::lock_guard lock(database_mutex_);
    DRAY_LET(Statement find, database_->prepare("SELECT name FROM reservation WHERE idx=?1 "
                                                "UNION ALL SELECT name FROM intent WHERE idx=?1 LIMIT 1"));
    DRAY_LET(const bool is_there, find.bind(index).step());
    return is_there ? std::optional(find.text(0)) : std::nullopt;
}

// At every making of one, not only when one is set aside: a kill may fall in between.
Result<void> Journal::inherit_uploads(const std::string& store) {
    for (const Upload& upload : uploads_of(old_path(database_->path()), store)) {
        DRAY_LET(Statement put, database_->prepare("INSERT OR IGNORE INTO upload(id, name, page) VALUES(?1,?2,?3)"));
        DRAY_TRY(put.bind(upload.id).bind(upload.name).bind(upload.is_page_blob).run());
    }
    return {};
}

Result<std::vector<Upload>> Journal::uploads(bool with_intents) {
    const std::lock_guard lock(database_mutex_);
    std::vector<Upload> uploads;
    DRAY_TRY(read_uploads(*database_, uploads));
    if (with_intents)
        DRAY_TRY(read_open_intents(*database_, id_, uploads));
    return uploads;
}

std::vector<Upload> Journal::uploads_in(const std::string& directory, const std::string& store) {
    std::vector<Upload> uploads = uploads_of(path_in(directory), store);
    for (Upload& upload : uploads_of(old_path(path_in(directory)), store))
        uploads.push_back(std::move(upload));
    return uploads;
}

std::uint64_t Journal::enqueue(Entry entry) {
    const std::lock_guard lock(mutex_);
    const std::uint64_t sequence = next_sequence_++;
    entry.sequence = sequence;
    queue_.push_back(std::move(entry));
    if (queue_.size() >= kBatch || waiting_ > 0)
        wake_.notify_one();
    return sequence;
}

void Journal::record_piece(std::uint64_t index, std::uint64_t piece) {
    enqueue({.kind = Entry::Kind::Piece, .index = index, .number = piece, .name = {}});
}

void Journal::record_blob(BlobRecord record) {
    const std::uint64_t index = record.index;
    enqueue({.kind = Entry::Kind::Blob, .index = index, .name = {}, .record = std::move(record)});
}

void Journal::record_begin(std::uint64_t index, const std::string& name, bool is_page_blob) {
    enqueue({.kind = Entry::Kind::Begin, .index = index, .number = is_page_blob ? 1U : 0U, .name = name});
}

Result<void> Journal::forget_pieces(std::uint64_t index) {
    enqueue({.kind = Entry::Kind::Forget, .index = index, .name = {}});
    return flush();
}

Result<void> Journal::record_intent(std::uint64_t index, const std::string& name, bool replaces) {
    enqueue({.kind = Entry::Kind::Intent,
             .index = index,
             .number = to_usec(clock_.now()),
             .replaces = replaces,
             .name = name});
    return flush();
}

std::uint64_t Journal::record_reservation(std::uint64_t index, const std::string& name) {
    return enqueue({.kind = Entry::Kind::Reservation, .index = index, .name = name});
}

Result<void> Journal::flush() { return wait_for(mark()); }

Result<void> Journal::wait_for(std::uint64_t sequence) {
    std::unique_lock lock(mutex_);
    if (committed_sequence_ >= sequence)
        return {};
    ++waiting_;
    wake_.notify_one();
    committed_.wait(lock, [&] { return committed_sequence_ >= sequence || failure_.has_value(); });
    --waiting_;
    if (failure_)
        return fail(Error(*failure_));
    return {};
}

std::uint64_t Journal::mark() const {
    const std::lock_guard lock(mutex_);
    return next_sequence_ - 1;
}

void Journal::mark_synced(std::uint64_t mark) {
    enqueue({.kind = Entry::Kind::Synced, .number = mark, .name = {}});
}

void Journal::distrust() { enqueue({.kind = Entry::Kind::Distrust, .name = {}}); }

std::uint64_t Journal::backlog() const {
    const std::lock_guard lock(mutex_);
    return next_sequence_ - 1 - committed_sequence_;
}

std::optional<Error> Journal::failure() const {
    const std::lock_guard lock(mutex_);
    return failure_;
}

void Journal::run(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (!stop.stop_requested()) {
        wake_.wait_for(lock, stop, kInterval,
                       [&] { return queue_.size() >= kBatch || (waiting_ > 0 && !queue_.empty()); });
        if (queue_.empty())
            continue;
        const std::vector<Entry> batch = std::exchange(queue_, {});
        if (failure_)
            continue;
        lock.unlock();
        Result<void> committed = commit(batch);
        lock.lock();
        if (committed)
            committed_sequence_ = batch.back().sequence;
        else
            failure_ = std::move(committed.error());
        committed_.notify_all();
    }
}

Result<void> Journal::commit(const std::vector<Entry>& batch) {
    const std::lock_guard lock(database_mutex_);
    std::uint64_t pieces = 0;
    Result<void> committed = database_->transaction([&]() -> Result<void> {
        for (const Entry& entry : batch) {
            DRAY_TRY(write(entry));
            pieces += entry.kind == Entry::Kind::Piece || entry.kind == Entry::Kind::Blob ? 1 : 0;
        }
        return {};
    });
    if (committed)
        pieces_committed_.fetch_add(pieces, std::memory_order_relaxed);
    return committed;
}

Result<void> Journal::write_lost(const BlobRecord& record) {
    if (record.outcome == format::BlobOutcome::Completed)
        return {};
    DRAY_LET(Statement drop, database_->prepare("DELETE FROM lost WHERE idx=?1"));
    DRAY_TRY(drop.bind(record.index).run());
    for (const format::LostRange& range : record.lost) {
        DRAY_LET(Statement put, database_->prepare("INSERT INTO lost(idx, begin, length, exact) VALUES(?1,?2,?3,?4)"));
        DRAY_TRY(put.bind(record.index).bind(range.offset).bind(range.length).bind(range.is_exact).run());
    }
    return {};
}

Result<void> Journal::write(const Entry& entry) {
    switch (entry.kind) {
        case Entry::Kind::Piece: {
            DRAY_LET(Statement put, database_->prepare(
                                        "INSERT OR REPLACE INTO piece(idx, piece, sequence) VALUES(?1,?2,?3)"));
            return put.bind(entry.index).bind(entry.number).bind(entry.sequence).run();
        }
        case Entry::Kind::Blob: {
            const BlobRecord& record = entry.record;
            const std::vector<std::byte> pieces = bytes_of(record.pieces);
            DRAY_LET(Statement put, database_->prepare("INSERT OR REPLACE INTO blob(idx, sequence, outcome, "
                                                       "disposition, name, pieces, metadata, properties, bytes) "
                                                       "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)"));
            put.bind(entry.index).bind(entry.sequence).bind(static_cast<int>(record.outcome));
            put.bind(static_cast<int>(record.disposition)).bind(record.name).bind(std::span<const std::byte>(pieces));
            put.bind(optional_number(record.metadata)).bind(optional_number(record.properties));
            DRAY_TRY(put.bind(record.bytes_succeeded).run());
            DRAY_TRY(write_lost(record));
            // Its upload has become the blob. Others are thrown away, and until that is sure they stay listed.
            if (record.outcome == format::BlobOutcome::Completed &&
                record.disposition != format::DispositionOutcome::Skipped) {
                DRAY_LET(Statement done, database_->prepare("DELETE FROM upload WHERE id=?1"));
                const std::string id = upload_id(id_, entry.index);
                DRAY_TRY(done.bind(id).run());
            }
            for (const char* drop : {"DELETE FROM piece WHERE idx=?1", "DELETE FROM reservation WHERE idx=?1"}) {
                DRAY_LET(Statement statement, database_->prepare(drop));
                DRAY_TRY(statement.bind(entry.index).run());
            }
            return {};
        }
        case Entry::Kind::Reservation: {
            DRAY_LET(Statement put,
                     database_->prepare("INSERT OR REPLACE INTO reservation(idx, name) VALUES(?1,?2)"));
            return put.bind(entry.index).bind(entry.name).run();
        }
        case Entry::Kind::Begin: {
            DRAY_LET(Statement put,
                     database_->prepare("INSERT OR REPLACE INTO upload(id, name, page) VALUES(?1,?2,?3)"));
            const std::string id = upload_id(id_, entry.index);
            return put.bind(id).bind(entry.name).bind(entry.number).run();
        }
        case Entry::Kind::Forget: {
            DRAY_LET(Statement drop, database_->prepare("DELETE FROM piece WHERE idx=?1"));
            return drop.bind(entry.index).run();
        }
        case Entry::Kind::Intent: {
            DRAY_LET(Statement put,
                     database_->prepare("INSERT OR REPLACE INTO intent(idx, name, time, replaces) VALUES(?1,?2,?3,?4)"));
            return put.bind(entry.index).bind(entry.name).bind(entry.number).bind(entry.replaces).run();
        }
        // No boot has this id, so the next opening takes it for a power cut.
        case Entry::Kind::Distrust: return put_binding(*database_, "boot-id", "distrusted");
        case Entry::Kind::Synced: return put_binding(*database_, "synced", std::to_string(entry.number));
    }
    return {};
}

}  // namespace dray::transfer
