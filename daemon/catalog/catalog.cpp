// SPDX-License-Identifier: Apache-2.0
#include "daemon/catalog/catalog.hpp"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <string_view>
#include <utility>

#include "daemon/base/handle.hpp"
#include "daemon/catalog/migration.hpp"
#include "daemon/database/database.hpp"

namespace dray {
namespace {

constexpr std::size_t kNonceBytes = 12;
constexpr std::size_t kTagBytes = 16;

/// What a sealed key is bound to: it opens for no other drive. The leading digit is this form's version.
std::string bound_to(const Job& job, const Drive& drive) {
    return "1/" + fold_job_name(job.name) + "/" + fold_serial(drive.serial);
}

using CipherContext = Handle<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free>;

/// Ciphertext with the tag behind it.
Result<std::vector<std::byte>> seal(const SecretBytes& master, std::span<const std::byte> nonce,
                                    const std::string& bound, const SecretBytes& plain) {
    std::vector<std::byte> sealed(plain.size() + kTagBytes);
    auto* out = reinterpret_cast<unsigned char*>(sealed.data());
    const CipherContext context(EVP_CIPHER_CTX_new());
    int length = 0;
    if (!context ||
        EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, master.data(),
                           reinterpret_cast<const unsigned char*>(nonce.data())) != 1 ||
        EVP_EncryptUpdate(context.get(), nullptr, &length, reinterpret_cast<const unsigned char*>(bound.data()),
                          static_cast<int>(bound.size())) != 1 ||
        EVP_EncryptUpdate(context.get(), out, &length, plain.data(), static_cast<int>(plain.size())) != 1 ||
        EVP_EncryptFinal_ex(context.get(), out + length, &length) != 1 ||
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes, out + plain.size()) != 1)
        return fail(ErrorKind::Internal, "cannot encrypt a drive's key");
    return sealed;
}

Result<SecretBytes> unseal(const SecretBytes& master, std::span<const std::byte> nonce,
                           const std::string& bound, std::span<const std::byte> sealed) {
    if (nonce.size() != kNonceBytes || sealed.size() < kTagBytes)
        return fail(ErrorKind::Corrupt, "a stored key is damaged");
    SecretBytes plain(sealed.size() - kTagBytes);
    const auto* in = reinterpret_cast<const unsigned char*>(sealed.data());
    const CipherContext context(EVP_CIPHER_CTX_new());
    int length = 0;
    if (!context ||
        EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, master.data(),
                           reinterpret_cast<const unsigned char*>(nonce.data())) != 1 ||
        EVP_DecryptUpdate(context.get(), nullptr, &length, reinterpret_cast<const unsigned char*>(bound.data()),
                          static_cast<int>(bound.size())) != 1 ||
        EVP_DecryptUpdate(context.get(), plain.data(), &length, in, static_cast<int>(plain.size())) != 1 ||
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, kTagBytes,
                            const_cast<unsigned char*>(in + plain.size())) != 1 ||
        EVP_DecryptFinal_ex(context.get(), plain.data() + length, &length) != 1)
        return fail(ErrorKind::Denied, "the master key does not open it");
    return plain;
}

/// Columns are read in the order in which they are selected.
class Row {
public:
    explicit Row(const Statement& statement) : statement_(statement) {}
    std::string text() { return statement_.text(column_++); }
    std::uint64_t number() { return statement_.unsigned_number(column_++); }
    std::uint32_t small() { return static_cast<std::uint32_t>(number()); }
    bool flag() { return number() != 0; }
    TimePoint time() { return from_usec(number()); }
    /// A word of ours; one that is not known means that the catalog is damaged.
    template <typename Enum>
    Enum word(std::optional<Enum> (*parse)(std::string_view)) {
        const std::optional<Enum> value = parse(text());
        is_bad_ = is_bad_ || !value;
        return value.value_or(Enum());
    }
    bool is_bad() const { return is_bad_; }

private:
    const Statement& statement_;
    int column_ = 0;
    bool is_bad_ = false;
};

constexpr const char* kSelectJobs =
    "SELECT id, name, type, store, state, cancel_requested, drain, outcome, diagnostics_path, log_level,"
    " backup_manifest, carrier, tracking, expected_drives, closed_for_drives, incomplete_list_uri, created,"
    " shipped, completed, expires, selection, list_blob FROM job ORDER BY created, id";

constexpr const char* kUpsertJob =
    "INSERT INTO job(name, folded, type, store, state, cancel_requested, drain, outcome, diagnostics_path,"
    " log_level, backup_manifest, carrier, tracking, expected_drives, closed_for_drives, incomplete_list_uri,"
    " created, shipped, completed, expires, selection, list_blob)"
    " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22)"
    " ON CONFLICT(folded) DO UPDATE SET name=?1, type=?3, store=?4, state=?5, cancel_requested=?6, drain=?7,"
    " outcome=?8, diagnostics_path=?9, log_level=?10, backup_manifest=?11, carrier=?12, tracking=?13,"
    " expected_drives=?14, closed_for_drives=?15, incomplete_list_uri=?16, created=?17, shipped=?18,"
    " completed=?19, expires=?20, selection=?21, list_blob=?22 RETURNING id";

constexpr const char* kSelectDrives =
    "SELECT drive.serial, state, copy_status, outcome, faulted, fault_reason, fault_kind, manifest,"
    " manifest_hash, header_hash, volume_id, draining, drain, assigned_device, bytes_done, bytes_total,"
    " bytes_succeeded, blobs_done, blobs_total, blobs_failed, crashes, error_log_uri, verbose_log_uri,"
    " manifest_uri, started, finished, overdue, partition, may_overwrite, key_read, drive_key.serial IS NOT NULL"
    " FROM drive LEFT JOIN drive_key USING(job, serial) WHERE drive.job=?1 ORDER BY place";

constexpr const char* kUpsertDrive =
    "INSERT INTO drive(job, serial, place, state, copy_status, outcome, faulted, fault_reason, fault_kind,"
    " manifest, manifest_hash, header_hash, volume_id, draining, drain, assigned_device, bytes_done,"
    " bytes_total, bytes_succeeded, blobs_done, blobs_total, blobs_failed, crashes, error_log_uri,"
    " verbose_log_uri, manifest_uri, started, finished, overdue, partition, may_overwrite, key_read)"
    " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22,?23,?24,?25,?26,"
    "?27,?28,?29,?30,?31,?32)"
    " ON CONFLICT(job, serial) DO UPDATE SET place=?3, state=?4, copy_status=?5, outcome=?6, faulted=?7,"
    " fault_reason=?8, fault_kind=?9, manifest=?10, manifest_hash=?11, header_hash=?12, volume_id=?13,"
    " draining=?14, drain=?15, assigned_device=?16, bytes_done=?17, bytes_total=?18, bytes_succeeded=?19,"
    " blobs_done=?20, blobs_total=?21, blobs_failed=?22, crashes=?23, error_log_uri=?24, verbose_log_uri=?25,"
    " manifest_uri=?26, started=?27, finished=?28, overdue=?29, partition=?30, may_overwrite=?31, key_read=?32";

Result<Drive> read_drive(const Statement& statement) {
    Row row(statement);
    Drive drive;
    drive.serial = row.text();
    drive.state = row.word(parse_drive_state);
    drive.copy_status = row.text();
    drive.outcome = row.text();
    drive.is_faulted = row.flag();
    drive.fault_reason = row.text();
    drive.fault_kind = row.text();
    drive.manifest = row.text();
    drive.manifest_hash = row.text();
    drive.header_hash = row.text();
    drive.volume_id = row.text();
    drive.is_draining = row.flag();
    drive.drain = row.word(parse_drain_mode);
    drive.assigned_device = row.text();
    for (std::uint64_t* value :
         {&drive.counters.bytes_done, &drive.counters.bytes_total, &drive.counters.bytes_succeeded,
          &drive.counters.blobs_done, &drive.counters.blobs_total, &drive.counters.blobs_failed})
        *value = row.number();
    drive.crashes = row.small();
    drive.error_log_uri = row.text();
    drive.verbose_log_uri = row.text();
    drive.manifest_uri = row.text();
    drive.started = row.time();
    drive.finished = row.time();
    drive.overdue = row.time();
    drive.partition = row.small();
    drive.may_overwrite = row.flag();
    drive.is_key_read = row.flag();
    drive.has_key = row.flag();
    if (row.is_bad())
        return fail(ErrorKind::Corrupt, "the catalog holds a state of drive {} that is not known", drive.serial);
    return drive;
}

Result<Job> read_job(const Statement& statement, std::int64_t& id) {
    Row row(statement);
    Job job;
    id = static_cast<std::int64_t>(row.number());
    job.name = row.text();
    job.type = row.word(parse_job_type);
    job.store = row.text();
    job.state = row.word(parse_job_state);
    job.is_cancel_requested = row.flag();
    job.drain = row.word(parse_drain_mode);
    job.outcome = row.text();
    job.diagnostics_path = row.text();
    job.log_level = row.word(parse_log_level);
    job.backup_manifest = row.flag();
    job.carrier = row.text();
    job.tracking = row.text();
    job.expected_drives = row.small();
    job.is_closed_for_drives = row.flag();
    job.incomplete_list_uri = row.text();
    job.created = row.time();
    job.shipped = row.time();
    job.completed = row.time();
    job.expires = row.time();
    job.selection = row.text();
    job.list_blob = row.text();
    if (row.is_bad())
        return fail(ErrorKind::Corrupt, "the catalog holds a state of job {} that is not known", job.name);
    return job;
}

}  // namespace

struct Catalog::State {
    Database database;
    SecretBytes master_key;
    /// Why there is none.
    std::string refusal;

    std::string why_no_key() const { return refusal.empty() ? "there is no master key" : refusal; }

    Result<std::int64_t> job_id(const Job& job) const {
        DRAY_LET(Statement find, database.prepare("SELECT id FROM job WHERE folded=?1"));
        const std::string folded = fold_job_name(job.name);
        DRAY_LET(const bool is_there, find.bind(folded).step());
        if (!is_there)
            return fail(ErrorKind::NotFound, "the catalog has no job {}", job.name);
        return find.number(0);
    }

    Result<std::int64_t> put_job(const Job& job) const {
        DRAY_LET(Statement put, database.prepare(kUpsertJob));
        const std::string folded = fold_job_name(job.name);
        put.bind(job.name).bind(folded).bind(to_string(job.type)).bind(job.store).bind(to_string(job.state));
        put.bind(job.is_cancel_requested).bind(to_string(job.drain)).bind(job.outcome);
        put.bind(job.diagnostics_path).bind(to_string(job.log_level)).bind(job.backup_manifest);
        put.bind(job.carrier).bind(job.tracking).bind(std::uint64_t{job.expected_drives});
        put.bind(job.is_closed_for_drives).bind(job.incomplete_list_uri).bind(to_usec(job.created));
        put.bind(to_usec(job.shipped)).bind(to_usec(job.completed)).bind(to_usec(job.expires));
        put.bind(job.selection).bind(job.list_blob);
        DRAY_LET([[maybe_unused]] const bool is_there, put.step());
        return put.number(0);
    }

    Result<void> put_drive(std::int64_t job, std::int64_t place, const Drive& drive) const {
        DRAY_LET(Statement put, database.prepare(kUpsertDrive));
        put.bind(job).bind(drive.serial).bind(place).bind(to_string(drive.state)).bind(drive.copy_status);
        put.bind(drive.outcome).bind(drive.is_faulted).bind(drive.fault_reason).bind(drive.fault_kind);
        put.bind(drive.manifest).bind(drive.manifest_hash).bind(drive.header_hash).bind(drive.volume_id);
        put.bind(drive.is_draining).bind(to_string(drive.drain)).bind(drive.assigned_device);
        const Counters& counters = drive.counters;
        for (const std::uint64_t value : {counters.bytes_done, counters.bytes_total, counters.bytes_succeeded,
                                          counters.blobs_done, counters.blobs_total, counters.blobs_failed})
            put.bind(value);
        put.bind(std::uint64_t{drive.crashes}).bind(drive.error_log_uri).bind(drive.verbose_log_uri);
        put.bind(drive.manifest_uri).bind(to_usec(drive.started)).bind(to_usec(drive.finished));
        return put.bind(to_usec(drive.overdue)).bind(std::uint64_t{drive.partition})
                .bind(drive.may_overwrite).bind(drive.is_key_read).run();
    }

    Result<void> put_tags(std::int64_t id, const Job& job) const {
        DRAY_LET(Statement clear, database.prepare("DELETE FROM tag WHERE job=?1"));
        DRAY_TRY(clear.bind(id).run());
        for (const auto& [name, value] : job.tags) {
            DRAY_LET(Statement put, database.prepare("INSERT INTO tag(job, name, value) VALUES(?1,?2,?3)"));
            DRAY_TRY(put.bind(id).bind(name).bind(value).run());
        }
        return {};
    }

    /// The job with its tags and drives; answers its row.
    Result<std::int64_t> put_all(const Job& job) const {
        DRAY_LET(const std::int64_t id, put_job(job));
        DRAY_TRY(put_tags(id, job));
        DRAY_TRY(drop_other_drives(id, job));
        for (std::size_t place = 0; place < job.drives.size(); ++place)
            DRAY_TRY(put_drive(id, static_cast<std::int64_t>(place), job.drives[place]));
        return id;
    }

    Result<void> drop_other_drives(std::int64_t id, const Job& job) const {
        DRAY_LET(Statement list, database.prepare("SELECT serial FROM drive WHERE job=?1"));
        list.bind(id);
        std::vector<std::string> gone;
        for (;;) {
            DRAY_LET(const bool is_row, list.step());
            if (!is_row)
                break;
            if (const std::string serial = list.text(0); job.find_drive(serial) == nullptr)
                gone.push_back(serial);
        }
        for (const std::string& serial : gone) {
            DRAY_LET(Statement drop, database.prepare("DELETE FROM drive WHERE job=?1 AND serial=?2"));
            DRAY_TRY(drop.bind(id).bind(serial).run());
        }
        return {};
    }
};

Catalog::Catalog(std::unique_ptr<State> state) : state_(std::move(state)) {}
Catalog::~Catalog() = default;

Result<std::unique_ptr<Catalog>> Catalog::open(const std::string& path) {
    auto state = std::make_unique<State>();
    DRAY_LET(state->database, Database::open(path));
    DRAY_TRY(migrate(state->database));
    // A kill may have fallen between a removal and the emptying of the log. Where somebody reads the file just
    // now, the next removal or start does it.
    if (Result<void> emptied = state->database.truncate_log(); !emptied && emptied.error().kind() != ErrorKind::Busy)
        return fail(std::move(emptied.error()));
    return std::unique_ptr<Catalog>(new Catalog(std::move(state)));
}

Result<bool> Catalog::has_keys() const {
    DRAY_LET(Statement count, state_->database.prepare("SELECT EXISTS(SELECT 1 FROM drive_key)"));
    DRAY_LET([[maybe_unused]] const bool is_row, count.step());
    return count.flag(0);
}

Result<void> Catalog::check_master_key(const SecretBytes& key) const {
    DRAY_LET(Statement find, state_->database.prepare("SELECT folded, serial, nonce, sealed FROM drive_key"
                                                      " JOIN job ON job.id=drive_key.job LIMIT 1"));
    DRAY_LET(const bool is_there, find.step());
    if (!is_there)
        return {};
    Job job;
    job.name = find.text(0);
    Drive drive;
    drive.serial = find.text(1);
    const std::vector<std::byte> nonce = find.bytes(2);
    const std::vector<std::byte> sealed = find.bytes(3);
    DRAY_TRY(unseal(key, nonce, bound_to(job, drive), sealed));
    return {};
}

void Catalog::use_master_key(SecretBytes key) { state_->master_key = std::move(key); }

void Catalog::refuse_keys(std::string reason) {
    state_->master_key = SecretBytes();
    state_->refusal = std::move(reason);
}

const std::string& Catalog::key_problem() const { return state_->refusal; }

Result<std::vector<Job>> Catalog::load() const {
    DRAY_LET(Statement jobs, state_->database.prepare(kSelectJobs));
    DRAY_LET(Statement drives, state_->database.prepare(kSelectDrives));
    DRAY_LET(Statement tags, state_->database.prepare("SELECT name, value FROM tag WHERE job=?1"));
    std::vector<Job> loaded;
    for (;;) {
        DRAY_LET(const bool is_job, jobs.step());
        if (!is_job)
            return loaded;
        std::int64_t id = 0;
        DRAY_LET(Job job, read_job(jobs, id));
        drives.bind(id);
        for (;;) {
            DRAY_LET(const bool is_drive, drives.step());
            if (!is_drive)
                break;
            DRAY_LET(Drive drive, read_drive(drives));
            job.drives.push_back(std::move(drive));
        }
        tags.bind(id);
        for (;;) {
            DRAY_LET(const bool is_tag, tags.step());
            if (!is_tag)
                break;
            job.tags[tags.text(0)] = tags.text(1);
        }
        loaded.push_back(std::move(job));
    }
}

Result<void> Catalog::save(const Job& job) {
    return state_->database.transaction([&]() -> Result<void> {
        DRAY_TRY(state_->put_all(job));
        return {};
    });
}

Result<void> Catalog::save_drive(const Job& job, const Drive& drive) {
    return state_->database.transaction([&]() -> Result<void> {
        DRAY_LET(const std::int64_t id, state_->job_id(job));
        std::int64_t place = 0;
        while (place < static_cast<std::int64_t>(job.drives.size()) &&
               job.drives[static_cast<std::size_t>(place)].serial != drive.serial)
            ++place;
        return state_->put_drive(id, place, drive);
    });
}

Result<void> Catalog::remove(const Job& job) {
    // The copies first: should we die in between, the job is still there to be removed again.
    DRAY_TRY(remove_copies(state_->database.path()));
    DRAY_TRY(state_->database.transaction([&]() -> Result<void> {
        DRAY_LET(Statement drop, state_->database.prepare("DELETE FROM job WHERE folded=?1"));
        const std::string folded = fold_job_name(job.name);
        return drop.bind(folded).run();
    }));
    return state_->database.truncate_log();
}

Result<ClockRecord> Catalog::load_clock() const {
    DRAY_LET(Statement find, state_->database.prepare("SELECT last_seen, held_until, reason FROM clock"));
    DRAY_LET(const bool is_there, find.step());
    if (!is_there)
        return ClockRecord();
    return ClockRecord{from_usec(find.unsigned_number(0)), from_usec(find.unsigned_number(1)), find.text(2)};
}

Result<void> Catalog::save_clock(const ClockRecord& record) {
    DRAY_LET(Statement put, state_->database.prepare("INSERT OR REPLACE INTO clock(only_row, last_seen, held_until, "
                                                     "reason) VALUES(1,?1,?2,?3)"));
    return put.bind(to_usec(record.last_seen)).bind(to_usec(record.held_until)).bind(record.reason).run();
}

Result<void> Catalog::save_with_key(const Job& job, const Drive& drive, const SecretBytes& key) {
    if (state_->master_key.size() != kMasterKeyBytes)
        return fail(ErrorKind::Denied, "the key of drive {} cannot be kept: {}", drive.serial,
                    state_->why_no_key());
    std::vector<std::byte> nonce(kNonceBytes);
    if (RAND_bytes(reinterpret_cast<unsigned char*>(nonce.data()), kNonceBytes) != 1)
        return fail(ErrorKind::Internal, "no random numbers for a nonce");
    DRAY_LET(const std::vector<std::byte> sealed,
             seal(state_->master_key, nonce, bound_to(job, drive), key));
    return state_->database.transaction([&]() -> Result<void> {
        DRAY_LET(const std::int64_t id, state_->put_all(job));
        DRAY_LET(Statement put, state_->database.prepare("INSERT OR REPLACE INTO drive_key(job, serial, nonce, "
                                                         "sealed) VALUES(?1,?2,?3,?4)"));
        return put.bind(id).bind(drive.serial).bind(std::span<const std::byte>(nonce)).bind(sealed).run();
    });
}

Result<SecretBytes> Catalog::read_key(const Job& job, const Drive& drive) const {
    DRAY_LET(const std::int64_t id, state_->job_id(job));
    DRAY_LET(Statement find,
             state_->database.prepare("SELECT nonce, sealed FROM drive_key WHERE job=?1 AND serial=?2"));
    DRAY_LET(const bool is_there, find.bind(id).bind(drive.serial).step());
    if (!is_there)
        return fail(ErrorKind::NotFound, "drive {} has no key", drive.serial);
    const std::vector<std::byte> nonce = find.bytes(0);
    const std::vector<std::byte> sealed = find.bytes(1);
    find.reset();
    if (state_->master_key.size() != kMasterKeyBytes)
        return fail(ErrorKind::Denied, "the key of drive {} cannot be opened: {}", drive.serial,
                    state_->why_no_key());
    Result<SecretBytes> key = unseal(state_->master_key, nonce, bound_to(job, drive), sealed);
    if (!key)
        return fail(std::move(key.error()), "the key of drive {} cannot be opened", drive.serial);
    return key;
}

}  // namespace dray
