// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/tasks.hpp"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <utility>

#include "daemon/base/digest.hpp"
#include "daemon/base/file.hpp"
#include "daemon/format/copy_log.hpp"
#include "daemon/transfer/group_access.hpp"
#include "daemon/transfer/import.hpp"
#include "daemon/transfer/journal.hpp"
#include "daemon/transfer/reports.hpp"
#include "daemon/transfer/spool.hpp"

namespace dray::transfer {
namespace {

store::StoreAccess access_of(const Surroundings& around) {
    store::StoreAccess access = around.access;
    access.known_identity = around.task.store_identity;
    access.tell = [&around](const std::string& line) {
        around.progress.store_has_told();
        around.engine.warn(line);
    };
    return access;
}

JournalBinding binding_of(const Surroundings& around, const std::string& volume_id, const store::BlobStore& store) {
    JournalBinding binding;
    binding.manifest_hash = around.task.manifest_hash;
    std::ranges::transform(binding.manifest_hash, binding.manifest_hash.begin(),
                           [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    binding.volume_id = volume_id;
    // As given by hand, it may be in either case.
    std::ranges::transform(binding.volume_id, binding.volume_id.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    binding.store = store.identity();
    binding.boot_id = around.boot_id;
    return binding;
}

/// One import from the unlocking to the logs. Each step answers with a Report when it is the last one.
class ImportTask {
public:
    ImportTask(const Surroundings& around, drive::Client& drive)
        : around_(around), task_(around.task), drive_(drive) {}

    Report run() {
        Report report = steps();
        report.volume_id = unlocked_.volume_id;
        if (report.counters == Counters())
            report.counters = around_.progress.counters();
        return report;
    }

private:
    using Step = std::optional<Report>;

    Report steps() {
        Result<FileDescriptor> lock = lock_directory(around_);
        if (!lock)
            return faulted(lock.error());
        // A store that cannot be used is worth knowing before anything is derived and read.
        Result<std::unique_ptr<store::BlobStore>> store = open_store_of(around_);
        if (!store)
            return faulted(store.error());
        store_ = *std::move(store);
        for (const auto step : {&ImportTask::unlock, &ImportTask::take_manifest, &ImportTask::open_journal})
            if (Step end = (this->*step)())
                return *std::move(end);
        return copy();
    }

    Step unlock() {
        around_.engine.send(UnlockWanted{store_->identity()});
        if (!around_.control.wait_for_unlock())
            return stopped();
        std::string status;
        Result<drive::Unlocked> unlocked = drive_.unlock({task_.volume_id, task_.header_hash, task_.partition}, &status);
        if (!unlocked)
            around_.engine.send(Unlocked{});  // the turn is over, whatever came of it
        if (!unlocked && (status.empty() || drive_.is_broken()))
            return broken(unlocked.error());
        if (!unlocked)
            return refused(format::is_drive_failure(status) ? status : "InternalError", unlocked.error());
        drive_.set_patience(kDrivePatience);
        // dray-drive has compared them itself, and so says this only when it is not to be trusted.
        if (unlocked->volume_type != "plain" && !is_expected_volume(unlocked->volume_id))
            return broken({ErrorKind::Internal, "dray-drive opened another volume than the drive is known for"});
        unlocked_ = *std::move(unlocked);
        around_.engine.send(Unlocked{unlocked_.volume_type, unlocked_.volume_id, unlocked_.filesystem,
                                     unlocked_.partition_table});
        if (!unlocked_.notice.empty())
            around_.engine.warn(unlocked_.notice);
        return {};
    }

    bool is_expected_volume(const std::string& id) const {
        const auto same = [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); };
        return task_.volume_id.empty() || std::ranges::equal(task_.volume_id, id, same);
    }

    Step take_manifest() {
        around_.progress.phase = "Verifying";
        auto copied = copy_to_spool(drive_, task_.directory, task_.manifest, task_.manifest_hash);
        if (!copied)
            return ended(copied.error());
        if (!*copied)
            return refused(copied->error().status, copied->error().error);
        spool_ = **std::move(copied);
        const std::expected<manifest::Contents, Refusal> totals = spool_->check(task_.serial);
        if (!totals)
            return refused(totals.error().status, totals.error().error);
        around_.progress.bytes_total = totals->bytes;
        around_.progress.blobs_total = totals->blobs;
        return {};
    }

    Step open_journal() {
        Result<Journal::Opened> opened = Journal::open(
            task_.directory, binding_of(around_, unlocked_.volume_id, *store_), around_.clock);
        if (!opened)
            return faulted(opened.error());
        if (!opened->set_aside.empty())
            around_.engine.warn(opened->set_aside);
        journal_ = std::move(opened->journal);
        return {};
    }

    Report copy() {
        around_.progress.phase = "Transferring";
        Result<CopyEnd> end = fail(ErrorKind::Internal, "the copy has not run");
        {
            Import import({drive_, *store_, *journal_, around_.control, around_.progress, around_.clock,
                           task_.requests, kDrivePatience, kRemovalLimit,
                           [this](const std::string& sentence) { around_.engine.warn(sentence); },
                           unlocked_.sector_size});
            end = import.run(*spool_);
        }
        if (!end)
            return ended(end.error());
        if (*end == CopyEnd::Stopped)
            return stopped();
        if (Result<void> thrown = throw_away_rest(*end == CopyEnd::Drained); !thrown)
            return faulted(thrown.error());
        around_.progress.phase = "WritingLogs";
        const Reports reports(task_, *store_, around_.clock, around_.control.logs());
        Report report;
        Result<Summary> summary = reports.write_logs(*spool_, *journal_, {});
        if (!summary)
            return faulted(summary.error());
        if (Result<void> delivered = reports.deliver(&*spool_, report); !delivered)
            return faulted(Error(std::move(delivered.error()), "the copy is done, but its logs cannot be stored"));
        report.ending = *end == CopyEnd::Drained ? Ending::Cancelled : Ending::Finished;
        report.status = summary->status();
        report.message = with_notice(summary->sentence());
        report.counters = summary->counters;
        return report;
    }

    /// What was put and is no blob: drained before its end, skipped after it was begun, of a journal set aside.
    Result<void> throw_away_rest(bool with_intents) {
        DRAY_LET(const std::vector<Upload> uploads, journal_->uploads(with_intents));
        return throw_away(uploads, *store_);
    }

    /// What the drive is, is a result; a wrong key is the site's to mend (rules.md 2).
    Report refused(const std::string& status, const Error& error) {
        if (drive_.is_broken() || error.kind() == ErrorKind::Gone || error.kind() == ErrorKind::WrongKey)
            return ended(error);
        // A header or a manifest that could not be read may only tell of a disk that is being pulled (rules.md 1).
        if (error.kind() == ErrorKind::Internal && around_.control.is_stopped_within(kRemovalLimit))
            return stopped();
        // An earlier run may have come further, with another manifest or before the drive broke.
        if (Result<void> thrown = throw_away(Journal::uploads_in(task_.directory, store_->identity()), *store_); !thrown)
            return faulted(thrown.error());
        const Reports reports(task_, *store_, around_.clock, around_.control.logs());
        Report report;
        if (Result<void> written = reports.write_refusal(status); !written)
            return faulted(written.error());
        if (Result<void> delivered = reports.deliver(nullptr, report); !delivered)
            return faulted(Error(std::move(delivered.error()), "the drive is refused (" + error.text() +
                                                                   "), and its log cannot be stored"));
        report.ending = Ending::Finished;
        report.status = status;
        report.message = with_notice(error.text());
        return report;
    }

    /// What is odd about the file system may be why.
    std::string with_notice(std::string sentence) const {
        if (!sentence.empty() && !unlocked_.notice.empty())
            sentence += "; " + unlocked_.notice;
        return sentence;
    }

    Report ended(const Error& error) const {
        if (drive_.is_broken())
            return broken(error);
        if (error.kind() != ErrorKind::Gone)
            return faulted(error);
        Report report;
        report.ending = Ending::DeviceGone;
        report.message = error.text();
        return report;
    }

    const Surroundings& around_;
    const Task& task_;
    drive::Client& drive_;
    drive::Unlocked unlocked_;
    std::unique_ptr<store::BlobStore> store_;
    std::optional<Spool> spool_;
    std::unique_ptr<Journal> journal_;
};

/// It is gone, or of a kind that no import of ours could have made.
bool is_not_ours(ErrorKind kind) { return kind == ErrorKind::NotFound || is_about_one_blob(kind); }

/// Whether the store's blob has the content that the manifest says. A hole is none: only whole blobs are looked for here.
Result<bool> has_content(store::BlobStore& store, const BlobName& name, const format::ManifestBlob& blob) {
    std::vector<std::byte> content;
    for (const format::ManifestPiece& piece : blob.pieces) {
        Digest digest(DigestKind::Md5);
        for (Bytes done = 0; done < piece.length; done += content.size()) {
            content.resize(static_cast<std::size_t>(std::min<Bytes>(kMiB, piece.length - done)));
            const Result<void> read = store.read(name, piece.offset + done, content, {}, {});
            if (!read && is_not_ours(read.error().kind()))
                return false;
            if (!read)
                return fail(Error(read.error()));
            digest.update(content);
        }
        if (!std::ranges::equal(digest.finish(), piece.hash))
            return false;
    }
    return true;
}

/// Whether the commit that this intent was for came to be, and nobody has heard of it (rules.md 15).
Result<bool> was_committed(const Intent& intent, std::uint64_t index, const format::ManifestBlob& blob, const Journal& journal,
                           store::BlobStore& store) {
    const Result<BlobName> name = parse_blob_path(intent.name);
    if (!name)
        return false;
    const Result<store::BlobStatus> found = store.stat(*name);
    if (!found && is_not_ours(found.error().kind()))
        return false;
    if (!found)
        return fail(Error(found.error()));
    if (store.tells_uploads())
        return found->upload_id == upload_id(journal, index);
    if (found->length != blob.length || found->modified + kStampSlack < intent.time)
        return false;
    return has_content(store, *name, blob);
}

/// What was published in the last moment is in the store, and the log is to say so.
Result<void> settle_intents(const Spool& spool, Journal& journal, store::BlobStore& store) {
    DRAY_TRY(spool.walk([&](std::uint64_t index, format::ManifestBlob&& blob) -> Result<void> {
        DRAY_LET(const std::optional<BlobRecord> known, journal.blob(index));
        DRAY_LET(const std::optional<Intent> intent, journal.intent(index));
        if (known || !intent)
            return {};
        DRAY_LET(const bool is_ours, was_committed(*intent, index, blob, journal, store));
        if (!is_ours)
            return {};
        BlobRecord record;
        record.index = index;
        record.bytes_succeeded = bytes_of(blob);
        if (intent->name != blob.blob_path) {
            record.name = intent->name;
            record.disposition = format::DispositionOutcome::Renamed;
        } else if (intent->replaces) {
            record.disposition = format::DispositionOutcome::Overwritten;
        }
        journal.record_blob(std::move(record));
        return {};
    }));
    return journal.flush();
}

Result<Report> abandon(const Surroundings& around) {
    const Task& task = around.task;
    if (!task.plan_directory.empty())
        return abandon_export(around);
    DRAY_LET(const FileDescriptor lock, lock_directory(around));
    DRAY_LET(const std::unique_ptr<store::BlobStore> store, open_store_of(around));
    const Reports reports(task, *store, around.clock);
    Report report;
    report.status = task.status;
    // "Cancelled" is no word of the logs: there, what was not copied has errors (6.5).
    const std::string status = task.status == "Cancelled" ? "" : task.status;
    Result<Spool> spool = open_spool(task.directory);
    if (!spool && spool.error().kind() != ErrorKind::NotFound)
        return fail(std::move(spool.error()));
    // A manifest that was never checked through has no blobs to speak of.
    if (!spool || !spool->check(task.serial)) {
        DRAY_TRY(throw_away(Journal::uploads_in(task.directory, store->identity()), *store));
        DRAY_TRY(reports.write_refusal(status.empty() ? "CompletedWithErrors" : status));
        DRAY_TRY(reports.deliver(nullptr, report));
        return report;
    }
    DRAY_LET(Journal::Opened opened,
             Journal::open(task.directory, binding_of(around, task.volume_id, *store), around.clock));
    DRAY_TRY(settle_intents(*spool, *opened.journal, *store));
    DRAY_LET(const std::vector<Upload> uploads, opened.journal->uploads(true));
    DRAY_TRY(throw_away(uploads, *store));
    DRAY_LET(const Summary summary, reports.write_logs(*spool, *opened.journal, status));
    DRAY_TRY(reports.deliver(&*spool, report));
    report.counters = summary.counters;
    report.message = summary.sentence();
    return report;
}

Result<void> throw_one_away(const Upload& upload, const BlobName& name, store::BlobStore& store) {
    store::CreateOptions options;
    options.type = upload.is_page_blob ? store::BlobType::Page : store::BlobType::Block;
    options.upload_id = upload.id;
    options.must_resume = true;
    Result<std::unique_ptr<store::BlobWriter>> writer = store.create(name, options, {});
    if (!writer && writer.error().kind() == ErrorKind::NotFound)
        return {};  // no such upload, or no container, so nothing in it
    if (!writer)
        return fail(std::move(writer.error()));
    return (*writer)->abandon();
}

}  // namespace

// A key that is none is the site's to mend, like one that is refused.
Result<std::unique_ptr<store::BlobStore>> open_store_of(const Surroundings& around) {
    Result<std::unique_ptr<store::BlobStore>> store = store::open_store(around.task.store, access_of(around));
    if (!store && store.error().kind() == ErrorKind::InvalidArgument)
        return fail(ErrorKind::Denied, "{}", store.error().text());
    return store;
}

Report broken(const Error& error) {
    Report report = faulted(error);
    report.kind = ErrorKind::Internal;
    return report;
}

Result<FileDescriptor> lock_directory(const Surroundings& around) {
    const std::string path = around.task.directory + "/lock";
    DRAY_LET(FileDescriptor lock, open_file(path, O_RDWR | O_CREAT, kFileMode));
    if (flock(lock.get(), LOCK_EX | LOCK_NB) == 0)
        return lock;
    around.progress.phase = "WaitingForPreviousCopy";
    around.engine.note("the previous copy has not ended yet; waiting for it");
    while (flock(lock.get(), LOCK_EX) != 0)
        if (errno != EINTR)
            return fail_errno(errno, "cannot lock {}", path);
    around.progress.phase = "Unlocking";
    return lock;
}

Report stopped() {
    Report report;
    report.ending = Ending::Stopped;
    return report;
}

Report faulted(const Error& error) {
    Report report;
    report.ending = Ending::Faulted;
    report.kind = error.kind();
    report.message = error.text();
    return report;
}

Result<void> throw_away(const std::vector<Upload>& uploads, store::BlobStore& store) {
    for (const Upload& upload : uploads) {
        const Result<BlobName> name = parse_blob_path(upload.name);
        if (!name)
            continue;
        const Result<void> thrown = throw_one_away(upload, *name, store);
        // Of what the store does not let us touch there is nothing to be thrown away by us; a store that refuses
        // everything is a fault.
        if (!thrown && !is_about_one_blob(thrown.error().kind()) &&
            !(thrown.error().kind() == ErrorKind::Denied && store.check()))
            return fail(Error(thrown.error()));
    }
    return {};
}

Report run_import(const Surroundings& around, drive::Client& drive) { return ImportTask(around, drive).run(); }

Report run_abandon(const Surroundings& around) {
    const Result<Report> report = abandon(around);
    return report ? *report : faulted(report.error());
}

Report run_check(const Surroundings& around) {
    Result<std::unique_ptr<store::BlobStore>> store = open_store_of(around);
    Result<void> checked = store ? (*store)->check() : fail(Error(store.error()));
    if (!checked)
        return faulted(checked.error());
    Report report;
    report.store_identity = (*store)->identity();
    return report;
}

}  // namespace dray::transfer
