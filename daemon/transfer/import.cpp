// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/import.hpp"

#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <utility>

#include "drivers/store/blob_rules.hpp"

namespace dray::transfer {
namespace {

using format::BlobOutcome;
using format::PieceOutcome;

/// Blobs in flight: enough small ones to keep every lane busy while as many are being read.
constexpr std::size_t kMaxBlobs = 128;
/// Their pieces: a hundred bytes each.
constexpr std::size_t kMaxPieces = 200'000;
/// Pieces may be put of which the journal has not said so yet: at most so many come twice after a kill, beside those
/// that are being put.
constexpr std::uint64_t kMaxUnrecorded = 128;
/// A disk that is broken all over is not searched for days; after so long only the pieces are named.
constexpr Microseconds kSurveyTime = std::chrono::minutes(30);
/// Blobs whose names are looked up ahead of their turn, and their pieces.
constexpr std::size_t kMaxAwaited = 64;
constexpr std::size_t kMaxPiecesAwaited = 20'000;
constexpr Bytes kSyncBytes = 64 * kMiB;
constexpr auto kSyncInterval = std::chrono::seconds(1);
BlobOutcome outcome_of_path(ErrorKind kind) {
    return kind == ErrorKind::LimitReached ? BlobOutcome::FileNameTooLong : BlobOutcome::FileNameInvalid;
}

}  // namespace

Import::Import(Parts parts)
    : drive_(parts.drive),
      store_(parts.store),
      journal_(parts.journal),
      control_(parts.control),
      progress_(parts.progress),
      clock_(parts.clock),
      requests_(parts.requests),
      patience_(parts.patience),
      removal_limit_(parts.removal_limit),
      sector_(parts.sector),
      survey_time_(kSurveyTime),
      warn_(std::move(parts.warn)),
      checks_at_far_end_(parts.store.checks_at_far_end()),
      ring_(MemoryShare::of(parts.drive.ring().size(), checks_at_far_end_).ring, drive::kRingAlignment),
      copies_(MemoryShare::of(parts.drive.ring().size(), checks_at_far_end_).copies),
      lanes_(std::min(parts.requests, 64U), [this] { control_.wake(); }) {
    for (std::uint32_t file = drive::kMaxFiles; file > 0; --file)
        free_files_.push_back(file - 1);
}

// Content is made to survive a power cut once a second or every 64 MiB; what the journal says survives it from
// then on.
void Import::keep_synced(const std::stop_token& stop) {
    pthread_setname_np(pthread_self(), "sync");
    std::unique_lock lock(sync_mutex_);
    std::condition_variable_any never;
    Bytes synced = 0;
    while (!stop.stop_requested()) {
        for (int tenth = 0; tenth < 10 && !stop.stop_requested(); ++tenth) {
            never.wait_for(lock, stop, kSyncInterval / 10, [] { return false; });
            if (progress_.bytes_done - std::min<Bytes>(synced, progress_.bytes_done) >= kSyncBytes)
                break;
        }
        synced = progress_.bytes_done;
        const std::uint64_t mark = journal_.mark();
        lock.unlock();
        Result<void> result = store_.sync();
        lock.lock();
        if (result) {
            journal_.mark_synced(mark);
            continue;
        }
        // At once: whatever happens next, what was not synced must not count.
        journal_.distrust();
        sync_failure_ = of_store(result.error());
        control_.wake();
        return;
    }
}

std::optional<Error> Import::sync_failure() const {
    const std::lock_guard lock(sync_mutex_);
    return sync_failure_;
}

Result<CopyEnd> Import::run(const Spool& spool) {
    control_.set_copying();
    DRAY_TRY(find_begun());
    Result<void> walked;
    Result<void> pumped;
    {
        const std::jthread syncer([this](const std::stop_token& stop) { keep_synced(stop); });
        walked = spool.walk(
            [this](std::uint64_t index, format::ManifestBlob&& blob) { return admit(index, std::move(blob)); });
        while (walked && !awaited_.empty())
            walked = begin_first();
        // Those whose turn has not come were not touched.
        awaited_.clear();
        // Without dray-drive nothing that is asked of it comes to an end.
        if (!walked && walked.error().kind() == ErrorKind::Internal)
            pumped = fail(Error(walked.error()));
        while (pumped && !works_.empty())
            pumped = pump();
        if (!pumped)
            control_.give_up_waiting();
    }
    if (const std::optional<Error> failure = sync_failure())
        return fail(Error(*failure));
    const std::uint64_t mark = journal_.mark();
    if (Result<void> synced = store_.sync(); !synced) {
        journal_.distrust();
        return fail(of_store(synced.error()));
    }
    journal_.mark_synced(mark);
    if (!pumped)
        return fail(std::move(pumped.error()));
    if (is_gone_)
        return fail(ErrorKind::Gone, "the device is gone");
    if (fault_ && fault_->kind() != ErrorKind::Cancelled)
        return fail(Error(*fault_));
    DRAY_TRY(journal_.flush());
    progress_.pieces_journaled = journal_.pieces_committed();
    if (control_.is_stopping())
        return CopyEnd::Stopped;
    if (!walked && walked.error().kind() != ErrorKind::Cancelled)
        return fail(std::move(walked.error()));
    return walked && !was_cut_short_ && !fault_ ? CopyEnd::Done : CopyEnd::Drained;
}

// A drain outlives the process: what an earlier one had begun is not begun now.
bool Import::may_begin(std::uint64_t index) const {
    return !fault_ && !is_gone_ && !control_.is_stopping() &&
           (!control_.is_draining_to(DrainMode::Blob) || begun_.contains(index));
}

// Drained, and what an earlier run had begun may still come: the walk goes on without this blob.
Result<void> Import::pass_over() {
    was_cut_short_ = true;
    if (fault_ || is_gone_ || control_.is_stopping() || begun_.empty())
        return fail(ErrorKind::Cancelled, "no further blob is begun");
    return {};
}

Result<void> Import::find_begun() {
    DRAY_LET(const std::vector<Upload> uploads, journal_.uploads(true));
    const std::string prefix = journal_.id() + "-";
    for (const Upload& upload : uploads)
        if (upload.id.starts_with(prefix))
            begun_.insert(std::strtoull(upload.id.c_str() + prefix.size(), nullptr, 10));
    return {};
}

bool Import::may_read() const {
    return !fault_ && !is_gone_ && !control_.is_stopping() && !control_.is_draining_to(DrainMode::Piece);
}

store::CreateOptions Import::create_options(const BlobWork& work) const {
    store::CreateOptions options;
    options.type = work.blob.is_page_blob ? store::BlobType::Page : store::BlobType::Block;
    options.length = work.blob.length;
    options.replace = work.blob.disposition == format::Disposition::Overwrite;
    options.upload_id = upload_id(journal_, work.index);
    return options;
}

void Import::count(BlobWork& work, Bytes bytes) {
    work.bytes_counted += bytes;
    progress_.bytes_done += bytes;
}

void Import::succeed(BlobWork& work, Bytes bytes) {
    work.bytes_succeeded += bytes;
    progress_.bytes_succeeded += bytes;
}

Result<void> Import::admit(std::uint64_t index, format::ManifestBlob&& blob) {
    DRAY_LET(const bool is_old, is_known(index, blob));
    if (is_old)
        return {};
    if (!may_begin(index))
        return pass_over();
    auto work = std::make_unique<BlobWork>();
    work->index = index;
    work->blob = std::move(blob);
    work->pieces.resize(work->blob.pieces.size());
    Result<BlobName> name = parse_blob_path(work->blob.blob_path);
    if (!name) {
        conclude(*work, record_of(*work, BlobOutcome::BlobRequestFailed));
        return {};
    }
    work->name = *std::move(name);
    if (Result<std::string> path = format::to_lookup_path(work->blob.file_path); !path) {
        conclude(*work, record_of(*work, outcome_of_path(path.error().kind())));
        return {};
    }
    Awaited awaited;
    std::optional<std::string> reserved;
    if (!journal_.is_new()) {
        DRAY_LET(reserved, journal_.reservation(index));
    }
    const bool is_rename = work->blob.disposition == format::Disposition::Rename;
    if (reserved && is_rename) {
        DRAY_LET(work->name, parse_blob_path(*reserved));
    } else if (!reserved && (is_rename || (work->blob.disposition == format::Disposition::NoOverwrite && !work->is_whole()))) {
        awaited.lookup = look_up(*work, 1);
    }
    pieces_awaited_ += work->pieces.size();
    awaited.work = std::move(work);
    awaited_.push_back(std::move(awaited));
    const auto is_ready = [&] {
        const Awaited& first = awaited_.front();
        return (!first.lookup || first.lookup->found) && !is_full_with(*first.work) &&
               !names_.has(first.work->blob.blob_path);
    };
    while (!awaited_.empty() &&
           (awaited_.size() > kMaxAwaited || pieces_awaited_ > kMaxPiecesAwaited || is_ready()))
        DRAY_TRY(begin_first());
    return {};
}

bool Import::is_full_with(const BlobWork& work) const {
    return works_.size() >= kMaxBlobs || (!works_.empty() && pieces_in_hand_ + work.pieces.size() > kMaxPieces);
}

// Equal BlobPaths run one after the other, so that the first in the document is the first in the store.
Result<void> Import::begin_first() {
    Awaited& first = awaited_.front();
    for (;;) {
        if (!may_begin(first.work->index)) {
            pieces_awaited_ -= first.work->pieces.size();
            awaited_.pop_front();
            return pass_over();
        }
        if (!is_full_with(*first.work) && (!first.lookup || first.lookup->found) && hold_names(first))
            break;
        DRAY_TRY(pump());
    }
    pieces_awaited_ -= first.work->pieces.size();
    Awaited awaited = std::move(first);
    awaited_.pop_front();
    return begin(std::move(awaited));
}

// Blobs that an earlier run has ended count, so that what is done never falls.
Result<bool> Import::is_known(std::uint64_t index, const format::ManifestBlob& blob) {
    if (journal_.is_new())
        return false;
    DRAY_LET(const std::optional<BlobRecord> record, journal_.blob(index));
    if (!record)
        return false;
    progress_.bytes_done += bytes_of(blob);
    progress_.bytes_succeeded += record->bytes_succeeded;
    progress_.blobs_done += 1;
    progress_.blobs_failed += record->outcome == BlobOutcome::Completed ? 0 : 1;
    return true;
}

// After a commit with an unknown outcome the blob itself tells (rules.md 15): what our upload made is ours, where the
// store knows that; else what has the length, the properties and metadata and, byte for byte, the content that the commit
// was to make, and is not older.
Result<bool> Import::was_committed(BlobWork& work) {
    if (journal_.is_new())
        return false;
    DRAY_LET(const std::optional<Intent> intent, journal_.intent(work.index));
    if (!intent)
        return false;
    Result<BlobName> name = parse_blob_path(intent->name);
    if (!name)
        return false;
    const Result<store::BlobStatus> found = store_.stat(*name);
    if (!found && found.error().kind() != ErrorKind::NotFound)
        return fail(Error(found.error()));
    if (!found)
        return false;
    if (store_.tells_uploads()) {
        if (found->upload_id != upload_id(journal_, work.index))
            return false;
        take_as_published(work, *found);
    } else {
        if (found->length != work.blob.length || found->modified + kStampSlack < intent->time ||
            !store::are_kept(work.properties, found->properties) || found->metadata != work.metadata)
            return false;
        DRAY_LET(const bool is_same, has_content(work, *name));
        if (!is_same) {
            for (auto& piece : work.pieces)
                piece.reset();
            progress_.bytes_succeeded -= std::exchange(work.bytes_succeeded, 0);
            return false;
        }
    }
    work.name = *std::move(name);
    BlobRecord record =
        record_of(work, work.has_bad_piece() ? BlobOutcome::CompletedWithErrors : BlobOutcome::Completed, true);
    record.disposition = work.disposition_outcome(intent->replaces);
    conclude(work, std::move(record));
    return true;
}

// A store that knows whose a blob is need not be read; perhaps it cannot be, for want of the private key. Only whole blobs
// are published there.
void Import::take_as_published(BlobWork& work, const store::BlobStatus& found) {
    for (std::size_t i = 0; i < work.blob.pieces.size(); ++i) {
        work.pieces[i] = PieceOutcome::Completed;
        succeed(work, work.blob.pieces[i].length);
    }
    store::BlobProperties wanted = work.properties;
    wanted.content_md5.clear();  // that of the plaintext is not kept
    const bool is_bare = found.properties == store::BlobProperties() && found.metadata.empty();
    if (is_bare && (wanted != store::BlobProperties() || !work.metadata.empty()))
        went_bare(work);
}

// A page blob is published with a hole where a piece was bad; such a piece reads as zeros.
Result<bool> Import::has_content(BlobWork& work, const BlobName& name) {
    std::vector<std::byte> content;
    for (std::size_t i = 0; i < work.blob.pieces.size(); ++i) {
        const format::ManifestPiece& piece = work.blob.pieces[i];
        Digest digest(DigestKind::Md5);
        bool is_hole = work.blob.is_page_blob;
        for (Bytes done = 0; done < piece.length; done += content.size()) {
            content.resize(static_cast<std::size_t>(std::min<Bytes>(kMiB, piece.length - done)));
            Result<void> read = store_.read(name, piece.offset + done, content, {}, control_.stop_token());
            if (!read && read.error().kind() != ErrorKind::NotFound)
                return fail(std::move(read.error()));
            if (!read)
                return false;
            digest.update(content);
            is_hole = is_hole && std::ranges::all_of(content, [](std::byte byte) { return byte == std::byte{0}; });
        }
        const bool is_right = std::ranges::equal(digest.finish(), piece.hash);
        if (!is_right && !is_hole)
            return false;
        work.pieces[i] = is_right ? PieceOutcome::Completed : PieceOutcome::Corrupted;
        if (is_right)
            succeed(work, piece.length);
    }
    return true;
}

Result<void> Import::begin(Awaited awaited) {
    std::unique_ptr<BlobWork> owned = std::move(awaited.work);
    // What would be skipped in the end, or finds no name, need not be read.
    if (awaited.lookup && !*awaited.lookup->found) {
        const Error& error = awaited.lookup->found->error();
        begun_.erase(owned->index);
        if (error.kind() == ErrorKind::Cancelled) {
            release_names(*owned);
            return pass_over();
        }
        if (error.kind() != ErrorKind::Exists)
            return not_begun(*owned, error);
        conclude(*owned, owned->blob.disposition == format::Disposition::Rename
                             ? record_of(*owned, BlobOutcome::RenameFailed)
                             : record_of_skipped(*owned));
        return {};
    }
    if (!containers_.contains(owned->name.container)) {
        if (Result<void> made = store_.ensure_container(owned->name.container); !made)
            return not_begun(*owned, made.error());
        containers_.insert(owned->name.container);
    }
    DRAY_TRY(fetch_side_files(*owned));
    const bool is_wanted = may_begin(owned->index);
    begun_.erase(owned->index);
    if (!is_wanted) {
        release_names(*owned);
        return pass_over();
    }
    Result<bool> is_ours = was_committed(*owned);
    if (!is_ours)
        return not_begun(*owned, is_ours.error());
    if (*is_ours)
        return {};
    // Whether it had been committed was to be known, and no more than that.
    if (!may_read()) {
        release_names(*owned);
        return pass_over();
    }
    BlobWork& work = *owned;
    work.file = free_files_.back();
    free_files_.pop_back();
    open_files_[work.file] = &work;
    pieces_in_hand_ += work.pieces.size();
    works_[work.index] = std::move(owned);
    progress_.set_file(work.blob.file_path);
    ++work.outstanding;
    DRAY_LET(std::string path, format::to_lookup_path(work.blob.file_path));
    ask(drive::Open{work.file, std::move(path)});
    if (Result<void> begun = work.is_whole() ? Result<void>() : begin_upload(work); !begun) {
        store_failed(work, begun.error());
        work.is_issued = true;
        return {};
    }
    for (std::size_t piece = 0; piece < work.blob.pieces.size(); ++piece) {
        if (work.pieces[piece])
            continue;  // put by an earlier run
        DRAY_TRY(issue_piece(work, piece));
        if (!may_read() || work.refusal)
            break;
    }
    work.is_issued = true;
    settle(work);
    return {};
}

Result<void> Import::not_begun(BlobWork& work, const Error& error) {
    store_failed(work, error);
    if (!fault_)
        conclude(work, record_of(work, work.refusal.value_or(BlobOutcome::BlobRequestFailed)));
    return {};
}

Result<void> Import::begin_upload(BlobWork& work) {
    // In the journal before anything is in the store: what nobody knows of nobody throws away.
    journal_.record_begin(work.index, work.name.path(), work.blob.is_page_blob);
    DRAY_TRY(journal_.flush());
    DRAY_LET(const std::vector<std::uint64_t> known, journal_.pieces(work.index));
    store::CreateOptions options = create_options(work);
    options.must_resume = !known.empty();
    Result<std::unique_ptr<store::BlobWriter>> writer =
        guarded(work, [&] { return store_.create(work.name, options, control_.stop_token()); });
    if (!writer && options.must_resume && writer.error().kind() == ErrorKind::NotFound) {
        // A commit whose blob is gone again, or an upload that was thrown away: its pieces have to come again.
        DRAY_TRY(journal_.forget_pieces(work.index));
        options.must_resume = false;
        DRAY_LET(work.writer, store_.create(work.name, options, control_.stop_token()));
        return {};
    }
    if (!writer)
        return fail(std::move(writer.error()));
    work.writer = *std::move(writer);
    for (const std::uint64_t piece : known) {
        if (piece >= work.pieces.size())
            continue;
        work.pieces[piece] = PieceOutcome::Completed;
        count(work, work.blob.pieces[piece].length);
        succeed(work, work.blob.pieces[piece].length);
    }
    return {};
}

// A piece over 8 MiB streams through several extents (rules.md 10).
Result<void> Import::issue_piece(BlobWork& work, std::size_t piece) {
    const format::ManifestPiece& wanted = work.blob.pieces[piece];
    if (wanted.length > drive::kMaxRead)
        work.parts_left[piece] = static_cast<unsigned>((wanted.length + drive::kMaxRead - 1) / drive::kMaxRead);
    if (journal_.backlog() >= kMaxUnrecorded)
        if (Result<void> flushed = journal_.flush(); !flushed && !fault_)
            fault_ = std::move(flushed.error());  // what is under way comes to its end, this blob too
    for (Bytes done = 0; done < wanted.length;) {
        const Bytes length = std::min(drive::kMaxRead, wanted.length - done);
        std::optional<Bytes> extent;
        while (may_read()) {
            if (parts_.size() < std::size_t{2} * requests_ && unanswered_ + outbox_.size() < drive::kMaxInFlight - 4)
                extent = ring_.take(length);
            if (extent)
                break;
            DRAY_TRY(pump());
        }
        if (!extent)
            return {};
        const std::uint64_t request = next_request_++;
        parts_[request] = {&work, piece, wanted.offset + done, length, *extent, done == 0,
                           done + length == wanted.length, {}};
        ++work.outstanding;
        ask(drive::Read{request, work.file, wanted.offset + done, length, *extent});
        done += length;
    }
    return {};
}

}  // namespace dray::transfer
