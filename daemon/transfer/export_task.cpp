// SPDX-License-Identifier: Apache-2.0
//
// One drive of an export, from the plan to the logs. Each step answers with a Report when it is the last one.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "daemon/base/digest.hpp"
#include "daemon/base/encoding.hpp"
#include "daemon/base/file.hpp"
#include "daemon/format/copy_log.hpp"
#include "daemon/model/drive.hpp"
#include "daemon/transfer/export.hpp"
#include "daemon/transfer/export_plan.hpp"
#include "daemon/transfer/export_selection.hpp"
#include "daemon/transfer/group_access.hpp"
#include "daemon/transfer/reports.hpp"
#include "daemon/transfer/tasks.hpp"

namespace dray::transfer {
namespace {

using format::BlobOutcome;

constexpr const char* kCreator = "dray";
constexpr Bytes kManifestPart = kMiB;
/// Beside the blobs: directories of the file system's own, and the manifest.
constexpr std::uint64_t kOtherInodes = 100;

format::ManifestBlob manifest_blob(const ExportEntry& entry, const ExportOutcome& outcome) {
    format::ManifestBlob blob;
    blob.blob_path = entry.name.path();
    blob.file_path = format::to_manifest_path(entry.path);
    blob.snapshot = entry.name.snapshot;
    blob.length = outcome.length;
    blob.is_page_blob = entry.is_page_blob;
    blob.pieces = outcome.pieces;
    blob.metadata = outcome.metadata;
    blob.properties = outcome.properties;
    return blob;
}

/// The drives of a job take turns.
Result<FileDescriptor> lock_plan(const Task& task) {
    const std::string path = task.plan_directory + "/lock";
    DRAY_LET(FileDescriptor lock, open_file(path, O_RDWR | O_CREAT, kFileMode));
    while (flock(lock.get(), LOCK_EX) != 0)
        if (errno != EINTR)
            return fail_errno(errno, "cannot lock {}", path);
    return lock;
}

Result<std::unique_ptr<ExportPlan>> open_plan(const Task& task) { return ExportPlan::open(task.plan_directory + "/plan.sqlite"); }

class ExportTask {
public:
    ExportTask(const Surroundings& around, drive::Client& drive) : around_(around), task_(around.task), drive_(drive) {}

    Report run() {
        Report report = steps();
        report.volume_id = volume_id_;
        report.manifest = format::to_manifest_path(manifest_name());
        report.manifest_hash = manifest_hash_;
        if (report.counters == Counters())
            report.counters = around_.progress.counters();
        return report;
    }

private:
    using Step = std::optional<Report>;

    std::string manifest_name() const { return drive_component(task_.serial + ".manifest"); }
    std::string state_path() const { return task_.directory + "/fill.state"; }
    std::string spool_path() const { return task_.directory + "/manifest.xml"; }

    Report steps() {
        Result<FileDescriptor> lock = lock_directory(around_);
        if (!lock)
            return faulted(lock.error());
        Result<std::unique_ptr<store::BlobStore>> store = open_store_of(around_);
        if (!store)
            return faulted(store.error());
        store_ = *std::move(store);
        for (const auto step : {&ExportTask::make_journal, &ExportTask::open_drive})
            if (Step end = (this->*step)())
                return *std::move(end);
        return copy();
    }

    // -- the plan

    Step make_journal() {
        around_.progress.phase = "Planning";
        Result<std::unique_ptr<ExportJournal>> known = ExportJournal::open(task_.directory);
        if (!known && known.error().kind() != ErrorKind::NotFound)
            return faulted(known.error());
        if (!known)
            known = plan_journal();
        if (!known && known.error().kind() == ErrorKind::Corrupt)
            return refused("BlobListFormatInvalid", known.error());
        if (!known)
            return known.error().kind() == ErrorKind::Cancelled ? stopped() : faulted(known.error());
        journal_ = *std::move(known);
        const Result<void> ready = know_names();
        return ready ? Step() : Step(faulted(ready.error()));
    }

    Result<std::unique_ptr<ExportJournal>> plan_journal() {
        DRAY_LET(const FileDescriptor lock, lock_plan(task_));
        DRAY_LET(const std::unique_ptr<ExportPlan> plan, open_plan(task_));
        DRAY_LET(const bool is_complete, plan->is_complete());
        if (!is_complete)
            DRAY_TRY(list_into(*plan));
        const std::string drive = fold_serial(task_.serial);
        DRAY_TRY(plan->assign(drive, room_of_drive(task_.drive_size)));
        DriveNames names;
        names.reserve(manifest_name());
        names.reserve("lost+found");
        DRAY_TRY(plan->each_of(drive, [&](const ExportPlan::Blob& blob) -> Result<void> {
            names.expect_directories_of(blob.name);
            return {};
        }));
        return ExportJournal::make(task_.directory, [&](ExportJournal& journal) {
            std::uint64_t index = 0;
            return plan->each_of(drive, [&](const ExportPlan::Blob& blob) -> Result<void> {
                DRAY_LET(std::string path, names.file_of(blob.name));
                return journal.add({index++, blob.name, blob.type == store::BlobType::Page, blob.length, std::move(path)});
            });
        });
    }

    Result<void> list_into(ExportPlan& plan) const {
        DRAY_LET(const format::BlobSelection selection, selection_of(task_, task_.plan_directory, *store_));
        DRAY_TRY(plan.begin());
        DRAY_TRY(find_selected(*store_, selection, around_.control.stop_token(),
                               [&](const store::BlobStatus& blob) { return plan.add(blob); }));
        return plan.end();
    }

    Result<void> know_names() {
        names_.reserve(manifest_name());
        names_.reserve("lost+found");
        DRAY_TRY(journal_->walk(true, [&](const ExportEntry& entry, const std::optional<ExportOutcome>& outcome) -> Result<void> {
            names_.expect_directories_of(entry.name);
            names_.reserve(entry.path);
            for (const auto* side : {outcome ? &outcome->properties : nullptr, outcome ? &outcome->metadata : nullptr})
                if (side != nullptr && *side) {
                    DRAY_LET(const std::string path, format::to_lookup_path((*side)->path));
                    names_.reserve(path);
                }
            return {};
        }));
        DRAY_LET(const ExportJournal::Totals totals, journal_->totals());
        around_.progress.blobs_total = totals.blobs;
        around_.progress.bytes_total = totals.bytes;
        return {};
    }

    // -- the drive

    Step open_drive() {
        around_.progress.phase = "Unlocking";
        Result<FileDescriptor> state = open_file(state_path(), O_RDWR | O_CREAT, kFileMode);
        if (!state)
            return faulted(state.error());
        around_.engine.send(UnlockWanted{store_->identity()});
        if (!around_.control.wait_for_unlock())
            return stopped();
        const bool is_begun = !task_.volume_id.empty();
        Step end = is_begun ? resume(*state) : format(*state);
        around_.engine.send(Unlocked{is_begun || !end ? "luks2" : "", volume_id_, "ext4", ""});
        if (!end)
            drive_.set_patience(kDrivePatience);
        return end;
    }

    Step resume(const FileDescriptor& state) {
        Result<drive::Resumed> resumed = drive_.resume({task_.volume_id}, state.get());
        if (resumed) {
            volume_id_ = resumed->drive.volume_id;
            resumed_ = *std::move(resumed);
            return {};
        }
        const Error& error = resumed.error();
        // It was ended before its first checkpoint, so nothing of it is on the drive yet.
        if (error.kind() == ErrorKind::NotFound || (error.kind() == ErrorKind::Conflict && task_.may_overwrite)) {
            Report report = broken({ErrorKind::Internal, "the drive has to be begun anew"});
            report.status = kBeginAnew;
            return report;
        }
        return failed(error);
    }

    Step format(const FileDescriptor& state) {
        const Result<ExportJournal::Totals> totals = journal_->totals();
        if (!totals)
            return faulted(totals.error());
        drive::Format format;
        format.size = task_.drive_size;
        format.label = task_.serial.substr(0, 16);
        format.inodes = 3 * totals->blobs + names_.directories() + kOtherInodes;
        format.is_key_random = true;
        format.checkpoints = drive::Checkpoints::HeaderFirst;
        format.may_overwrite = task_.may_overwrite;
        Result<drive::Unlocked> made = drive_.format(format, state.get());
        if (!made)
            return failed(made.error());
        volume_id_ = made->volume_id;
        return {};
    }

    // -- the copy

    Report copy() {
        around_.progress.phase = "Transferring";
        CopyEnd end = CopyEnd::Done;
        if (!resumed_ || !resumed_->is_finished) {
            const Result<CopyEnd> copied = copy_blobs();
            if (!copied)
                return failed(copied.error());
            if (*copied == CopyEnd::Stopped)
                return stopped();
            end = *copied;
        }
        around_.progress.phase = "WritingLogs";
        Result<void> finished = write_manifest();
        if (finished && (!resumed_ || !resumed_->is_finished))
            finished = finish_drive();
        if (!finished)
            return failed(finished.error());
        Report report;
        if (Result<void> reported = write_reports(report); !reported)
            return faulted(Error(std::move(reported.error()), "the drive is filled, but its logs cannot be stored"));
        report.ending = end == CopyEnd::Drained ? Ending::Cancelled : Ending::Finished;
        return report;
    }

    Result<CopyEnd> copy_blobs() {
        Export copy({drive_, *store_, *journal_, names_, around_.control, around_.progress, around_.clock, task_.requests,
                     [this](const std::string& sentence) { around_.engine.warn(sentence); }, task_.checkpoint});
        return copy.run(resumed_);
    }

    Result<void> write_manifest() {
        DRAY_LET(FileDescriptor file, open_file(spool_path(), O_RDWR | O_CREAT | O_TRUNC, kFileMode));
        Digest digest(DigestKind::Md5);
        Bytes size = 0;
        format::ManifestWriter writer(
            [&](std::string_view text) -> Result<void> {
                const auto bytes = std::as_bytes(std::span(text));
                digest.update(bytes);
                DRAY_TRY(write_fully(file.get(), size, bytes, spool_path()));
                size += text.size();
                return {};
            },
            task_.serial, "", kCreator);
        DRAY_TRY(journal_->walk(false, [&](const ExportEntry& entry, const std::optional<ExportOutcome>& outcome) -> Result<void> {
            if (!outcome || outcome->outcome != BlobOutcome::Completed)
                return {};
            return writer.blob(manifest_blob(entry, *outcome));
        }));
        DRAY_TRY(writer.finish());
        if (fdatasync(file.get()) != 0)
            return fail_errno(errno, "cannot flush {}", spool_path());
        manifest_hash_ = to_hex(digest.finish());
        manifest_size_ = size;
        return {};
    }

    /// Last, so that a drive that was broken off is never taken for a whole one.
    Result<void> finish_drive() {
        DRAY_LET(const FileDescriptor file, open_file(spool_path(), O_RDONLY));
        constexpr std::uint32_t kFile = 0;
        DRAY_TRY(drive_.call(drive::Create{kFile, manifest_name(), manifest_size_, to_usec(around_.clock.now())}));
        for (Bytes offset = 0; offset < manifest_size_; offset += kManifestPart) {
            const Bytes length = std::min(kManifestPart, manifest_size_ - offset);
            DRAY_TRY(read_fully(file.get(), offset, drive_.ring().first(static_cast<std::size_t>(length)), spool_path()));
            DRAY_TRY(drive_.call(drive::Write{1, kFile, offset, length, 0}));
        }
        DRAY_TRY(drive_.close(kFile));
        return drive_.call(drive::Finish{});
    }

    // -- what is left behind in the store

    Result<void> write_reports(Report& report) {
        const Reports reports(task_, *store_, around_.clock, around_.control.logs());
        DRAY_LET(const Summary summary, reports.write_export_logs(*journal_));
        DRAY_LET(const Spool spool, open_spool(task_.directory));
        DRAY_TRY(reports.deliver(&spool, report));
        DRAY_LET(report.incomplete_list_uri, list_incomplete(reports));
        report.status = summary.status();
        report.message = summary.sentence();
        report.counters = summary.counters;
        return {};
    }

    /// What no drive has taken; a later drive may still. Its URI, or "".
    Result<std::string> list_incomplete(const Reports& reports) {
        DRAY_LET(const FileDescriptor lock, lock_plan(task_));
        DRAY_LET(const std::unique_ptr<ExportPlan> plan, open_plan(task_));
        DRAY_TRY(journal_->walk(false, [&](const ExportEntry& entry, const std::optional<ExportOutcome>& outcome) -> Result<void> {
            return outcome && outcome->has_no_room ? plan->give_back(entry.name) : Result<void>();
        }));
        format::BlobSelection selection;
        DRAY_TRY(plan->each_left([&](const ExportPlan::Blob& blob) -> Result<void> {
            selection.push_back({blob.name.path(), false, blob.name.snapshot});
            return {};
        }));
        if (selection.empty())
            return std::string();
        return reports.put_incomplete_list(format::write_blob_list(selection), task_.plan_directory);
    }

    Report refused(const std::string& status, const Error& error) {
        const Reports reports(task_, *store_, around_.clock, around_.control.logs());
        Report report;
        if (Result<void> written = reports.write_refusal(status); !written)
            return faulted(written.error());
        if (Result<void> delivered = reports.deliver(nullptr, report); !delivered)
            return faulted(delivered.error());
        report.status = status;
        report.message = error.text();
        return report;
    }

    Report failed(const Error& error) const {
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
    std::unique_ptr<store::BlobStore> store_;
    std::unique_ptr<ExportJournal> journal_;
    DriveNames names_;
    std::optional<drive::Resumed> resumed_;
    std::string volume_id_;
    std::string manifest_hash_;
    Bytes manifest_size_ = 0;
};

}  // namespace

Result<Report> abandon_export(const Surroundings& around) {
    const Task& task = around.task;
    DRAY_LET(const FileDescriptor lock, lock_directory(around));
    DRAY_LET(const std::unique_ptr<store::BlobStore> store, open_store_of(around));
    const Reports reports(task, *store, around.clock);
    Report report;
    report.status = task.status;
    const Result<std::unique_ptr<ExportJournal>> journal = ExportJournal::open(task.directory);
    if (!journal && journal.error().kind() != ErrorKind::NotFound)
        return fail(Error(journal.error()));
    if (journal) {
        DRAY_LET(const Summary summary, reports.write_export_logs(**journal));
        report.counters = summary.counters;
        report.message = summary.sentence();
    } else {
        DRAY_TRY(reports.write_refusal(task.status == "Cancelled" ? "CompletedWithErrors" : task.status));
    }
    DRAY_TRY(reports.deliver(nullptr, report));
    // Without a manifest the drive is no use to anybody: all of it is for others.
    DRAY_LET(const FileDescriptor plan_lock, lock_plan(task));
    DRAY_LET(const std::unique_ptr<ExportPlan> plan, open_plan(task));
    DRAY_TRY(plan->give_all_back(fold_serial(task.serial)));
    return report;
}

Report run_export(const Surroundings& around, drive::Client& drive) { return ExportTask(around, drive).run(); }

}  // namespace dray::transfer
