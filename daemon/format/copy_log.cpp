// SPDX-License-Identifier: Apache-2.0
#include "daemon/format/copy_log.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "daemon/base/encoding.hpp"
#include "daemon/format/xml_text.hpp"

namespace dray::format {

namespace {

constexpr auto kBlobWords = std::to_array<std::string_view>(
    {"Completed", "CompletedWithErrors", "FileNameInvalid", "FileNameTooLong", "FileNotFound",
     "FileAccessDenied", "BlobRequestFailed", "BlobRequestForbidden", "RenameFailed", "BlobUnexpectedChange",
     "LeasePresent", "IOFailed", "Failed"});

constexpr auto kDispositionWords =
    std::to_array<std::string_view>({"Created", "Renamed", "Skipped", "Overwritten", "Cancelled"});

constexpr auto kPieceWords = std::to_array<std::string_view>(
    {"Completed", "Committed", "Uncommitted", "Corrupted", "FileUnexpectedEnd", "BlobUnexpectedEnd",
     "BlobRequestFailed", "IOFailed", "Failed", "Cancelled"});

constexpr auto kSideFileWords = std::to_array<std::string_view>(
    {"Completed", "FileNameInvalid", "FileNameTooLong", "FileNotFound", "FileAccessDenied", "Corrupted",
     "XmlReadFailed", "XmlWriteFailed", "BlobRequestFailed", "IOFailed", "Failed", "Cancelled"});

static_assert(kBlobWords.size() == static_cast<std::size_t>(BlobOutcome::Failed) + 1);
static_assert(kDispositionWords.size() == static_cast<std::size_t>(DispositionOutcome::Cancelled) + 1);
static_assert(kPieceWords.size() == static_cast<std::size_t>(PieceOutcome::Cancelled) + 1);
static_assert(kSideFileWords.size() == static_cast<std::size_t>(SideFileOutcome::Cancelled) + 1);

template <typename Outcome>
Outcome outcome_of(std::span<const std::string_view> words, std::string_view word, Outcome otherwise) {
    const auto found = std::ranges::find(words, word);
    return found == words.end() ? otherwise : static_cast<Outcome>(found - words.begin());
}

/// The error log names what a repair has to bring: a block that is in the blob is not among it.
bool is_failure(PieceOutcome outcome) {
    return outcome != PieceOutcome::Completed && outcome != PieceOutcome::Committed;
}

bool is_whole_failure(BlobOutcome outcome) {
    return outcome != BlobOutcome::Completed && outcome != BlobOutcome::CompletedWithErrors;
}

PieceOutcome outcome_of_piece(const LogBlob& entry, std::size_t i) {
    if (!entry.pieces.empty())
        return entry.pieces[i];
    return is_whole_failure(entry.outcome) ? PieceOutcome::Cancelled : PieceOutcome::Completed;
}

/// Whether the error log has a line for this blob at all.
bool is_worth_mention(const LogBlob& entry) {
    if (entry.outcome != BlobOutcome::Completed || entry.disposition != DispositionOutcome::Created)
        return true;
    if (entry.metadata.value_or(SideFileOutcome::Completed) != SideFileOutcome::Completed ||
        entry.properties.value_or(SideFileOutcome::Completed) != SideFileOutcome::Completed)
        return true;
    return std::ranges::any_of(entry.pieces, is_failure);
}

std::string line_of_piece(const ManifestBlob& blob, const ManifestPiece& piece, PieceOutcome outcome) {
    const std::string id = piece.id.empty() ? std::string() : fmt::format(" Id=\"{}\"", escape_xml(piece.id));
    return fmt::format("      <{} Offset=\"{}\" Length=\"{}\"{} Hash=\"{}\" Status=\"{}\"/>\n",
                       blob.is_page_blob ? "PageRange" : "Block", piece.offset, piece.length, id,
                       to_hex(piece.hash), to_string(outcome));
}

std::string lines_of_side_file(std::string_view name, const SideFile& file, SideFileOutcome outcome) {
    const std::string_view path = file.is_shared ? "GlobalPath" : "Path";
    return fmt::format("    <{} Status=\"{}\">\n      <{} Hash=\"{}\">{}</{}>\n    </{}>\n", name,
                       to_string(outcome), path, to_hex(file.hash), escape_xml(file.path), path, name);
}

std::string line(std::string_view name, std::string_view text) {
    return fmt::format("    <{}>{}</{}>\n", name, escape_xml(text), name);
}

}  // namespace

std::string_view to_string(BlobOutcome outcome) { return kBlobWords.at(static_cast<std::size_t>(outcome)); }
std::string_view to_string(DispositionOutcome outcome) {
    return kDispositionWords.at(static_cast<std::size_t>(outcome));
}
std::string_view to_string(PieceOutcome outcome) { return kPieceWords.at(static_cast<std::size_t>(outcome)); }
std::string_view to_string(SideFileOutcome outcome) {
    return kSideFileWords.at(static_cast<std::size_t>(outcome));
}

BlobOutcome blob_outcome(std::string_view word) { return outcome_of(kBlobWords, word, BlobOutcome::Failed); }
DispositionOutcome disposition_outcome(std::string_view word) {
    return outcome_of(kDispositionWords, word, DispositionOutcome::Cancelled);
}
PieceOutcome piece_outcome(std::string_view word) { return outcome_of(kPieceWords, word, PieceOutcome::Failed); }
SideFileOutcome side_file_outcome(std::string_view word) {
    return outcome_of(kSideFileWords, word, SideFileOutcome::Failed);
}

bool is_drive_failure(std::string_view status) {
    constexpr auto kWords = std::to_array<std::string_view>(
        {"DiskNotFound", "VolumeNotNtfs", "DiskOperationFailed", "BitLockerVolumeNotFound", "BitLockerNotActivated",
         "BitLockerProtectorNotFound", "BitLockerKeyInvalid", "BitLockerUnlockVolumeFailed", "BitLockerFailed",
         "ManifestNameInvalid", "ManifestNameTooLong", "ManifestNotFound", "ManifestAccessDenied",
         "ManifestCorrupted", "ManifestFormatInvalid", "ManifestDriveIdMismatch", "ReadManifestFailed",
         "BlobListFormatInvalid", "BlobRequestForbidden", "InternalError"});
    return std::ranges::find(kWords, status) != kWords.end();
}

CopyLogWriter::CopyLogWriter(Sink sink, std::string_view drive_id, bool is_verbose)
    : sink_(std::move(sink)), is_verbose_(is_verbose), drive_id_(drive_id) {}

Result<void> CopyLogWriter::open() {
    if (std::exchange(is_open_, true))
        return {};
    return sink_(fmt::format("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<DriveLog Version=\"2014-11-01\">\n"
                             "  <DriveId>{}</DriveId>\n",
                             escape_xml(drive_id_)));
}

Result<void> CopyLogWriter::pieces(const LogBlob& entry) {
    constexpr std::size_t kBuffer = 64 * kKiB;
    const ManifestBlob& blob = *entry.blob;
    const std::string_view list = blob.is_page_blob ? "PageRangeList" : "BlockList";
    // Of a blob that was left alone nothing was read, so there is nothing to say of its pieces.
    if (entry.disposition == DispositionOutcome::Skipped && entry.pieces.empty())
        return {};
    std::string text;
    const std::string head = fmt::format("    <{}>\n", list);
    bool is_begun = is_verbose_;
    if (is_begun)
        text = head;
    for (std::size_t i = 0; i < blob.pieces.size(); ++i) {
        const PieceOutcome outcome = outcome_of_piece(entry, i);
        if (!is_verbose_ && !is_failure(outcome))
            continue;
        if (!std::exchange(is_begun, true))
            text = head;
        text += line_of_piece(blob, blob.pieces[i], outcome);
        if (text.size() >= kBuffer)
            DRAY_TRY(sink_(std::exchange(text, {})));
    }
    if (is_begun)
        text += fmt::format("    </{}>\n", list);
    return text.empty() ? Result<void>() : sink_(text);
}

Result<void> CopyLogWriter::blob(const LogBlob& entry) {
    if (entry.blob == nullptr || (!entry.pieces.empty() && entry.pieces.size() != entry.blob->pieces.size()))
        return fail(ErrorKind::Internal, "copy log: blob \"{}\" has {} outcomes of pieces, not {}",
                    shown(entry.blob_path), entry.pieces.size(),
                    entry.blob == nullptr ? 0 : entry.blob->pieces.size());
    DRAY_TRY(open());
    if (!is_verbose_ && !is_worth_mention(entry))
        return {};
    const ManifestBlob& blob = *entry.blob;
    std::string text = fmt::format("  <Blob Status=\"{}\">\n", to_string(entry.outcome));
    text += line("BlobPath", entry.blob_path);
    text += line("FilePath", blob.file_path);
    if (!blob.snapshot.empty())
        text += line("Snapshot", blob.snapshot);
    text += fmt::format("    <Length>{}</Length>\n", blob.length);
    if (entry.modified)
        text += line("LastModified", format_utc(*entry.modified));
    else
        text += fmt::format("    <ImportDisposition Status=\"{}\">{}</ImportDisposition>\n",
                            to_string(entry.disposition), to_string(blob.disposition));
    for (const LostRange& range : entry.lost)
        text += fmt::format("    <!-- lost{}: Offset=\"{}\" Length=\"{}\" -->\n", range.is_exact ? "" : ", at most",
                            range.offset, range.length);
    DRAY_TRY(sink_(text));
    DRAY_TRY(pieces(entry));
    // Nobody came as far as the side files of a blob that failed before.
    std::optional<SideFileOutcome> otherwise;
    if (is_whole_failure(entry.outcome))
        otherwise = SideFileOutcome::Cancelled;
    DRAY_TRY(side_file("Metadata", blob.metadata, entry.metadata ? entry.metadata : otherwise));
    DRAY_TRY(side_file("Properties", blob.properties, entry.properties ? entry.properties : otherwise));
    return sink_("  </Blob>\n");
}

Result<void> CopyLogWriter::side_file(std::string_view name, const std::optional<SideFile>& file,
                                      std::optional<SideFileOutcome> outcome) {
    if (!file || !outcome || (!is_verbose_ && *outcome == SideFileOutcome::Completed))
        return {};
    return sink_(lines_of_side_file(name, *file, *outcome));
}

Result<void> CopyLogWriter::finish(std::string_view status) {
    DRAY_TRY(open());
    return sink_(fmt::format("  <Status>{}</Status>\n</DriveLog>\n", escape_xml(status)));
}

}  // namespace dray::format
