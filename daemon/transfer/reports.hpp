// SPDX-License-Identifier: Apache-2.0
//
// What is left behind in the store about a drive: error log, verbose log, manifest backup
// (azure-import-export.md 3.6 and 6). Written from spool and journal, without the drive.
#pragma once

#include <optional>
#include <string>

#include "daemon/base/clock.hpp"
#include "daemon/base/result.hpp"
#include "daemon/transfer/export_journal.hpp"
#include "daemon/transfer/journal.hpp"
#include "daemon/transfer/protocol.hpp"
#include "daemon/transfer/spool.hpp"
#include "drivers/store/blob_store.hpp"

namespace dray::transfer {

/// How the blobs of a drive have ended, counted while its logs were written.
struct Summary {
    Counters counters;
    std::uint64_t warnings = 0;
    /// Blobs that were never dealt with: their job was cancelled, or their drive is gone.
    std::uint64_t untouched = 0;
    /// Blobs that the store forbids.
    std::uint64_t forbidden = 0;
    /// What cannot be read from the drive.
    Bytes bytes_lost = 0;
    std::uint64_t files_with_losses = 0;
    /// Completed, CompletedWithWarnings or CompletedWithErrors; BlobRequestForbidden where that is so of every blob.
    std::string status() const;
    /// "3 of 120 blobs have errors; the error log names them", or "".
    std::string sentence() const;

private:
    std::string outcome_sentence() const;
};

class Reports {
public:
    /// Everything given must outlive it. `changed`: instead of the task's own wishes.
    Reports(const Task& task, store::BlobStore& store, const Clock& clock, const std::optional<Logs>& changed = {})
        : task_(task),
          store_(store),
          clock_(clock),
          logs_(changed.value_or(Logs{task.is_verbose_log, task.backup_manifest})) {}

    /// Writes the logs into the task's directory, each blob of the manifest with its outcome; what the journal
    /// knows nothing of is Failed with all pieces Cancelled (6.5). `status`: the drive's, or "" to let the
    /// blobs say.
    Result<Summary> write_logs(const Spool& spool, Journal& journal, const std::string& status) const;
    /// The same for an export, of the blobs that have ended; those without room are in no log.
    Result<Summary> write_export_logs(const ExportJournal& journal) const;
    /// Puts a list of what did not fit into the store under the job's one name for it; answers its URI. `plan`: the directory
    /// that the job's drives share.
    Result<std::string> put_incomplete_list(const std::string& xml, const std::string& plan) const;
    /// A log without blobs, for a drive that failed as a whole.
    Result<void> write_refusal(const std::string& status) const;

    /// Puts what was written into the store, and the manifest where that is wanted and `spool` is not null, and fills
    /// the URIs of `report`. Delivered again after a crash, the logs keep their names. An error is the store's.
    Result<void> deliver(const Spool* spool, Report& report) const;

private:
    Result<std::string> stamp() const;
    Result<std::string> stamp_in(const std::string& directory) const;
    Result<std::string> put(const std::string& stamp, const std::string& kind, int fd, Bytes size) const;
    Result<std::string> put_at(const std::string& path, int fd, Bytes size) const;
    Result<std::string> put_file(const std::string& stamp, const std::string& kind) const;
    std::string path_of(const std::string& kind) const { return task_.directory + "/" + kind + ".xml"; }

    const Task& task_;
    store::BlobStore& store_;
    const Clock& clock_;
    Logs logs_;
};

}  // namespace dray::transfer
