// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/export.hpp"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <utility>

#include "daemon/base/encoding.hpp"
#include "daemon/format/blob_properties.hpp"

namespace dray::transfer {
namespace {

using format::BlobOutcome;

constexpr Bytes kPiece = 4 * kMiB;
/// Up to here a blob may be imported again without ids (azure-import-export.md 4.3).
constexpr Bytes kNoIdsUpTo = 64 * kMiB;
constexpr std::size_t kMostOpen = 64;
/// A blob that changes all the time is given up.
constexpr unsigned kMostTries = 3;
constexpr unsigned kMostWarnings = 100;
/// The number of side files; blobs have those below.
constexpr std::uint32_t kSideFile = drive::kMaxFiles - 1;
constexpr int kWaitMilliseconds = 1000;

constexpr Bytes aligned(Bytes bytes) {
    return (bytes + drive::kRingAlignment - 1) / drive::kRingAlignment * drive::kRingAlignment;
}

std::vector<store::Piece> cut(Bytes length) {
    std::vector<store::Piece> pieces;
    for (Bytes offset = 0; offset < length; offset += kPiece)
        pieces.push_back({.offset = offset, .length = std::min(kPiece, length - offset), .id = {}, .content = {}});
    return pieces;
}

/// Pages in pieces as a manifest may have them; blocks as they are, unless one does not go through the ring at once.
std::vector<store::Piece> fitting(std::vector<store::Piece> pieces, const store::BlobStatus& status) {
    if (status.type == store::BlobType::Block)
        return std::ranges::all_of(pieces, [](const store::Piece& piece) { return piece.length <= drive::kMaxRead; })
                   ? std::move(pieces)
                   : cut(status.length);
    std::vector<store::Piece> parts;
    for (const store::Piece& piece : pieces)
        for (store::Piece part : cut(piece.length)) {
            part.offset += piece.offset;
            parts.push_back(std::move(part));
        }
    return parts;
}

format::PropertiesFile properties_of(const store::BlobProperties& properties) {
    return {properties.content_type, properties.content_md5, properties.content_encoding, properties.content_language,
            properties.cache_control};
}

}  // namespace

Export::Export(Parts parts)
    : drive_(parts.drive), store_(parts.store), journal_(parts.journal), names_(parts.names), control_(parts.control),
      progress_(parts.progress), clock_(parts.clock), parts_(std::move(parts)),
      ring_(drive_.ring().size() / drive::kRingAlignment * drive::kRingAlignment, drive::kRingAlignment),
      lanes_(std::max(1U, parts_.requests), [this] { control_.wake(); }) {
    for (std::uint32_t file = 0; file < kMostOpen; ++file)
        free_files_.insert(file);
}

Result<CopyEnd> Export::run(const std::optional<drive::Resumed>& resumed) {
    control_.set_copying();
    checkpoint_at_ = clock_.since_boot();
    if (resumed)
        DRAY_TRY(take_up(*resumed));
    else
        DRAY_TRY(journal_.go_back_to(0));
    DRAY_LET(const ExportJournal::Done done, journal_.done());
    progress_.blobs_done = done.blobs;
    progress_.blobs_failed = done.failed;
    progress_.bytes_done += done.bytes;
    progress_.bytes_succeeded += done.bytes_succeeded;
    for (;;) {
        DRAY_TRY(step());
        if (fault_)
            return fail(*std::exchange(fault_, {}));
        DRAY_LET(const bool is_end, is_over());
        if (is_end)
            break;
        DRAY_TRY(wait());
    }
    if (control_.is_stopping())
        return CopyEnd::Stopped;
    DRAY_LET(const std::optional<ExportEntry> left, journal_.next(0));
    return is_cut_short_ || left ? CopyEnd::Drained : CopyEnd::Done;
}

/// What was open goes on if its blob is still the one that was read; what nobody knows any more is taken away.
Result<void> Export::take_up(const drive::Resumed& resumed) {
    DRAY_LET(const ExportProgress progress, ExportProgress::parse(resumed.progress));
    DRAY_TRY(journal_.go_back_to(progress.generation));
    DRAY_LET(std::vector<ExportPart> parts, journal_.begun());
    for (const drive::Resumed::File& file : resumed.files) {
        const auto known = progress.files.find(file.file);
        if (known == progress.files.end() || !free_files_.contains(file.file))
            return fail(ErrorKind::Corrupt, "the drive has a file open that no export knows of");
        auto work = std::make_shared<Work>();
        DRAY_LET(work->entry, journal_.entry(known->second));
        work->file = file.file;
        work->is_on_drive = true;
        work->part_written = file.written;
        for (ExportPart& part : parts)
            if (part.index == work->entry.index)
                work->part = std::move(part);
        // They are made again when the blob is whole.
        for (const std::string& side : work->part ? work->part->sides : std::vector<std::string>())
            ask(drive::Remove{side}, {Pending::Kind::Directory, nullptr, {}, 0});
        work->status.length = file.size;
        free_files_.erase(file.file);
        works_[work->entry.index] = work;
        look(work);
    }
    return {};
}

Result<bool> Export::is_over() {
    if (!pending_.empty() || fetching_ != 0 || !batch_.empty() || is_checkpoint_out_)
        return false;
    const bool is_leaving = control_.is_stopping();
    if (!is_leaving && !(works_.empty() && (!has_next_ || control_.is_draining_to(DrainMode::Blob))))
        return false;
    if (has_last_checkpoint_)
        return true;
    // The last one: what has ended is on the drive for good.
    DRAY_TRY(begin_checkpoint());
    has_last_checkpoint_ = true;
    return false;
}

Result<void> Export::step() {
    control_.clear();
    for (const Lanes::Conclusion& conclude : lanes_.collect())
        conclude();
    DRAY_LET(const std::vector<drive::Reply> replies, drive_.try_receive());
    for (const drive::Reply& reply : replies)
        DRAY_TRY(heard(reply));
    if (fault_)
        return {};
    const bool is_leaving = control_.is_stopping();
    if (!is_leaving)
        DRAY_TRY(begin_more());
    // A copy: what has ended leaves the map.
    const std::map<std::uint64_t, std::shared_ptr<Work>> works = works_;
    for (const auto& [index, work] : works) {
        while (!is_leaving && fetch(work)) {
        }
        if (!is_leaving)
            settle(work);
    }
    if (is_checkpoint_due() && !is_leaving)
        DRAY_TRY(begin_checkpoint());
    return submit();
}

Result<void> Export::wait() {
    if (!batch_.empty())
        return submit();
    pollfd waiting[] = {{drive_.fd(), POLLIN, 0}, {control_.wake_fd(), POLLIN, 0}};
    if (poll(waiting, 2, kWaitMilliseconds) < 0 && errno != EINTR)
        return fail_errno(errno, "cannot wait");
    return {};
}

// -- blobs

Result<void> Export::begin_more() {
    while (has_next_ && !free_files_.empty() && !control_.is_draining_to(DrainMode::Blob) && ahead() < ring_.size()) {
        DRAY_LET(std::optional<ExportEntry> entry, journal_.next(next_index_));
        has_next_ = entry.has_value();
        if (!entry)
            return {};
        next_index_ = entry->index + 1;
        const bool has_ended = std::ranges::any_of(ended_, [&](const ExportOutcome& one) { return one.index == entry->index; });
        if (has_ended || works_.contains(entry->index))
            continue;
        auto work = std::make_shared<Work>();
        work->entry = *std::move(entry);
        work->file = *free_files_.begin();
        free_files_.erase(free_files_.begin());
        works_[work->entry.index] = work;
        look(work);
    }
    return {};
}

/// Of the blobs in hand, what is still to be asked for. More of them than fill the ring would only be more to bring to an end.
Bytes Export::ahead() const {
    Bytes bytes = 0;
    for (const auto& [index, work] : works_) {
        if (work->pieces.empty())
            bytes += work->step == Step::Looking ? work->entry.length : 0;
        for (std::size_t i = work->next_piece; i < work->pieces.size() && bytes < ring_.size(); ++i)
            bytes += work->pieces[i].length;
    }
    return bytes;
}

void Export::look(const std::shared_ptr<Work>& work) {
    work->step = Step::Looking;
    ++fetching_;
    lanes_.add([this, work, has_changed = work->has_changed, stop = control_.stop_token()]() -> Lanes::Conclusion {
        Result<Looked> result = fail(ErrorKind::Internal, "nothing was looked at");
        try {
            result = look_at(store_, work->entry, has_changed, stop);
        } catch (const std::exception& exception) {
            result = fail(ErrorKind::Internal, "unexpected: {}", exception.what());
        }
        return [this, work, result = std::move(result)]() mutable {
            --fetching_;
            looked(work, std::move(result));
        };
    });
}

// Once it has changed under our hands, a snapshot is what stays; without snapshots it is tried again as it is now.
Result<Export::Looked> Export::look_at(store::BlobStore& store, const ExportEntry& entry, bool has_changed,
                                       const std::stop_token& stop) {
    Looked looked;
    looked.source = entry.name;
    if (has_changed && entry.name.snapshot.empty()) {
        Result<std::string> snapshot = store.snapshot(entry.name);
        if (snapshot) {
            looked.source.snapshot = *std::move(snapshot);
            looked.is_our_snapshot = true;
        } else if (snapshot.error().kind() != ErrorKind::Unsupported) {
            return fail(std::move(snapshot.error()));
        }
    }
    DRAY_LET(looked.status, store.stat(looked.source));
    if (looked.status.is_archived)
        return fail(ErrorKind::Unsupported, "it is archived; it has to be brought back to another tier first");
    if (looked.status.length == 0)
        return looked;
    const bool has_pieces = looked.status.length > kPiece || looked.status.type == store::BlobType::Page;
    std::optional<std::vector<store::Piece>> pieces;
    if (has_pieces) {
        DRAY_LET(pieces, store.pieces(looked.source, looked.status.etag, stop));
    }
    looked.pieces = pieces ? fitting(*std::move(pieces), looked.status) : cut(looked.status.length);
    return looked;
}

void Export::looked(const std::shared_ptr<Work>& work, Result<Looked> looked) {
    if (!looked) {
        refused(*work, looked.error());
        return settle(work);
    }
    const Bytes before = work->is_on_drive ? work->status.length : 0;
    work->has_changed = false;
    work->source = std::move(looked->source);
    work->is_our_snapshot = looked->is_our_snapshot;
    work->status = std::move(looked->status);
    if ((work->status.type == store::BlobType::Page) != work->entry.is_page_blob) {
        work->failure = BlobOutcome::BlobUnexpectedChange;
        return settle(work);
    }
    work->pieces = std::move(looked->pieces);
    work->hashes.assign(work->pieces.size(), Md5Hash{});
    work->is_written.assign(work->pieces.size(), false);
    work->next_piece = 0;
    if (work->is_on_drive && before == work->status.length && goes_on(*work)) {
        work->step = Step::Reading;
        return;
    }
    create(work);
}

/// Whether a part of an earlier run is a part of this blob: then reading begins behind it.
bool Export::goes_on(Work& work) {
    const std::optional<ExportPart> part = std::exchange(work.part, std::nullopt);
    if (!part || part->etag.empty() || part->etag != work.status.etag)
        return false;
    Bytes bytes = 0;
    for (std::size_t i = 0; i < std::min(part->hashes.size(), work.pieces.size()); ++i) {
        const store::Piece& piece = work.pieces[i];
        if (piece.offset + piece.length > work.part_written)
            break;
        work.hashes[i] = part->hashes[i];
        work.is_written[i] = true;
        work.next_piece = i + 1;
        bytes += piece.length;
    }
    count(work, bytes);
    return true;
}

void Export::create(const std::shared_ptr<Work>& work) {
    if (std::exchange(work->is_on_drive, false)) {
        ++work->asked;
        ask(drive::Remove{work->entry.path}, {Pending::Kind::Remove, work, {}, 0});
    }
    make_directories(work->entry.path);
    work->step = Step::Creating;
    work->is_on_drive = true;
    ++work->asked;
    ask(drive::Create{work->file, work->entry.path, work->status.length, to_usec(work->status.modified)},
        {Pending::Kind::Create, work, {}, 0});
}

void Export::make_directories(const std::string& path) {
    for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1))
        if (const std::string directory = path.substr(0, slash); directories_.insert(directory).second)
            ask(drive::MakeDirectory{directory}, {Pending::Kind::Directory, nullptr, {}, 0});
}

/// Asks for one more range of it. False: there is none, or no room for it.
bool Export::fetch(const std::shared_ptr<Work>& work) {
    if (work->step != Step::Reading || work->has_changed || work->failure || work->next_piece == work->pieces.size() ||
        fetching_ >= parts_.requests || fault_ || pending_.size() + fetching_ >= drive::kMaxInFlight - 16)
        return false;
    if (control_.is_draining_to(DrainMode::Piece))
        return false;
    const std::size_t first = work->next_piece;
    const Bytes offset = work->pieces[first].offset;
    Bytes length = work->pieces[first].length;
    std::size_t count = 1;
    for (; first + count < work->pieces.size(); ++count) {
        const store::Piece& piece = work->pieces[first + count];
        if (piece.offset != offset + length || length + piece.length > kPiece)
            break;
        length += piece.length;
    }
    const std::optional<Bytes> extent = ring_.take(aligned(length));
    if (!extent)
        return false;
    work->next_piece += count;
    ++work->fetching;
    ++fetching_;
    const std::span<std::byte> content = drive_.ring().subspan(static_cast<std::size_t>(*extent), static_cast<std::size_t>(length));
    lanes_.add([this, work, first, count, offset, content, extent = *extent, stop = control_.stop_token()]() -> Lanes::Conclusion {
        Result<void> result;
        try {
            result = store_.read(work->source, offset, content, work->status.etag, stop);
            std::size_t done = 0;
            for (std::size_t i = first; result && i < first + count; ++i) {
                const auto size = static_cast<std::size_t>(work->pieces[i].length);
                // Nobody else looks at these places before the conclusion.
                work->hashes[i] = md5(content.subspan(done, size));
                done += size;
            }
        } catch (const std::exception& exception) {
            result = fail(ErrorKind::Internal, "unexpected: {}", exception.what());
        }
        return [this, work, first, count, extent, result] {
            --fetching_;
            fetched(work, first, count, extent, result);
        };
    });
    return true;
}

void Export::fetched(const std::shared_ptr<Work>& work, std::size_t first, std::size_t count_of, Bytes extent,
                     const Result<void>& result) {
    --work->fetching;
    if (!result || work->has_changed || work->failure) {
        ring_.give_back(extent);
        if (!result)
            refused(*work, result.error());
        return;
    }
    const Bytes offset = work->pieces[first].offset;
    Bytes length = 0;
    for (std::size_t i = first; i < first + count_of; ++i) {
        work->is_written[i] = true;
        length += work->pieces[i].length;
    }
    ++work->asked;
    const std::uint64_t request = static_cast<std::uint64_t>(extent) + 1;
    ask(drive::Write{request, work->file, offset, length, extent}, {Pending::Kind::Write, work, extent, length});
}

void Export::refused(Work& work, const Error& error) {
    switch (error.kind()) {
        case ErrorKind::Busy: work.has_changed = true; return;
        case ErrorKind::Cancelled: return;
        case ErrorKind::Unreachable:
        case ErrorKind::Gone:
        case ErrorKind::Internal:
        case ErrorKind::NoSpace:
        case ErrorKind::LimitReached:
            if (!fault_)
                fault_ = of_store(error);
            return;
        case ErrorKind::Denied:
            if (!store_.check()) {
                if (!fault_)
                    fault_ = error;
                return;
            }
            work.failure = BlobOutcome::BlobRequestForbidden;
            break;
        default: work.failure = BlobOutcome::BlobRequestFailed; break;
    }
    if (warned_++ < kMostWarnings)
        parts_.warn(fmt::format("{}: {}", work.entry.name.path(), error.text()));
}

void Export::settle(const std::shared_ptr<Work>& work) {
    if (!works_.contains(work->entry.index) || work->fetching != 0 || work->asked != 0 || fault_)
        return;
    if (work->failure || work->has_no_room)
        return end(work);
    const bool is_given_up = control_.is_draining_to(DrainMode::Piece);
    switch (work->step) {
        case Step::Looking:
        case Step::Creating: return;
        case Step::Reading:
            if (work->has_changed)
                return start_over(work);
            if (work->next_piece == work->pieces.size()) {
                if (write_sides(work))
                    work->step = Step::Ending;
            } else if (is_given_up) {
                is_cut_short_ = true;
                work->failure = BlobOutcome::Failed;
                end(work);
            }
            return;
        case Step::Ending: return end(work);
    }
}

void Export::start_over(const std::shared_ptr<Work>& work) {
    drop_our_snapshot(*work);
    count(*work, 0);
    if (++work->tries >= kMostTries) {
        work->failure = BlobOutcome::BlobUnexpectedChange;
        return end(work);
    }
    look(work);
}

bool Export::write_sides(const std::shared_ptr<Work>& work) {
    if (!work->properties && !write_side(work, "properties", format::write_properties(properties_of(work->status.properties)),
                                         work->properties))
        return false;
    return work->metadata || work->status.metadata.empty() ||
           write_side(work, "metadata", format::write_metadata(work->status.metadata), work->metadata);
}

/// False: there is no room in the ring for it now.
bool Export::write_side(const std::shared_ptr<Work>& work, const std::string& extension, const std::string& text,
                        std::optional<format::SideFile>& side) {
    const std::optional<Bytes> extent = ring_.take(aligned(text.size()));
    if (!extent)
        return false;
    const Result<std::string> path = names_.side_file_of(work->entry.path, extension);
    if (!path) {
        ring_.give_back(*extent);
        work->failure = BlobOutcome::FileNameInvalid;
        return true;
    }
    const auto bytes = std::as_bytes(std::span(text));
    std::ranges::copy(bytes, drive_.ring().subspan(static_cast<std::size_t>(*extent)).begin());
    side = format::SideFile{format::to_manifest_path(*path), md5(bytes), false};
    work->asked += 2;
    ask(drive::Create{kSideFile, *path, text.size(), to_usec(work->status.modified)}, {Pending::Kind::Side, work, {}, 0});
    ask(drive::Write{*extent + 1, kSideFile, 0, text.size(), *extent}, {Pending::Kind::Side, work, extent, 0});
    batch_.emplace_back(drive::Close{kSideFile});
    return true;
}

void Export::end(const std::shared_ptr<Work>& work) {
    const bool is_good = !work->failure && !work->has_no_room;
    ExportOutcome outcome;
    outcome.index = work->entry.index;
    outcome.has_no_room = work->has_no_room;
    outcome.outcome = work->failure.value_or(work->has_no_room ? BlobOutcome::Failed : BlobOutcome::Completed);
    outcome.length = work->step == Step::Looking ? work->entry.length : work->status.length;
    outcome.modified = work->status.modified;
    const bool needs_ids = work->status.length > kNoIdsUpTo && work->status.type == store::BlobType::Block;
    for (std::size_t i = 0; is_good && i < work->pieces.size(); ++i) {
        const store::Piece& piece = work->pieces[i];
        const bool has_id = !piece.id.empty() || !needs_ids;
        outcome.pieces.push_back({piece.offset, piece.length, has_id ? piece.id : "MD5/" + to_base64(work->hashes[i]),
                                  work->hashes[i]});
    }
    if (is_good) {
        outcome.metadata = work->metadata;
        outcome.properties = work->properties;
        batch_.emplace_back(drive::Close{work->file});
    } else if (work->is_on_drive) {
        for (const auto* side : {&work->properties, &work->metadata})
            if (const auto path = *side && !work->has_no_room ? format::to_lookup_path((*side)->path) : Result<std::string>("");
                path && !path->empty())
                ask(drive::Remove{*path}, {Pending::Kind::Directory, nullptr, {}, 0});
        ask(drive::Remove{work->entry.path}, {Pending::Kind::Directory, nullptr, {}, 0});
    }
    drop_our_snapshot(*work);
    count(*work, work->entry.length);
    ++progress_.blobs_done;
    if (is_good)
        progress_.bytes_succeeded += outcome.length;
    else if (!work->has_no_room)
        ++progress_.blobs_failed;
    ended_.push_back(std::move(outcome));
    free_files_.insert(work->file);
    works_.erase(work->entry.index);
}

/// It was ours to read from, and nobody else knows of it. That it stays where it cannot be removed harms nobody.
void Export::drop_our_snapshot(const Work& work) {
    if (!work.is_our_snapshot)
        return;
    ++fetching_;
    lanes_.add([this, name = work.source]() -> Lanes::Conclusion {
        (void)store_.remove(name);
        return [this] { --fetching_; };
    });
}

/// Of this blob so much is done.
void Export::count(Work& work, Bytes bytes) {
    progress_.bytes_done += bytes - work.counted;
    work.counted = bytes;
}

}  // namespace dray::transfer
