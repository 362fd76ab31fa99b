// SPDX-License-Identifier: Apache-2.0
//
// The copy logs of azure-import-export.md 6, format 2014-11-01: written blob by blob in document order.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"
#include "daemon/format/drive_manifest.hpp"

namespace dray::format {

/// Words of 6.4.
enum class BlobOutcome {
    Completed,
    CompletedWithErrors,
    FileNameInvalid,
    FileNameTooLong,
    FileNotFound,
    FileAccessDenied,
    BlobRequestFailed,
    BlobRequestForbidden,
    RenameFailed,
    BlobUnexpectedChange,
    LeasePresent,
    IOFailed,
    Failed
};
enum class DispositionOutcome { Created, Renamed, Skipped, Overwritten, Cancelled };
enum class PieceOutcome {
    Completed,
    Committed,
    Uncommitted,
    Corrupted,
    FileUnexpectedEnd,
    BlobUnexpectedEnd,
    BlobRequestFailed,
    IOFailed,
    Failed,
    Cancelled
};
enum class SideFileOutcome {
    Completed,
    FileNameInvalid,
    FileNameTooLong,
    FileNotFound,
    FileAccessDenied,
    Corrupted,
    XmlReadFailed,
    XmlWriteFailed,
    BlobRequestFailed,
    IOFailed,
    Failed,
    Cancelled
};
std::string_view to_string(BlobOutcome outcome);
std::string_view to_string(DispositionOutcome outcome);
std::string_view to_string(PieceOutcome outcome);
std::string_view to_string(SideFileOutcome outcome);
// What a log says; a word that is not known is Failed, and Cancelled for a disposition.
BlobOutcome blob_outcome(std::string_view word);
DispositionOutcome disposition_outcome(std::string_view word);
PieceOutcome piece_outcome(std::string_view word);
SideFileOutcome side_file_outcome(std::string_view word);

/// Whether it is a word of 6.3 for a drive that failed as a whole. Words that come from dray-drive are looked at:
/// none of them may say that all is well.
bool is_drive_failure(std::string_view status);

/// Bytes of a file that could not be read. The format has no place for them: the logs say them in comments.
struct LostRange {
    Bytes offset = 0;
    Bytes length = 0;
    /// Each of them was tried by itself; else they lie in what could not be read as a whole.
    bool is_exact = true;
    bool operator==(const LostRange&) const = default;
};

/// One blob's line in a log.
struct LogBlob {
    const ManifestBlob* blob = nullptr;
    /// The final name, a renamed one included.
    std::string blob_path;
    BlobOutcome outcome = BlobOutcome::Completed;
    DispositionOutcome disposition = DispositionOutcome::Created;
    /// Of an export: when the blob was changed last; it has no disposition.
    std::optional<TimePoint> modified;
    /// One per piece of the manifest. Empty means all Completed; all Cancelled where the outcome is
    /// neither Completed nor CompletedWithErrors; and none at all where the blob was Skipped.
    std::vector<PieceOutcome> pieces;
    std::vector<LostRange> lost;
    /// Where the manifest names a file and nothing is said here: Cancelled if the outcome is neither Completed nor
    /// CompletedWithErrors, else left out.
    std::optional<SideFileOutcome> metadata;
    std::optional<SideFileOutcome> properties;
};

class CopyLogWriter {
public:
    using Sink = std::function<Result<void>(std::string_view)>;
    /// Verbose: every blob and piece. Otherwise the error log of 6.1: successes left out, but Renamed,
    /// Skipped and Overwritten kept without pieces.
    CopyLogWriter(Sink sink, std::string_view drive_id, bool is_verbose);
    Result<void> blob(const LogBlob& entry);
    /// `status`: word of 6.3.
    Result<void> finish(std::string_view status);

private:
    Result<void> open();
    Result<void> pieces(const LogBlob& entry);
    Result<void> side_file(std::string_view name, const std::optional<SideFile>& file,
                           std::optional<SideFileOutcome> outcome);
    Sink sink_;
    bool is_verbose_;
    std::string drive_id_;
    bool is_open_ = false;
};

}  // namespace dray::format
