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

/// What a store's failure about one blob is called in the logs.
BlobOutcome outcome_of_refusal(ErrorKind kind) {
    switch (kind) {
        case ErrorKind::Conflict: return BlobOutcome::LeasePresent;
        case ErrorKind::Denied: return BlobOutcome::BlobRequestForbidden;
        default: return BlobOutcome::BlobRequestFailed;
    }
}

}  // namespace

bool is_about_one_blob(ErrorKind kind) {
    switch (kind) {
        case ErrorKind::Exists:
        case ErrorKind::Conflict:
        case ErrorKind::Corrupt:
        case ErrorKind::InvalidArgument:
        case ErrorKind::Unsupported: return true;
        default: return false;  // it would meet every other blob too; the site can mend it (rules.md 2)
    }
}

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
        // The reservation of its name comes before its first byte.
        Result<void> result = journal_.wait_for(part.work->reservation);
        if (result)
            result = guarded(*part.work, [&] { return writer->put(piece); });
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
                    piece_done(done, part.piece,
                               done.has_thrown ? PieceOutcome::Failed : PieceOutcome::BlobRequestFailed);
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
    const store::Piece piece = part ? piece_of(*part) : store::Piece();
    if (!part)
        ++work.outstanding;
    work.is_finishing = true;
    lanes_.add([this, &work, part, piece]() -> Lanes::Conclusion {
        Published outcome = publish(work, [&](const auto& properties, const auto& metadata) {
            return store_.put_whole(work.name, create_options(work), piece, properties, metadata,
                                    control_.stop_token());
        });
        return [this, &work, part, outcome = std::move(outcome)] {
            if (part) {
                release(*part);
                // A blob that is left alone, or finds no name, was right all the same.
                if (outcome.result || outcome.result.error().kind() == ErrorKind::Exists)
                    piece_done(work, part->piece, PieceOutcome::Completed);
                else if (outcome.result.error().kind() == ErrorKind::Corrupt)
                    piece_done(work, part->piece, PieceOutcome::Corrupted);
            }
            published(work, outcome);
        };
    });
}

void Import::store_failed(BlobWork& work, const Error& error) {
    if (work.has_thrown) {
        work.refusal = BlobOutcome::Failed;
        return;
    }
    if (!is_about_one_blob(error.kind()) && !(error.kind() == ErrorKind::Denied && is_store_usable())) {
        if (!fault_)
            fault_ = of_store(error);
        return;
    }
    const BlobOutcome outcome = outcome_of_refusal(error.kind());
    // Of a blob that comes in pieces, each piece says what became of it.
    if (!work.refusal && (outcome != BlobOutcome::BlobRequestFailed || !work.writer))
        work.refusal = outcome;
}

// A store that refuses one blob and is otherwise as it should be is no fault of the site. Asked at most once a second.
bool Import::is_store_usable() {
    const Microseconds now = clock_.since_boot();
    if (usable_ && now - *usable_ < std::chrono::seconds(1))
        return true;
    if (!store_.check())
        return false;
    usable_ = clock_.since_boot();
    return true;
}

// Called when nothing of the blob is under way: publishes it, ends it, or lets go of it.
void Import::settle(BlobWork& work) {
    if (work.outstanding != 0 || work.is_finishing || !work.is_issued || !works_.contains(work.index))
        return;
    if (fault_ || is_gone_)
        return drop(work);
    if (work.refusal)
        return give_up(work, record_of(work, *work.refusal));
    if (!work.is_confirmed && work.has_unread())
        return await_second_look(work);
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
    if (!work.has_piece(PieceOutcome::Completed)) {
        if (work.has_piece(PieceOutcome::IOFailed))
            return give_up(work, record_of(work, BlobOutcome::IOFailed));
        if (std::ranges::all_of(work.pieces, [](const auto& piece) { return piece == PieceOutcome::BlobRequestFailed; }))
            return give_up(work, record_of(work, BlobOutcome::BlobRequestFailed));
    }
    if (work.blob.is_page_blob)
        return finish(work);
    give_up(work, record_of(work, BlobOutcome::CompletedWithErrors));
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
    lanes_.add([this, &work, pieces = std::move(pieces)]() -> Lanes::Conclusion {
        Published outcome = publish(work, [&](const auto& properties, const auto& metadata) -> Result<void> {
            DRAY_TRY(work.writer->rename(work.name));
            return work.writer->finish(pieces, properties, metadata);
        });
        return [this, &work, outcome = std::move(outcome)] { published(work, outcome); };
    });
}

BlobRecord Import::record_of(const BlobWork& work, BlobOutcome outcome, bool is_published) const {
    BlobRecord record;
    record.index = work.index;
    record.outcome = outcome;
    record.metadata = work.metadata_outcome;
    record.properties = work.properties_outcome;
    record.lost = work.lost;
    const auto tell_pieces = [&] {
        for (const auto& piece : work.pieces)
            record.pieces.push_back(piece.value_or(PieceOutcome::Cancelled));
    };
    if (is_published) {
        const auto is_bad = [](const auto& side) { return side && *side != SideFileOutcome::Completed; };
        if (is_bad(record.metadata) || is_bad(record.properties))
            record.outcome = BlobOutcome::CompletedWithErrors;
        if (work.name.path() != work.blob.blob_path)
            record.name = work.name.path();
        record.bytes_succeeded = work.has_bad_piece() ? work.bytes_succeeded : bytes_of(work.blob);
        if (work.has_bad_piece())
            tell_pieces();
        return record;
    }
    // Nothing of it is in the store: good pieces were sent, and no list holds them (6.4).
    record.disposition = DispositionOutcome::Cancelled;
    for (auto* side : {&record.metadata, &record.properties})
        if (*side == SideFileOutcome::Completed)
            *side = SideFileOutcome::Cancelled;
    const bool is_of_pieces = outcome == BlobOutcome::IOFailed || outcome == BlobOutcome::BlobRequestFailed ||
                              outcome == BlobOutcome::Failed;
    if (outcome != BlobOutcome::CompletedWithErrors && !(is_of_pieces && work.has_bad_piece()))
        return record;
    tell_pieces();
    std::ranges::replace(record.pieces, PieceOutcome::Completed, PieceOutcome::Uncommitted);
    return record;
}

// Left alone: nothing was imported, so nothing can be wrong with it.
BlobRecord Import::record_of_skipped(const BlobWork& work) {
    BlobRecord record;
    record.index = work.index;
    record.disposition = DispositionOutcome::Skipped;
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
    release_names(work);
    const auto found = works_.find(work.index);
    if (found == works_.end())
        return;  // it never came as far as being read
    pieces_in_hand_ -= work.pieces.size();
    ask(drive::Close{work.file});
    open_files_.erase(work.file);
    free_files_.push_back(work.file);
    works_.erase(found);
}

}  // namespace dray::transfer
