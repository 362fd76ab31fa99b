// SPDX-License-Identifier: Apache-2.0
//
// Import's talk with dray-drive: requests out, replies in; and side files.
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "daemon/base/overloaded.hpp"
#include "daemon/format/blob_properties.hpp"
#include "daemon/transfer/import.hpp"

namespace dray::transfer {
namespace {

using format::PieceOutcome;
using format::SideFileOutcome;

SideFileOutcome outcome_of_side(ErrorKind kind) {
    switch (kind) {
        case ErrorKind::NotFound: return SideFileOutcome::FileNotFound;
        case ErrorKind::Denied:
        case ErrorKind::Unsupported: return SideFileOutcome::FileAccessDenied;
        case ErrorKind::InvalidArgument: return SideFileOutcome::FileNameInvalid;
        default: return SideFileOutcome::IOFailed;
    }
}

}  // namespace

void Import::ask(drive::Request request) {
    if (unanswered_ == 0)
        heard_ = clock_.since_boot();
    // Close is the one request without a reply.
    unanswered_ += std::holds_alternative<drive::Close>(request) ? 0 : 1;
    outbox_.push_back(std::move(request));
}

Result<void> Import::flush() {
    // As many to a message as fit; paths may be long.
    constexpr std::size_t kTextLimit = 64 * kKiB;
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
    if (!is_looking_again_ && !unread_.empty() && unread_.size() == works_.size())
        return look_again();
    const auto died = [](const Error& error) -> Error {
        // Its end is a crash of the pair, not the device's.
        return Error(ErrorKind::Internal, error.text());
    };
    if (Result<void> flushed = flush(); !flushed)
        return fail(died(flushed.error()));
    pollfd waiting[] = {{drive_.fd(), POLLIN, 0}, {control_.wake_fd(), POLLIN, 0}};
    const Microseconds left = unanswered_ == 0 ? patience_ : heard_ + patience_ - clock_.since_boot();
    if (left <= Microseconds(0))
        return fail(ErrorKind::Internal, "dray-drive has not answered for {}", format_duration(patience_));
    // While there is something to hash nobody sleeps.
    const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(hashing_.empty() ? left : Microseconds(0));
    if (poll(waiting, 2, static_cast<int>(milliseconds.count())) < 0 && errno != EINTR)
        return fail_errno(errno, "cannot wait");
    if (waiting[1].revents != 0)
        control_.clear();
    for (const Lanes::Conclusion& conclusion : lanes_.collect())
        conclusion();
    if (waiting[0].revents != 0) {
        Result<std::vector<drive::Reply>> replies = drive_.try_receive();
        if (!replies)
            return fail(died(replies.error()));
        heard_ = clock_.since_boot();
        for (const drive::Reply& reply : *replies)
            DRAY_TRY(heard(reply));
    }
    hash_on();
    progress_.pieces_journaled = journal_.pieces_committed();
    if (!fault_)
        fault_ = sync_failure();
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
                    if (side_size_)
                        return lie();
                    side_size_ = opened.size;
                    return {};
                }
                BlobWork* work = work_of(opened.file);
                if (work == nullptr || std::exchange(work->is_open_answered, true) || work->outstanding == 0)
                    return lie();
                work->file_size = opened.size;
                --work->outstanding;
                return {};
            },
            [&](const drive::OpenFailed& failed) -> Result<void> {
                if (side_file_ == failed.file) {
                    if (side_size_)
                        return lie();
                    side_size_ = fail(drive::to_error(failed.failure));
                    return {};
                }
                BlobWork* work = work_of(failed.file);
                if (work == nullptr || std::exchange(work->is_open_answered, true) || work->outstanding == 0)
                    return lie();
                is_gone_ = is_gone_ || failed.failure.kind == ErrorKind::Gone;
                work->open_error = drive::to_error(failed.failure);
                say_why(failed.failure);
                --work->outstanding;
                return {};
            },
            [&](const drive::ReadDone& done) -> Result<void> {
                if (side_request_ == done.request) {
                    if (side_read_)
                        return lie();
                    side_read_ = Result<void>();
                    return {};
                }
                if (survey_request_ == done.request) {
                    survey_read_ = Result<void>();
                    return {};
                }
                const std::optional<Part> part = take_part(done.request);
                if (!part)
                    return lie();
                arrived(*part);
                return {};
            },
            [&](const drive::ReadFailed& failed) -> Result<void> {
                if (side_request_ == failed.request) {
                    if (side_read_)
                        return lie();
                    side_read_ = fail(drive::to_error(failed.failure));
                    return {};
                }
                if (survey_request_ == failed.request) {
                    survey_read_ = fail(drive::to_error(failed.failure));
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
            [&](const drive::Checkpointed&) -> Result<void> { return lie(); },
            [&](const drive::CheckpointDue&) -> Result<void> { return lie(); },
            [&](const drive::Found&) -> Result<void> { return lie(); },
        },
        reply);
}

// A file that is missing or misnamed needs no words beyond the log's, and the first few are enough for the others.
void Import::say_why(const drive::Failure& failure) {
    constexpr unsigned kMostWarnings = 20;
    if (!warn_ || failure.kind == ErrorKind::NotFound || failure.kind == ErrorKind::InvalidArgument ||
        failure.kind == ErrorKind::Gone || warnings_ > kMostWarnings)
        return;
    ++warnings_;
    warn_(warnings_ > kMostWarnings ? "there are more files that cannot be opened; the error log names them"
                                    : failure.message);
}

void Import::read_failed(const Part& part, const drive::Failure& failure) {
    BlobWork& work = *part.work;
    ring_.give_back(part.ring_offset);
    --work.outstanding;
    if (failure.kind == ErrorKind::Gone) {
        is_gone_ = true;
        return;
    }
    if (!part.is_piece())
        break_off(work, part.piece);
    if (work.open_error)
        return;
    const bool is_short = work.file_size && part.offset + part.length > *work.file_size;
    piece_done(work, part.piece, is_short ? PieceOutcome::FileUnexpectedEnd : PieceOutcome::IOFailed);
}

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

Result<void> Import::fetch_side_files(BlobWork& work) {
    std::vector<std::byte> content;
    if (work.blob.metadata) {
        DRAY_LET(work.metadata_outcome, fetch_side_file_twice(*work.blob.metadata, content));
        if (work.metadata_outcome == SideFileOutcome::Completed)
            work.metadata_outcome = take_metadata(content, work.blob.metadata->hash, work.metadata);
    }
    if (work.blob.properties) {
        DRAY_LET(work.properties_outcome, fetch_side_file_twice(*work.blob.properties, content));
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
