// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/import.hpp"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <thread>
#include <utility>

#include "daemon/base/encoding.hpp"
#include "daemon/format/blob_properties.hpp"

namespace dray::transfer {
namespace {

using format::BlobOutcome;
using format::DispositionOutcome;
using format::PieceOutcome;
using format::SideFileOutcome;

/// Blobs in flight: enough small ones to keep every lane busy while as many are being read.
constexpr std::size_t kMaxBlobs = 128;
constexpr Bytes kSyncBytes = 64 * kMiB;
constexpr auto kSyncInterval = std::chrono::seconds(1);
/// A file system may stamp a rename with a coarser clock than the one the intent was taken from.
constexpr Microseconds kStampSlack = std::chrono::seconds(1);

template <typename... Parts>
struct Overloaded : Parts... {
    using Parts::operator()...;
};

BlobOutcome outcome_of_path(ErrorKind kind) {
    return kind == ErrorKind::LimitReached ? BlobOutcome::FileNameTooLong : BlobOutcome::FileNameInvalid;
}

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

SideFileOutcome outcome_of_side(ErrorKind kind) {
    switch (kind) {
        case ErrorKind::NotFound: return SideFileOutcome::FileNotFound;
        case ErrorKind::Denied:
        case ErrorKind::Unsupported: return SideFileOutcome::FileAccessDenied;
        case ErrorKind::InvalidArgument: return SideFileOutcome::FileNameInvalid;
        default: return SideFileOutcome::IOFailed;
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

DispositionOutcome disposition_of(const BlobWork& work, bool has_replaced) {
    if (work.name.path() != work.blob.blob_path)
        return DispositionOutcome::Renamed;
    return has_replaced ? DispositionOutcome::Overwritten : DispositionOutcome::Created;
}

/// The store's content is made to survive a power cut once a second or every 64 MiB; what the journal says
/// survives it from then on.
class Syncer {
public:
    Syncer(store::BlobStore& store, Journal& journal, const ProgressCounters& progress)
        : thread_([&store, &journal, &progress](const std::stop_token& stop) {
              pthread_setname_np(pthread_self(), "sync");
              std::mutex mutex;
              std::condition_variable_any never;
              std::unique_lock lock(mutex);
              Bytes synced = 0;
              while (!stop.stop_requested()) {
                  for (int tenth = 0; tenth < 10 && !stop.stop_requested(); ++tenth) {
                      never.wait_for(lock, stop, kSyncInterval / 10, [] { return false; });
                      if (progress.bytes_done - std::min<Bytes>(synced, progress.bytes_done) >= kSyncBytes)
                          break;
                  }
                  synced = progress.bytes_done;
                  const std::uint64_t mark = journal.mark();
                  if (store.sync())
                      journal.mark_synced(mark);
              }
          }) {}

private:
    std::jthread thread_;
};

}  // namespace

SideFileOutcome take_metadata(std::span<const std::byte> content, const Md5Hash& hash,
                              store::BlobMetadata& metadata) {
    if (md5(content) != hash)
        return SideFileOutcome::Corrupted;
    Result<std::map<std::string, std::string>> read =
        format::read_metadata({reinterpret_cast<const char*>(content.data()), content.size()});
    if (!read)
        return SideFileOutcome::XmlReadFailed;
    metadata = *std::move(read);
    return SideFileOutcome::Completed;
}

SideFileOutcome take_properties(std::span<const std::byte> content, const Md5Hash& hash,
                                store::BlobProperties& properties) {
    if (md5(content) != hash)
        return SideFileOutcome::Corrupted;
    Result<format::PropertiesFile> read =
        format::read_properties({reinterpret_cast<const char*>(content.data()), content.size()});
    if (!read)
        return SideFileOutcome::XmlReadFailed;
    properties = {read->content_type, read->content_encoding, read->content_language, read->cache_control,
                  read->content_md5};
    return SideFileOutcome::Completed;
}

Import::Import(Parts parts)
    : drive_(parts.drive),
      store_(parts.store),
      journal_(parts.journal),
      control_(parts.control),
      progress_(parts.progress),
      clock_(parts.clock),
      requests_(parts.requests),
      ring_(parts.drive.ring().size(), drive::kRingAlignment),
      lanes_(std::min(parts.requests, 64U), [this] { control_.wake(); }) {
    for (std::uint32_t file = drive::kMaxFiles; file > 0; --file)
        free_files_.push_back(file - 1);
}

Result<CopyEnd> Import::run(const Spool& spool) {
    Result<void> walked;
    {
        const Syncer syncer(store_, journal_, progress_);
        walked = spool.walk(
            [this](std::uint64_t index, format::ManifestBlob&& blob) { return admit(index, std::move(blob)); });
        while (!works_.empty())
            DRAY_TRY(pump());
    }
    if (!fault_ && !is_gone_)
        if (const std::optional<Error> failure = journal_.failure())
            fault_ = *failure;
    if (is_gone_)
        return fail(ErrorKind::Gone, "the device is gone");
    if (fault_ && fault_->kind() != ErrorKind::Cancelled)
        return fail(Error(*fault_));
    const std::uint64_t mark = journal_.mark();
    DRAY_TRY(store_.sync());
    journal_.mark_synced(mark);
    DRAY_TRY(journal_.flush());
    progress_.pieces_journaled = journal_.pieces_committed();
    if (control_.is_stopping())
        return CopyEnd::Stopped;
    if (!walked && walked.error().kind() != ErrorKind::Cancelled)
        return fail(std::move(walked.error()));
    return walked ? CopyEnd::Done : CopyEnd::Drained;
}

bool Import::may_begin() const {
    return !fault_ && !is_gone_ && !control_.is_stopping() && !control_.is_draining_to(DrainMode::Blob);
}

bool Import::may_read() const {
    return !fault_ && !is_gone_ && !control_.is_stopping() && !control_.is_draining_to(DrainMode::Piece);
}

std::string Import::upload_id(std::uint64_t index) const { return journal_.id() + "-" + std::to_string(index); }

store::CreateOptions Import::create_options(const BlobWork& work) const {
    store::CreateOptions options;
    options.type = work.blob.is_page_blob ? store::BlobType::Page : store::BlobType::Block;
    options.length = work.blob.length;
    options.replace = work.blob.disposition == format::Disposition::Overwrite;
    options.upload_id = upload_id(work.index);
    return options;
}

void Import::count(BlobWork& work, Bytes bytes) {
    work.bytes_counted += bytes;
    progress_.bytes_done += bytes;
}

Result<void> Import::admit(std::uint64_t index, format::ManifestBlob&& blob) {
    if (!may_begin())
        return fail(ErrorKind::Cancelled, "no further blob is begun");
    DRAY_LET(const bool is_old, is_known(index, blob));
    if (is_old)
        return {};
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
    // Equal BlobPaths run one after the other, so that the first in the document is the first in the store.
    while (works_.size() >= kMaxBlobs || names_.contains(work->name.path())) {
        DRAY_TRY(pump());
        if (!may_begin())
            return fail(ErrorKind::Cancelled, "no further blob is begun");
    }
    if (Result<std::string> path = format::to_lookup_path(work->blob.file_path); !path) {
        conclude(*work, record_of(*work, outcome_of_path(path.error().kind())));
        return {};
    }
    DRAY_LET(const bool is_ours, was_committed(*work));
    if (is_ours)
        return {};
    DRAY_LET(const bool is_skipped, is_taken(*work));
    if (is_skipped)
        return {};
    return begin(std::move(work));
}

// Blobs that an earlier run has ended count, so that what is done never falls.
Result<bool> Import::is_known(std::uint64_t index, const format::ManifestBlob& blob) {
    DRAY_LET(const std::optional<BlobRecord> record, journal_.blob(index));
    if (!record)
        return false;
    progress_.bytes_done += bytes_of(blob);
    progress_.bytes_succeeded += record->bytes_succeeded;
    progress_.blobs_done += 1;
    progress_.blobs_failed += record->outcome == BlobOutcome::Completed ? 0 : 1;
    return true;
}

// After a commit with an unknown outcome the blob itself tells (rules.md 15).
Result<bool> Import::was_committed(BlobWork& work) {
    DRAY_LET(const std::optional<Intent> intent, journal_.intent(work.index));
    if (!intent)
        return false;
    Result<BlobName> name = parse_blob_path(intent->name);
    if (!name)
        return false;
    const Result<store::BlobStatus> found = store_.stat(*name);
    if (!found || found->length != work.blob.length || found->modified + kStampSlack < intent->time)
        return false;
    work.name = *std::move(name);
    for (auto& piece : work.pieces)
        piece = PieceOutcome::Completed;
    BlobRecord record = record_of(work, BlobOutcome::Completed);
    record.disposition = disposition_of(work, false);
    conclude(work, std::move(record));
    return true;
}

// What would be skipped in the end need not be read: worth a look for anything but small blobs.
Result<bool> Import::is_taken(BlobWork& work) {
    if (work.blob.disposition != format::Disposition::NoOverwrite || work.is_whole())
        return false;
    const Result<store::BlobStatus> found = store_.stat(work.name);
    if (!found)
        return false;
    BlobRecord record = record_of(work, BlobOutcome::Completed);
    record.disposition = DispositionOutcome::Skipped;
    conclude(work, std::move(record));
    return true;
}

Result<void> Import::begin(std::unique_ptr<BlobWork> owned) {
    if (!containers_.contains(owned->name.container)) {
        DRAY_TRY(store_.ensure_container(owned->name.container));
        containers_.insert(owned->name.container);
    }
    DRAY_TRY(fetch_side_files(*owned));
    if (!may_begin())
        return fail(ErrorKind::Cancelled, "no further blob is begun");
    BlobWork& work = *owned;
    work.file = free_files_.back();
    free_files_.pop_back();
    open_files_[work.file] = &work;
    names_.insert(work.name.path());
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
        if (!may_read())
            break;
    }
    work.is_issued = true;
    settle(work);
    return {};
}

Result<void> Import::begin_upload(BlobWork& work) {
    journal_.record_begin(work.index);
    DRAY_LET(work.writer, store_.create(work.name, create_options(work), control_.stop_token()));
    DRAY_LET(const std::vector<std::uint64_t> known, journal_.pieces(work.index));
    for (const std::uint64_t piece : known) {
        if (piece >= work.pieces.size())
            continue;
        work.pieces[piece] = PieceOutcome::Completed;
        count(work, work.blob.pieces[piece].length);
        progress_.bytes_succeeded += work.blob.pieces[piece].length;
    }
    return {};
}

// A piece over 8 MiB streams through several extents (rules.md 10).
Result<void> Import::issue_piece(BlobWork& work, std::size_t piece) {
    const format::ManifestPiece& wanted = work.blob.pieces[piece];
    for (Bytes done = 0; done < wanted.length;) {
        const Bytes length = std::min(drive::kMaxRead, wanted.length - done);
        std::optional<Bytes> extent;
        while (may_read()) {
            if (parts_.size() < 2 * requests_ && unanswered_ + outbox_.size() < drive::kMaxInFlight - 4)
                extent = ring_.take(length);
            if (extent)
                break;
            DRAY_TRY(pump());
        }
        if (!extent)
            return {};
        const std::uint64_t request = next_request_++;
        parts_[request] = {&work, piece, wanted.offset + done, length, *extent, done == 0,
                           done + length == wanted.length};
        ++work.outstanding;
        ask(drive::Read{request, work.file, wanted.offset + done, length, *extent});
        done += length;
    }
    return {};
}

void Import::ask(drive::Request request) {
    // Close is the one request without a reply.
    unanswered_ += std::holds_alternative<drive::Close>(request) ? 0 : 1;
    outbox_.push_back(std::move(request));
}

Result<void> Import::flush() {
    // As many to a message as fit; paths may be long.
    constexpr std::size_t kTextLimit = 64 * 1024;
    std::size_t begin = 0;
    while (begin < outbox_.size()) {
        std::size_t end = begin;
        std::size_t text = 0;
        while (end < outbox_.size() && end - begin < drive::kMaxBatch && text < kTextLimit) {
            if (const auto* open = std::get_if<drive::Open>(&outbox_[end]))
                text += open->path.size();
            ++end;
        }
        DRAY_TRY(drive_.submit(std::span(outbox_).subspan(begin, end - begin)));
        begin = end;
    }
    outbox_.clear();
    return {};
}

Result<void> Import::pump() {
    const auto died = [](const Error& error) -> Error {
        // Its end is a crash of the pair, not the device's.
        return Error(ErrorKind::Internal, "dray-drive has ended: " + error.text());
    };
    if (Result<void> flushed = flush(); !flushed)
        return fail(died(flushed.error()));
    pollfd waiting[] = {{drive_.fd(), POLLIN, 0}, {control_.wake_fd(), POLLIN, 0}};
    if (poll(waiting, 2, -1) < 0 && errno != EINTR)
        return fail_errno(errno, "cannot wait");
    if (waiting[1].revents != 0)
        control_.clear();
    for (const Lanes::Conclusion& conclusion : lanes_.collect())
        conclusion();
    if (waiting[0].revents != 0) {
        Result<std::vector<drive::Reply>> replies = drive_.try_receive();
        if (!replies)
            return fail(died(replies.error()));
        for (const drive::Reply& reply : *replies)
            DRAY_TRY(heard(reply));
    }
    progress_.pieces_journaled = journal_.pieces_committed();
    // What waits for nothing any more: a stop or a drain may have cut it short.
    std::vector<BlobWork*> idle;
    for (const auto& [index, work] : works_)
        if (work->outstanding == 0 && work->is_issued)
            idle.push_back(work.get());
    for (BlobWork* work : idle)
        settle(*work);
    return {};
}

Result<void> Import::heard(const drive::Reply& reply) {
    unanswered_ -= std::min(unanswered_, 1U);
    const auto work_of = [&](std::uint32_t file) -> BlobWork* {
        const auto found = open_files_.find(file);
        return found == open_files_.end() ? nullptr : found->second;
    };
    const auto take_part = [&](std::uint64_t request) -> std::optional<Part> {
        const auto found = parts_.find(request);
        if (found == parts_.end())
            return std::nullopt;
        const Part part = found->second;
        parts_.erase(found);
        return part;
    };
    // A number that was never given out is a lie; the pair ends.
    const auto lie = [] { return fail(ErrorKind::Internal, "dray-drive answered what nobody asked"); };
    return std::visit(
        Overloaded{
            [&](const drive::Opened& opened) -> Result<void> {
                if (side_file_ == opened.file) {
                    side_size_ = opened.size;
                    return {};
                }
                BlobWork* work = work_of(opened.file);
                if (work == nullptr || work->file_size || work->outstanding == 0)
                    return lie();
                work->file_size = opened.size;
                --work->outstanding;
                return {};
            },
            [&](const drive::OpenFailed& failed) -> Result<void> {
                if (side_file_ == failed.file) {
                    side_size_ = fail(drive::to_error(failed.failure));
                    return {};
                }
                BlobWork* work = work_of(failed.file);
                if (work == nullptr || work->open_error || work->outstanding == 0)
                    return lie();
                is_gone_ = is_gone_ || failed.failure.kind == ErrorKind::Gone;
                work->open_error = drive::to_error(failed.failure);
                --work->outstanding;
                return {};
            },
            [&](const drive::ReadDone& done) -> Result<void> {
                if (side_request_ == done.request) {
                    side_read_ = Result<void>();
                    return {};
                }
                const std::optional<Part> part = take_part(done.request);
                return part ? arrived(*part) : lie();
            },
            [&](const drive::ReadFailed& failed) -> Result<void> {
                if (side_request_ == failed.request) {
                    side_read_ = fail(drive::to_error(failed.failure));
                    return {};
                }
                const std::optional<Part> part = take_part(failed.request);
                if (!part)
                    return lie();
                read_failed(*part, failed.failure);
                return {};
            },
            [&](const drive::Done&) -> Result<void> { return lie(); },
            [&](const drive::Failed&) -> Result<void> { return lie(); },
        },
        reply);
}

void Import::read_failed(const Part& part, const drive::Failure& failure) {
    BlobWork& work = *part.work;
    ring_.give_back(part.ring_offset);
    --work.outstanding;
    if (failure.kind == ErrorKind::Gone) {
        is_gone_ = true;
        return;
    }
    if (work.open_error)
        return;
    const bool is_short = work.file_size && part.offset + part.length > *work.file_size;
    piece_done(work, part.piece, is_short ? PieceOutcome::FileUnexpectedEnd : PieceOutcome::IOFailed);
}

// Whether the piece, as far as it has come, is what the manifest says. Whatever has arrived together could
// be hashed together here.
bool Import::verify(const Part& part) {
    BlobWork& work = *part.work;
    const std::span<const std::byte> content = drive_.ring().subspan(part.ring_offset, part.length);
    const Md5Hash& wanted = work.blob.pieces[part.piece].hash;
    if (part.is_first && part.is_last)
        return md5(content) == wanted;
    if (part.is_first)
        work.digest.emplace(DigestKind::Md5);
    work.digest->update(content);
    return !part.is_last || std::ranges::equal(work.digest->finish(), wanted);
}

Result<void> Import::arrived(const Part& part) {
    BlobWork& work = *part.work;
    const bool is_right = verify(part);
    if (!is_right)
        piece_done(work, part.piece, PieceOutcome::Corrupted);
    // A block blob with a bad piece is not published: the rest is only looked at, for the log.
    const bool is_wanted = is_right && !fault_ && !is_gone_ && (work.blob.is_page_blob || !work.has_bad_piece());
    if (is_wanted && work.is_whole()) {
        put_whole(work, part);
    } else if (is_wanted) {
        put_part(part);
    } else {
        ring_.give_back(part.ring_offset);
        --work.outstanding;
        if (is_right && part.is_last && !fault_ && !is_gone_)
            piece_done(work, part.piece, PieceOutcome::Completed);
    }
    return {};
}

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
            if (result && part.is_last && !done.pieces[part.piece]) {
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
        progress_.bytes_succeeded += length;
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
            DRAY_TRY(journal_.record_intent(work.index, work.name.path()));
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
            record.disposition = disposition_of(work, has_replaced);
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
    if (work.blob.pieces.empty())
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
            DRAY_TRY(journal_.record_intent(work.index, work.name.path()));
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
            record.disposition = disposition_of(work, has_replaced);
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
    if (outcome == BlobOutcome::Completed) {
        record.bytes_succeeded = bytes_of(work.blob);
    } else {
        record.disposition = DispositionOutcome::Cancelled;
    }
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

Result<void> Import::fetch_side_files(BlobWork& work) {
    std::vector<std::byte> content;
    if (work.blob.metadata) {
        DRAY_LET(work.metadata_outcome, fetch_side_file(*work.blob.metadata, content));
        if (work.metadata_outcome == SideFileOutcome::Completed)
            work.metadata_outcome = take_metadata(content, work.blob.metadata->hash, work.metadata);
    }
    if (work.blob.properties) {
        DRAY_LET(work.properties_outcome, fetch_side_file(*work.blob.properties, content));
        if (work.properties_outcome == SideFileOutcome::Completed)
            work.properties_outcome = take_properties(content, work.blob.properties->hash, work.properties);
    }
    return {};
}

// Small and rare: asked for and waited for, while everything else goes on. The content is copied out of the
// ring before anything looks at it (rules.md 11).
Result<SideFileOutcome> Import::fetch_side_file(const format::SideFile& file, std::vector<std::byte>& content) {
    Result<std::string> path = format::to_lookup_path(file.path);
    if (!path)
        return path.error().kind() == ErrorKind::LimitReached ? SideFileOutcome::FileNameTooLong
                                                              : SideFileOutcome::FileNameInvalid;
    const std::uint32_t number = free_files_.back();
    free_files_.pop_back();
    const auto close = [&] {
        ask(drive::Close{number});
        free_files_.push_back(number);
        side_file_.reset();
        side_size_.reset();
        side_request_.reset();
        side_read_.reset();
    };
    side_file_ = number;
    ask(drive::Open{number, *std::move(path)});
    while (!side_size_)
        DRAY_TRY(pump());
    if (!*side_size_ || **side_size_ > format::kMaxSideFile) {
        const SideFileOutcome outcome =
            *side_size_ ? SideFileOutcome::XmlReadFailed : outcome_of_side(side_size_->error().kind());
        is_gone_ = is_gone_ || (!*side_size_ && side_size_->error().kind() == ErrorKind::Gone);
        close();
        return outcome;
    }
    content.resize(static_cast<std::size_t>(**side_size_));
    SideFileOutcome outcome = SideFileOutcome::Completed;
    if (!content.empty()) {
        std::optional<Bytes> extent;
        while (!(extent = ring_.take(content.size())))
            DRAY_TRY(pump());
        side_request_ = next_request_++;
        ask(drive::Read{*side_request_, number, 0, content.size(), *extent});
        while (!side_read_)
            DRAY_TRY(pump());
        std::ranges::copy(drive_.ring().subspan(*extent, content.size()), content.begin());
        ring_.give_back(*extent);
        if (!*side_read_) {
            is_gone_ = is_gone_ || side_read_->error().kind() == ErrorKind::Gone;
            outcome = outcome_of_side(side_read_->error().kind());
        }
    }
    close();
    return outcome;
}

}  // namespace dray::transfer
