// SPDX-License-Identifier: Apache-2.0
//
// Read errors (rules.md 1). A disk that is pulled answers EIO before anybody says that it is gone. So what could not be
// read is read a second time when all else of the drive has come (dray-drive then goes in steps of 4 KiB), and counts
// as unreadable only when drayd has seen no removal for a while after that. Then the bytes are looked for that are lost.
#include <algorithm>
#include <utility>

#include "daemon/format/xml_text.hpp"
#include "daemon/transfer/import.hpp"

namespace dray::transfer {
namespace {

/// drayd's log names so many ranges; the error log has all of them.
constexpr unsigned kMostLossesTold = 100;
/// Of one blob: after these only its pieces are named.
constexpr std::size_t kMostRanges = 4096;

}  // namespace

using format::BlobOutcome;
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

void Import::await_second_look(BlobWork& work) {
    if (may_read()) {
        unread_.insert(work.index);
        return;
    }
    // The journal says nothing of it: the next run reads it anew.
    was_cut_short_ = true;
    drop(work);
}

// Called when nothing is left to do but this: at the end of the drive, or when a later blob waits for one of these.
Result<void> Import::look_again() {
    is_looking_again_ = true;
    const std::set<std::uint64_t> again = std::exchange(unread_, {});
    for (const std::uint64_t index : again)
        if (const auto found = works_.find(index); found != works_.end())
            DRAY_TRY(read_again(*found->second));
    const auto is_under_way = [&] {
        for (const std::uint64_t index : again)
            if (works_.contains(index) && !unread_.contains(index))
                return true;
        return false;
    };
    while (is_under_way())
        DRAY_TRY(pump());
    const std::set<std::uint64_t> failed = std::exchange(unread_, {});
    const bool is_stopped = !failed.empty() && control_.is_stopped_within(removal_limit_);
    // Held, so that none of them is settled while the lost bytes of another are looked for.
    std::vector<BlobWork*> held;
    for (const std::uint64_t index : failed)
        if (const auto found = works_.find(index); found != works_.end())
            held.push_back(found->second.get());
    for (BlobWork* work : held)
        ++work->outstanding;
    for (BlobWork* work : held) {
        if (!is_stopped)
            DRAY_TRY(find_lost(*work));
        work->is_confirmed = !is_stopped && !control_.is_stopping();
        if (work->is_confirmed && !fault_ && !is_gone_)
            tell_lost(*work);
        --work->outstanding;
        settle(*work);
    }
    is_looking_again_ = false;
    return {};
}

Result<void> Import::read_again(BlobWork& work) {
    unread_.erase(work.index);
    work.is_issued = false;
    if (work.open_error) {
        work.open_error.reset();
        work.is_open_answered = false;
    }
    std::vector<std::size_t> unread;
    for (std::size_t piece = 0; piece < work.pieces.size(); ++piece) {
        if (work.pieces[piece] == PieceOutcome::IOFailed) {
            work.pieces[piece].reset();
            work.bytes_counted -= work.blob.pieces[piece].length;
            progress_.bytes_done -= work.blob.pieces[piece].length;
        }
        if (!work.pieces[piece])
            unread.push_back(piece);
    }
    if (!work.is_open_answered) {
        DRAY_LET(std::string path, format::to_lookup_path(work.blob.file_path));
        ++work.outstanding;
        ask(drive::Close{work.file});
        ask(drive::Open{work.file, std::move(path)});
    }
    for (const std::size_t piece : unread) {
        DRAY_TRY(issue_piece(work, piece));
        if (!may_read())
            break;
    }
    work.is_issued = true;
    settle(work);
    return {};
}

// Nothing of what is read here counts: a piece whose hash cannot be had is lost as a whole, and its bytes are looked for
// only to be named.
Result<void> Import::find_lost(BlobWork& work) {
    work.lost.clear();
    if (work.open_error) {
        work.lost.push_back({0, work.blob.length, true});
        return {};
    }
    for (std::size_t piece = 0; piece < work.pieces.size(); ++piece) {
        if (work.pieces[piece] != PieceOutcome::IOFailed)
            continue;
        const Bytes begin = work.blob.pieces[piece].offset;
        const Bytes end = std::min(begin + work.blob.pieces[piece].length, work.file_size.value_or(0));
        std::vector<format::LostRange> lost;
        if (work.lost.size() < kMostRanges) {
            SurveyLimits limits;
            limits.time = std::min(limits.time, survey_time_);
            Survey survey({begin, end}, sector_, limits);
            DRAY_TRY(find_lost(work, survey));
            lost = survey.lost();
        }
        // All of it can be read in small parts by now, yet as a whole it could not, twice.
        if (lost.empty())
            lost.push_back({begin, end - begin, false});
        work.lost.insert(work.lost.end(), lost.begin(), lost.end());
    }
    put_in_order(work.lost);
    return {};
}

Result<void> Import::find_lost(const BlobWork& work, Survey& survey) {
    std::optional<Bytes> extent;
    while (may_read() && !(extent = ring_.take(kSurveyRead)))
        DRAY_TRY(pump());
    while (may_read()) {
        const std::optional<Survey::Range> range = survey.next();
        if (!range)
            break;
        const Microseconds start = clock_.since_boot();
        survey_read_.reset();
        survey_request_ = next_request_++;
        ask(drive::Read{*survey_request_, work.file, range->begin, range->end - range->begin, *extent});
        while (!survey_read_)
            DRAY_TRY(pump());
        is_gone_ = is_gone_ || (!*survey_read_ && survey_read_->error().kind() == ErrorKind::Gone);
        const Microseconds time = clock_.since_boot() - start;
        survey_time_ -= time;
        survey.took(*range, survey_read_->has_value(), time);
    }
    survey_request_.reset();
    if (extent)
        ring_.give_back(*extent);
    return {};
}

void Import::tell_lost(const BlobWork& work) {
    for (const format::LostRange& range : work.lost) {
        if (!warn_ || losses_told_ > kMostLossesTold)
            return;
        if (++losses_told_ > kMostLossesTold)
            return warn_("more of the drive cannot be read; the error log names it");
        warn_(fmt::format("{}: {}{} bytes from {} on cannot be read", format::shown(work.blob.file_path),
                          range.is_exact ? "" : "up to ", range.length, range.offset));
    }
}

Result<SideFileOutcome> Import::fetch_side_file_twice(const format::SideFile& file, std::vector<std::byte>& content) {
    DRAY_LET(const SideFileOutcome outcome, fetch_side_file(file, content));
    if (outcome != SideFileOutcome::IOFailed || is_gone_)
        return outcome;
    // Waiting stops the copy; but a side file that cannot be read is rare, and its blob cannot begin without it.
    if (control_.is_stopped_within(removal_limit_))
        return outcome;
    return fetch_side_file(file, content);
}

}  // namespace dray::transfer
