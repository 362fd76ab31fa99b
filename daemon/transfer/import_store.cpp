// SPDX-License-Identifier: Apache-2.0
//
// Import's way to the store: verified pieces go to lanes, whole blobs are published, outcomes are recorded.
#include <algorithm>
#include <utility>

#include "daemon/transfer/import.hpp"

namespace dray::transfer {
namespace {

using format::BlobOutcome;
using format::DispositionOutcome;
using format::PieceOutcome;
using format::SideFileOutcome;

BlobOutcome outcome_of_open(ErrorKind kind) {
    switch (kind) {
        case ErrorKind::NotFound: return BlobOutcome::FileNotFound;
        case ErrorKind::Denied:
        case ErrorKind::Unsupported: return BlobOutcome::FileAccessDenied;
        case ErrorKind::InvalidArgument: return BlobOutcome::FileNameInvalid;
        case ErrorKind::LimitReached: return BlobOutcome::FileNameTooLong;
        default: return BlobOutcome::IOFailed;
    }
}

/// Failures of the store that the site can mend and that would meet every other blob too (rules.md 2).
bool ends_the_copy(ErrorKind kind) {
    switch (kind) {
        case ErrorKind::NoSpace:
        case ErrorKind::Denied:
        case ErrorKind::Unreachable:
        case ErrorKind::Busy:
        case ErrorKind::NotFound:
        case ErrorKind::Cancelled: return true;
        default: return false;
    }
}

}  // namespace

void Import::put_part(const Part& part) {
    BlobWork& work = *part.work;
    store::Piece piece;
    const format::ManifestPiece& wanted = work.blob.pieces[part.piece];
    const std::span<const std::byte> content = drive_.ring().subspan(part.ring_offset, part.length);
    piece.offset = part.offset;
    piece.length = part.length;
    piece.id = wanted.id;
    piece.md5 = part.is_first && part.is_last ? wanted.hash : md5(content);
    piece.content = content;
    lanes_.add([this, part, piece, writer = work.writer.get()]() -> Lanes::Conclusion {
        Result<void> result = writer->put(piece);
        return [this, part, result = std::move(result)] {
            BlobWork& done = *part.work;
            ring_.give_back(part.ring_offset);
            --done.outstanding;
            if (result) {
                // Parts of a piece are put side by side: it is there when the last of them is, whichever that is.
                if (const auto left = done.parts_left.find(part.piece); left != done.parts_left.end()) {
                    if (--left->second > 0)
                        return;
                    done.parts_left.erase(left);
                }
                if (done.pieces[part.piece])
                    return;
                piece_done(done, part.piece, PieceOutcome::Completed);
                journal_.record_piece(done.index, part.piece);
            } else if (!result && result.error().kind() == ErrorKind::Corrupt) {
                piece_done(done, part.piece, PieceOutcome::Corrupted);
            } else if (!result) {
                store_failed(done, result.error());
                if (!fault_)
                    piece_done(done, part.piece, PieceOutcome::BlobRequestFailed);
            }
        };
    });
}

void Import::piece_done(BlobWork& work, std::size_t piece, PieceOutcome outcome) {
    if (work.pieces[piece] && *work.pieces[piece] != PieceOutcome::Completed)
        return;  // the first mishap is the one that is told
    const bool is_new = !work.pieces[piece];
    work.pieces[piece] = outcome;
    const Bytes length = work.blob.pieces[piece].length;
    if (is_new)
        count(work, length);
    if (outcome == PieceOutcome::Completed)
        succeed(work, length);
}

// A small blob, or an empty one: one request in all. The lane tries names until one is free.
void Import::put_whole(BlobWork& work, std::optional<Part> part) {
    store::Piece piece;
    if (part) {
        const format::ManifestPiece& wanted = work.blob.pieces.front();
        piece.length = part->length;
        piece.id = wanted.id;
        piece.md5 = wanted.hash;
        piece.content = drive_.ring().subspan(part->ring_offset, part->length);
    }
    if (!part)
        ++work.outstanding;
    work.is_finishing = true;
    lanes_.add([this, &work, part, piece]() -> Lanes::Conclusion {
        bool has_replaced = false;
        const auto attempt = [&]() -> Result<void> {
            if (work.blob.disposition == format::Disposition::Overwrite)
                has_replaced = store_.stat(work.name).has_value();
            DRAY_TRY(journal_.record_intent(work.index, work.name.path(), has_replaced));
            return store_.put_whole(work.name, create_options(work), piece, work.properties, work.metadata,
                                    control_.stop_token());
        };
        Result<void> result = attempt();
        const BlobName first = work.name;
        for (unsigned n = 2; !result && result.error().kind() == ErrorKind::Exists &&
                             work.blob.disposition == format::Disposition::Rename;
             ++n) {
            Result<BlobName> next = renamed(first, n);
            if (!next)
                break;
            work.name = *std::move(next);
            result = attempt();
        }
        return [this, &work, part, has_replaced, result = std::move(result)] {
            if (part)
                ring_.give_back(part->ring_offset);
            --work.outstanding;
            work.is_finishing = false;
            if (!result && result.error().kind() == ErrorKind::Corrupt) {
                if (part)
                    piece_done(work, part->piece, PieceOutcome::Corrupted);
                return;
            }
            if (!result && result.error().kind() != ErrorKind::Exists) {
                store_failed(work, result.error());
                return;
            }
            if (part)
                piece_done(work, part->piece, PieceOutcome::Completed);
            BlobRecord record = record_of(work, BlobOutcome::Completed);
            record.disposition = work.disposition_outcome(has_replaced);
            if (!result && work.blob.disposition == format::Disposition::NoOverwrite)
                record.disposition = DispositionOutcome::Skipped;
            else if (!result)
                record.outcome = BlobOutcome::RenameFailed;
            conclude(work, std::move(record));
        };
    });
}

void Import::store_failed(BlobWork& work, const Error& error) {
    if (ends_the_copy(error.kind())) {
        if (!fault_)
            fault_ = error;
        return;
    }
    if (work.is_whole())
        conclude(work, record_of(work, BlobOutcome::BlobRequestFailed));
}

// Called when nothing of the blob is under way: publishes it, ends it, or lets go of it.
void Import::settle(BlobWork& work) {
    if (work.outstanding != 0 || work.is_finishing || !work.is_issued || !works_.contains(work.index))
        return;
    if (fault_ || is_gone_)
        return drop(work);
    if (work.open_error)
        return conclude(work, record_of(work, outcome_of_open(work.open_error->kind())));
    if (work.blob.pieces.empty() && !work.writer)
        return put_whole(work, std::nullopt);
    const bool is_all = std::ranges::all_of(work.pieces, [](const auto& piece) { return piece.has_value(); });
    if (!is_all) {
        // Cut short. Stopped: the journal goes on with it. Drained: nothing uncommitted stays behind.
        if (!control_.is_stopping() && work.writer)
            (void)work.writer->abandon();  // tried again by whoever clears up after the job
        return drop(work);
    }
    if (work.is_complete() && work.writer)
        return finish(work);
    if (work.is_complete())
        return drop(work);
    const bool is_io = std::ranges::all_of(work.pieces, [](const auto& piece) { return piece == PieceOutcome::IOFailed; });
    if (work.blob.is_page_blob && !is_io)
        return finish(work);
    if (work.writer)
        (void)work.writer->abandon();
    conclude(work, record_of(work, is_io ? BlobOutcome::IOFailed : BlobOutcome::CompletedWithErrors));
}

void Import::finish(BlobWork& work) {
    std::vector<store::Piece> pieces;
    for (std::size_t i = 0; i < work.blob.pieces.size(); ++i) {
        const format::ManifestPiece& piece = work.blob.pieces[i];
        if (work.pieces[i] == PieceOutcome::Completed)
            pieces.push_back({piece.offset, piece.length, piece.id, piece.hash, {}});
    }
    work.is_finishing = true;
    ++work.outstanding;
    lanes_.add([this, &work, pieces = std::move(pieces)]() -> Lanes::Conclusion {
        bool has_replaced = false;
        const auto attempt = [&]() -> Result<void> {
            if (work.blob.disposition == format::Disposition::Overwrite)
                has_replaced = store_.stat(work.name).has_value();
            DRAY_TRY(journal_.record_intent(work.index, work.name.path(), has_replaced));
            return work.writer->finish(pieces, work.properties, work.metadata);
        };
        Result<void> result = attempt();
        const BlobName first = work.name;
        for (unsigned n = 2; !result && result.error().kind() == ErrorKind::Exists &&
                             work.blob.disposition == format::Disposition::Rename;
             ++n) {
            Result<BlobName> next = renamed(first, n);
            if (!next)
                break;
            work.name = *std::move(next);
            (void)work.writer->rename(work.name);  // fails for no store: only finish() makes it so
            result = attempt();
        }
        return [this, &work, has_replaced, result = std::move(result)] {
            --work.outstanding;
            work.is_finishing = false;
            BlobRecord record = record_of(
                work, work.has_bad_piece() ? BlobOutcome::CompletedWithErrors : BlobOutcome::Completed);
            record.disposition = work.disposition_outcome(has_replaced);
            if (!result && result.error().kind() == ErrorKind::Exists) {
                (void)work.writer->abandon();
                if (work.blob.disposition == format::Disposition::NoOverwrite)
                    record.disposition = DispositionOutcome::Skipped;
                else
                    record.outcome = BlobOutcome::RenameFailed;
            } else if (!result) {
                store_failed(work, result.error());
                if (fault_)
                    return;
                (void)work.writer->abandon();
                record = record_of(work, BlobOutcome::BlobRequestFailed);
            }
            conclude(work, std::move(record));
        };
    });
}

BlobRecord Import::record_of(const BlobWork& work, BlobOutcome outcome) const {
    BlobRecord record;
    record.index = work.index;
    record.outcome = outcome;
    record.metadata = work.metadata_outcome;
    record.properties = work.properties_outcome;
    const bool has_side_error = (record.metadata && *record.metadata != SideFileOutcome::Completed) ||
                                (record.properties && *record.properties != SideFileOutcome::Completed);
    if (outcome == BlobOutcome::Completed && has_side_error)
        record.outcome = BlobOutcome::CompletedWithErrors;
    if (!work.name.name.empty() && work.name.path() != work.blob.blob_path)
        record.name = work.name.path();
    if (outcome == BlobOutcome::Completed)
        record.bytes_succeeded = bytes_of(work.blob);
    else
        record.disposition = DispositionOutcome::Cancelled;
    if (outcome == BlobOutcome::CompletedWithErrors && work.blob.is_page_blob)
        record.bytes_succeeded = work.bytes_succeeded;
    if (outcome != BlobOutcome::CompletedWithErrors && outcome != BlobOutcome::IOFailed)
        return record;
    // Good pieces of what was not published were sent, and no list holds them (6.4).
    for (const auto& piece : work.pieces) {
        PieceOutcome shown = piece.value_or(PieceOutcome::Cancelled);
        if (shown == PieceOutcome::Completed && !work.blob.is_page_blob)
            shown = PieceOutcome::Uncommitted;
        record.pieces.push_back(shown);
    }
    return record;
}

void Import::conclude(BlobWork& work, BlobRecord record) {
    progress_.bytes_done += bytes_of(work.blob) - work.bytes_counted;
    // Pieces of what was not published in the end do not count (the sum of unsigned numbers wraps back).
    progress_.bytes_succeeded += record.bytes_succeeded - work.bytes_succeeded;
    progress_.blobs_done += 1;
    progress_.blobs_failed += record.outcome == BlobOutcome::Completed ? 0 : 1;
    journal_.record_blob(std::move(record));
    drop(work);
}

void Import::drop(BlobWork& work) {
    const auto found = works_.find(work.index);
    if (found == works_.end())
        return;  // it never came as far as being read
    // Its name may have become another one; what was reserved is the manifest's.
    names_.erase(work.blob.blob_path);
    ask(drive::Close{work.file});
    open_files_.erase(work.file);
    free_files_.push_back(work.file);
    works_.erase(found);
}

}  // namespace dray::transfer
