// SPDX-License-Identifier: Apache-2.0
//
// Read errors (rules.md 1). A disk that is pulled answers EIO before anybody says that it is gone. So what could not be
// read is read a second time when all else of the drive has come (dray-drive then goes in steps of 4 KiB), and counts
// as unreadable only when drayd has seen no removal for a while after that.
#include <utility>

#include "daemon/transfer/import.hpp"

namespace dray::transfer {

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
    for (const std::uint64_t index : failed) {
        const auto found = works_.find(index);
        if (found == works_.end())
            continue;
        found->second->is_confirmed = !is_stopped;
        settle(*found->second);
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
