// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/reports.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <optional>
#include <utility>
#include <vector>

#include "daemon/base/digest.hpp"
#include "daemon/base/encoding.hpp"
#include "daemon/base/file.hpp"
#include "daemon/format/copy_log.hpp"
#include "daemon/transfer/group_access.hpp"

namespace dray::transfer {
namespace {

using format::BlobOutcome;
using format::DispositionOutcome;

constexpr Bytes kPiece = 4 * kMiB;
constexpr const char* kStampFile = "/stamp";
constexpr const char* kErrorLog = "error";
constexpr const char* kVerboseLog = "verbose";
constexpr const char* kBackup = "manifest";

/// A log on its way into a file.
class LogFile {
public:
    static Result<LogFile> create(const std::string& path) {
        LogFile log;
        log.path_ = path;
        DRAY_LET(log.file_, open_file(path, O_WRONLY | O_CREAT | O_TRUNC, kFileMode));
        return log;
    }
    Result<void> write(std::string_view text) {
        buffer_ += text;
        return buffer_.size() < kMiB ? Result<void>() : flush();
    }
    Result<void> finish() {
        DRAY_TRY(flush());
        if (fdatasync(file_.get()) != 0)
            return fail_errno(errno, "cannot flush {}", path_);
        return file_.close();
    }

private:
    Result<void> flush() {
        DRAY_TRY(write_fully(file_.get(), offset_, std::as_bytes(std::span(buffer_)), path_));
        offset_ += buffer_.size();
        buffer_.clear();
        return {};
    }

    std::string path_;
    FileDescriptor file_;
    std::string buffer_;
    Bytes offset_ = 0;
};

/// "20130921-034307-902", UTC.
std::string stamp_of(TimePoint time) {
    const std::uint64_t usec = to_usec(time);
    const auto seconds = static_cast<std::time_t>(usec / 1'000'000);
    std::tm utc{};
    (void)gmtime_r(&seconds, &utc);  // fails for years beyond an int only
    std::array<char, 32> text{};
    (void)std::strftime(text.data(), text.size(), "%Y%m%d-%H%M%S", &utc);
    return fmt::format("{}-{:03}", text.data(), usec / 1000 % 1000);
}

/// What a blob looks like that nobody has dealt with (6.5).
BlobRecord untouched(std::uint64_t index) {
    BlobRecord record;
    record.index = index;
    record.outcome = BlobOutcome::Failed;
    record.disposition = DispositionOutcome::Cancelled;
    return record;
}

}  // namespace

std::string Summary::status() const {
    if (forbidden > 0 && forbidden == counters.blobs_total)
        return "BlobRequestForbidden";
    if (counters.blobs_failed > 0)
        return "CompletedWithErrors";
    return warnings > 0 ? "CompletedWithWarnings" : "Completed";
}

std::string Summary::sentence() const {
    std::string text = outcome_sentence();
    if (files_with_losses > 0)
        text += fmt::format("; {} bytes of {} {} cannot be read from the drive", bytes_lost, files_with_losses,
                            files_with_losses == 1 ? "file" : "files");
    return text;
}

std::string Summary::outcome_sentence() const {
    if (forbidden > 0 && forbidden == counters.blobs_total)
        return "the store forbids every blob of this drive; see to the rights of its containers";
    if (untouched > 0)
        return fmt::format("{} of {} blobs were not copied and {} have errors; the error log names them", untouched,
                           counters.blobs_total, counters.blobs_failed - untouched);
    if (counters.blobs_failed > 0)
        return fmt::format("{} of {} blobs have errors; the error log names them", counters.blobs_failed,
                           counters.blobs_total);
    if (warnings > 0)
        return fmt::format("{} of {} blobs were renamed, skipped or overwritten; the error log names them", warnings,
                           counters.blobs_total);
    return {};
}

Result<Summary> Reports::write_logs(const Spool& spool, Journal& journal, const std::string& status) const {
    DRAY_LET(LogFile error_log, LogFile::create(path_of(kErrorLog)));
    std::optional<LogFile> verbose_log;
    if (logs_.is_verbose) {
        DRAY_LET(verbose_log, LogFile::create(path_of(kVerboseLog)));
    }
    format::CopyLogWriter errors([&](std::string_view text) { return error_log.write(text); }, task_.serial, false);
    format::CopyLogWriter all(
        [&](std::string_view text) { return verbose_log ? verbose_log->write(text) : Result<void>(); }, task_.serial,
        true);
    Summary summary;
    const Spool::Visit visit = [&](std::uint64_t index, format::ManifestBlob&& blob) -> Result<void> {
        DRAY_LET(const std::optional<BlobRecord> known, journal.blob(index));
        const BlobRecord record = known ? *known : untouched(index);
        const Bytes bytes = bytes_of(blob);
        Counters& counters = summary.counters;
        counters.bytes_total += bytes;
        counters.blobs_total += 1;
        counters.bytes_done += known ? bytes : 0;
        counters.blobs_done += known ? 1 : 0;
        counters.bytes_succeeded += record.bytes_succeeded;
        counters.blobs_failed += record.outcome == BlobOutcome::Completed ? 0 : 1;
        summary.untouched += known ? 0 : 1;
        summary.forbidden += record.outcome == BlobOutcome::BlobRequestForbidden ? 1 : 0;
        if (record.outcome == BlobOutcome::Completed && record.disposition != DispositionOutcome::Created)
            ++summary.warnings;
        format::LogBlob entry;
        entry.blob = &blob;
        entry.blob_path = record.name.empty() ? blob.blob_path : record.name;
        entry.outcome = record.outcome;
        entry.disposition = record.disposition;
        entry.pieces = record.pieces;
        entry.lost = record.lost;
        for (const format::LostRange& range : record.lost)
            summary.bytes_lost += range.length;
        summary.files_with_losses += record.lost.empty() ? 0 : 1;
        entry.metadata = record.metadata;
        entry.properties = record.properties;
        DRAY_TRY(errors.blob(entry));
        return verbose_log ? all.blob(entry) : Result<void>();
    };
    DRAY_TRY(spool.walk(visit));
    const std::string word = status.empty() ? summary.status() : status;
    DRAY_TRY(errors.finish(word));
    DRAY_TRY(error_log.finish());
    if (verbose_log) {
        DRAY_TRY(all.finish(word));
        DRAY_TRY(verbose_log->finish());
    }
    return summary;
}

Result<Summary> Reports::write_export_logs(const ExportJournal& journal) const {
    DRAY_LET(LogFile error_log, LogFile::create(path_of(kErrorLog)));
    DRAY_LET(LogFile verbose_log, LogFile::create(path_of(kVerboseLog)));
    format::CopyLogWriter errors([&](std::string_view text) { return error_log.write(text); }, task_.serial, false);
    format::CopyLogWriter all([&](std::string_view text) { return verbose_log.write(text); }, task_.serial, true);
    Summary summary;
    const ExportJournal::Visit visit = [&](const ExportEntry& entry, const std::optional<ExportOutcome>& known) -> Result<void> {
        if (known && known->has_no_room)
            return {};
        Counters& counters = summary.counters;
        const Bytes bytes = known ? known->length : entry.length;
        const bool is_good = known && known->outcome == BlobOutcome::Completed;
        counters.bytes_total += bytes;
        counters.blobs_total += 1;
        counters.bytes_done += known ? bytes : 0;
        counters.blobs_done += known ? 1 : 0;
        counters.bytes_succeeded += is_good ? bytes : 0;
        counters.blobs_failed += is_good ? 0 : 1;
        summary.untouched += known ? 0 : 1;
        summary.forbidden += known && known->outcome == BlobOutcome::BlobRequestForbidden ? 1 : 0;
        format::ManifestBlob blob;
        blob.file_path = format::to_manifest_path(entry.path);
        blob.snapshot = entry.name.snapshot;
        blob.length = bytes;
        blob.is_page_blob = entry.is_page_blob;
        if (known) {
            blob.pieces = known->pieces;
            blob.metadata = known->metadata;
            blob.properties = known->properties;
        }
        format::LogBlob line;
        line.blob = &blob;
        line.blob_path = entry.name.path();
        line.outcome = known ? known->outcome : BlobOutcome::Failed;
        line.modified = known ? known->modified : TimePoint();
        if (is_good) {
            line.metadata = format::SideFileOutcome::Completed;
            line.properties = format::SideFileOutcome::Completed;
        }
        DRAY_TRY(errors.blob(line));
        return all.blob(line);
    };
    DRAY_TRY(journal.walk(true, visit));
    DRAY_TRY(errors.finish(summary.status()));
    DRAY_TRY(all.finish(summary.status()));
    DRAY_TRY(error_log.finish());
    DRAY_TRY(verbose_log.finish());
    return summary;
}

Result<std::string> Reports::put_incomplete_list(const std::string& xml, const std::string& plan) const {
    DRAY_LET(const std::string stamp, stamp_in(plan));
    const std::string path = plan + "/incomplete.xml";
    DRAY_TRY(write_file_atomically(path, std::as_bytes(std::span(xml)), kFileMode));
    DRAY_LET(const FileDescriptor file, open_file(path, O_RDONLY));
    return put_at(fmt::format("{}/waies/{}_{}_incomplete.xml", task_.diagnostics_path, task_.job, stamp), file.get(), xml.size());
}

Result<void> Reports::write_refusal(const std::string& status) const {
    for (const char* kind : {kErrorLog, kVerboseLog}) {
        if (kind == kVerboseLog && !logs_.is_verbose)
            continue;
        DRAY_LET(LogFile log, LogFile::create(path_of(kind)));
        format::CopyLogWriter writer([&](std::string_view text) { return log.write(text); }, task_.serial, false);
        DRAY_TRY(writer.finish(status));
        DRAY_TRY(log.finish());
    }
    return {};
}

// Kept beside the logs, so that a second delivery replaces the first instead of standing beside it.
Result<std::string> Reports::stamp() const { return stamp_in(task_.directory); }

Result<std::string> Reports::stamp_in(const std::string& directory) const {
    const std::string path = directory + kStampFile;
    if (Result<std::string> known = read_file(path, 64); known && !known->empty())
        return known;
    std::string made = stamp_of(clock_.now());
    DRAY_TRY(write_file_atomically(path, std::as_bytes(std::span(made)), kFileMode));
    return made;
}

Result<std::string> Reports::put(const std::string& stamp, const std::string& kind, int fd, Bytes size) const {
    return put_at(fmt::format("{}/waies/{}_{}_{}_{}.xml", task_.diagnostics_path, task_.job, task_.serial, stamp, kind), fd, size);
}

Result<std::string> Reports::put_at(const std::string& path, int fd, Bytes size) const {
    DRAY_LET(const BlobName name, parse_blob_path(path));
    DRAY_TRY(store_.ensure_container(name.container));
    store::CreateOptions options;
    options.length = size;
    options.replace = true;
    options.upload_id = to_hex(md5(std::as_bytes(std::span(path))));
    store::BlobProperties properties;
    properties.content_type = "application/xml";
    DRAY_LET(const std::unique_ptr<store::BlobWriter> writer, store_.create(name, options, {}));
    std::vector<store::Piece> pieces;
    std::vector<std::byte> content;
    for (Bytes offset = 0; offset < size; offset += content.size()) {
        content.resize(static_cast<std::size_t>(std::min(kPiece, size - offset)));
        DRAY_TRY(read_fully(fd, offset, content, path));
        store::Piece piece;
        piece.offset = offset;
        piece.length = content.size();
        piece.md5 = md5(content);
        // Ids of equal length, in the order of the pieces.
        const std::string number = fmt::format("{:08}", pieces.size());
        piece.id = to_base64(std::as_bytes(std::span(number)));
        piece.content = content;
        DRAY_TRY(writer->put(piece));
        piece.content = {};
        pieces.push_back(std::move(piece));
    }
    DRAY_TRY(writer->finish(pieces, properties, {}));
    return store_.uri(name);
}

Result<std::string> Reports::put_file(const std::string& stamp, const std::string& kind) const {
    DRAY_LET(const FileDescriptor file, open_file(path_of(kind), O_RDONLY));
    struct stat status {};
    if (fstat(file.get(), &status) != 0)
        return fail_errno(errno, "cannot look at {}", path_of(kind));
    return put(stamp, kind, file.get(), static_cast<Bytes>(status.st_size));
}

Result<void> Reports::deliver(const Spool* spool, Report& report) const {
    DRAY_LET(const std::string name, stamp());
    DRAY_LET(report.error_log_uri, put_file(name, kErrorLog));
    if (logs_.is_verbose) {
        DRAY_LET(report.verbose_log_uri, put_file(name, kVerboseLog));
    }
    if (logs_.backup_manifest && spool != nullptr) {
        DRAY_LET(report.manifest_uri, put(name, kBackup, spool->fd(), spool->size()));
    }
    return store_.sync();
}

}  // namespace dray::transfer
