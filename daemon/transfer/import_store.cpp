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

/// Failures of the store that would meet every other blob too; the site can mend them (rules.md 2). The others
/// are about this one blob.
bool ends_the_copy(ErrorKind kind) {
    switch (kind) {
        case ErrorKind::Exists:
        case ErrorKind::Corrupt:
        case ErrorKind::InvalidArgument:
        case ErrorKind::Unsupported: return false;
        default: return true;
    }
}

}  // namespace

// A broken disk under the store is no end of the drive and no crash of ours: it is looked at again later.
Error of_store(const Error& error) {
    if (error.kind() == ErrorKind::Gone || error.kind() == ErrorKind::Internal ||
        error.kind() == ErrorKind::LimitReached)
        return {ErrorKind::Unreachable, error.text()};
    return error;
}

void Import::put_part(const Part& part) {
    BlobWork& work = *part.work;
    lanes_.add([this, part, piece = piece_of(part), writer = work.writer.get()]() -> Lanes::Conclusion {
        Result<void> result = writer->put(piece);
        return [this, part, result = std::move(result)] {
            BlobWork& done = *part.work;
            release(part);
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

unsigned Import::number_of(const BlobWork& work) const {
    const auto known = numbers_.find(work.blob.blob_path);
    return known == numbers_.end() ? 1 : known->second;
}

// On a lane. Tries the name, and for the disposition `rename` names with numbers from `number` on, until one is
// free. A number above 1 is looked up first, so that content is not sent for names that are taken.
Import::Published Import::publish(BlobWork& work, unsigned number, const std::function<Result<void>()>& commit) {
    Published published{fail(ErrorKind::Exists, "the name is taken"), false, number};
    const BlobName first = work.name;
    for (;; ++published.number) {
        if (published.number > 1) {
            Result<BlobName> next = renamed(first, published.number);
            if (!next)
                return published;
            work.name = *std::move(next);
        }
        if (control_.is_stopping() || control_.is_draining_to(DrainMode::Piece)) {
            if (published.number > 1) {
                published.result = fail(ErrorKind::Cancelled, "no further name is tried");
                return published;
            }
        }
        if (published.number > 1 && store_.stat(work.name))
            continue;
        if (work.blob.disposition == format::Disposition::Overwrite)
            published.has_replaced = store_.stat(work.name).has_value();
        published.result = journal_.record_intent(work.index, work.name.path(), published.has_replaced);
        if (published.result)
            published.result = commit();
        if (published.result || published.result.error().kind() != ErrorKind::Exists ||
            work.blob.disposition != format::Disposition::Rename)
            return published;
    }
}

// A small blob, or an empty one: one request in all. The lane tries names until one is free.
void Import::put_whole(BlobWork& work, std::optional<Part> part) {
    const store::Piece piece = part ? piece_of(*part) : store::Piece();
    if (!part)
        ++work.outstanding;
    work.is_finishing = true;
    lanes_.add([this, &work, part, piece, first_number = number_of(work)]() -> Lanes::Conclusion {
        Published published = publish(work, first_number, [&] {
            return store_.put_whole(work.name, create_options(work), piece, work.properties, work.metadata,
                                    control_.stop_token());
        });
        return [this, &work, part, published = std::move(published)] {
            const auto& [result, has_replaced, number] = published;
            numbers_[work.blob.blob_path] = number;
            if (part)
                release(*part);
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
            fault_ = of_store(error);
        return;
    }
    work.is_refused = work.is_refused || !work.writer;
}

// Called when nothing of the blob is under way: publishes it, ends it, or lets go of it.
void Import::settle(BlobWork& work) {
    if (work.outstanding != 0 || work.is_finishing || !work.is_issued || !works_.contains(work.index))
        return;
    if (fault_ || is_gone_)
        return drop(work);
    if (!work.is_confirmed && work.has_unread())
        return await_second_look(work);
    if (work.is_refused)
        return give_up(work, record_of(work, BlobOutcome::BlobRequestFailed));
    if (work.open_error)
        return give_up(work, record_of(work, outcome_of_open(work.open_error->kind())));
    if (work.blob.pieces.empty() && !work.writer)
        return put_whole(work, std::nullopt);
    const bool is_all = std::ranges::all_of(work.pieces, [](const auto& piece) { return piece.has_value(); });
    if (!is_all) {
        // Cut short. Stopped: the journal goes on with it. Drained: what is uncommitted is thrown away at the end.
        was_cut_short_ = true;
        return drop(work);
    }
    if (work.is_complete() && work.writer)
        return finish(work);
    if (work.is_complete())
        return drop(work);
    const bool is_io = std::ranges::all_of(work.pieces, [](const auto& piece) { return piece == PieceOutcome::IOFailed; });
    if (work.blob.is_page_blob && !is_io)
        return finish(work);
    give_up(work, record_of(work, is_io ? BlobOutcome::IOFailed : BlobOutcome::CompletedWithErrors));
}

// The outcome is in the journal before anything is thrown away: else a crash in between leaves pieces in the
// journal that the store has no more.
void Import::give_up(BlobWork& work, BlobRecord record) {
    if (work.writer) {
        journal_.record_blob(record);
        if (Result<void> flushed = journal_.flush(); flushed)
            (void)work.writer->abandon();  // what stays behind is never found under a name
    }
    conclude(work, std::move(record));
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
    lanes_.add([this, &work, pieces = std::move(pieces), first_number = number_of(work)]() -> Lanes::Conclusion {
        Published published = publish(work, first_number, [&]() -> Result<void> {
            DRAY_TRY(work.writer->rename(work.name));
            return work.writer->finish(pieces, work.properties, work.metadata);
        });
        return [this, &work, published = std::move(published)] {
            const auto& [result, has_replaced, number] = published;
            numbers_[work.blob.blob_path] = number;
            --work.outstanding;
            work.is_finishing = false;
            BlobRecord record = record_of(
                work, work.has_bad_piece() ? BlobOutcome::CompletedWithErrors : BlobOutcome::Completed);
            record.disposition = work.disposition_outcome(has_replaced);
            if (!result && result.error().kind() == ErrorKind::Exists) {
                if (work.blob.disposition == format::Disposition::NoOverwrite)
                    record.disposition = DispositionOutcome::Skipped;
                else
                    record.outcome = BlobOutcome::RenameFailed;
                return give_up(work, std::move(record));
            }
            if (!result) {
                store_failed(work, result.error());
                if (!fault_)
                    give_up(work, record_of(work, BlobOutcome::BlobRequestFailed));
                return;
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
    pieces_in_hand_ -= work.pieces.size();
    ask(drive::Close{work.file});
    open_files_.erase(work.file);
    free_files_.push_back(work.file);
    works_.erase(found);
}

}  // namespace dray::transfer
