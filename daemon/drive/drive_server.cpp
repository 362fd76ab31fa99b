// SPDX-License-Identifier: Apache-2.0
#include "daemon/drive/drive_server.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

namespace dray::drive {
namespace {

/// Replies wait for others to share a message with, but not when they hold up real work.
constexpr Bytes kFlushContent = kMiB;
constexpr std::size_t kFlushText = 64 * kKiB;
constexpr std::size_t kFlushReplies = 256;

/// ASCII letters alone: only our own names are looked for.
bool has_part(std::string_view name, std::string_view part) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
    return !std::ranges::search(name, part, {}, lower, lower).empty() || part.empty();
}

Failure wrong_mode() {
    return {ErrorKind::InvalidArgument, "the drive was opened for something else than this request"};
}

}  // namespace

DriveServer::DriveServer(MessageSocket& socket, std::span<std::byte> ring, fs::FileSystem* reader,
                         Filler* filler)
    : socket_(socket), ring_(ring), reader_(reader), filler_(filler), files_(kMaxFiles) {}

Result<void> DriveServer::serve() {
    for (;;) {
        Result<Message> first = socket_.receive();
        if (!first && first.error().kind() == ErrorKind::Gone)
            return {};
        if (!first)
            return fail(std::move(first.error()));
        Result<void> done = handle(*first);
        // All that has come is worked on before anybody sleeps: waking up costs more than a small piece.
        while (done) {
            Result<std::optional<Message>> next = socket_.try_receive();
            if (!next) {
                done = fail(std::move(next.error()));
                break;
            }
            const std::optional<Message>& message = *next;
            if (!message)
                break;
            done = handle(*message);
        }
        if (done)
            done = flush();
        if (!done && done.error().kind() == ErrorKind::Gone)
            return {};
        DRAY_TRY(std::move(done));
    }
}

Result<void> DriveServer::handle(const Message& message) {
    DRAY_LET(const ToDrive decoded, decode_to_drive(message.bytes));
    const auto* batch = std::get_if<Batch>(&decoded);
    if (batch == nullptr)
        return fail(ErrorKind::Corrupt, "the peer sent a message out of turn");
    for (const Request& request : batch->requests) {
        answer(request);
        tell_when_checkpoint_is_due();
        if (pending_content_ >= kFlushContent || pending_text_ >= kFlushText ||
            replies_.size() >= kFlushReplies)
            DRAY_TRY(flush());
    }
    return {};
}

Result<void> DriveServer::flush() {
    if (replies_.empty())
        return {};
    Replies message;
    message.replies = std::exchange(replies_, {});
    pending_text_ = 0;
    pending_content_ = 0;
    return socket_.send(encode(FromDrive(std::move(message))));
}

void DriveServer::answer(const Request& request) {
    std::visit([this](const auto& each) { answer(each); }, request);
    if (replies_.empty())
        return;
    if (const auto* failed = std::get_if<OpenFailed>(&replies_.back()))
        pending_text_ += failed->failure.message.size();
    if (const auto* failed = std::get_if<ReadFailed>(&replies_.back()))
        pending_text_ += failed->failure.message.size();
    if (const auto* failed = std::get_if<Failed>(&replies_.back()))
        pending_text_ += failed->failure.message.size();
    if (const auto* found = std::get_if<Found>(&replies_.back()))
        for (const std::string& name : found->names)
            pending_text_ += name.size();
}

void DriveServer::answer(const Open& open) {
    auto file = std::make_unique<OpenFile>();
    file->path = open.path;
    if (reader_ == nullptr) {
        file->state = wrong_mode();
    } else if (const Result<fs::FileStatus> status = reader_->lookup(open.path); !status) {
        file->state = to_failure(status.error());
    } else if (status->is_directory) {
        file->state = Failure{ErrorKind::Denied, open.path + ": it is a directory"};
    } else {
        file->state = *status;
    }
    if (const auto* failure = std::get_if<Failure>(&file->state))
        replies_.emplace_back(OpenFailed{open.file, *failure});
    else
        replies_.emplace_back(Opened{open.file, std::get<fs::FileStatus>(file->state).size});
    files_[open.file] = std::move(file);
}

void DriveServer::answer(const Close& close) {
    files_[close.file].reset();
    if (filler_ != nullptr)
        filler_->close(close.file);
}

Result<std::span<std::byte>> DriveServer::extent(Bytes ring_offset, Bytes length) const {
    if (ring_offset > ring_.size() || length > ring_.size() - ring_offset)
        return fail(ErrorKind::InvalidArgument, "{} bytes at {} lie outside the ring of {} bytes", length,
                    ring_offset, ring_.size());
    return ring_.subspan(static_cast<std::size_t>(ring_offset), static_cast<std::size_t>(length));
}

Result<void> DriveServer::read_piece(const Read& read) {
    const OpenFile* file = files_[read.file].get();
    if (file == nullptr)
        return fail(ErrorKind::InvalidArgument, "no file is open under the number {}", read.file);
    if (const auto* failure = std::get_if<Failure>(&file->state))
        return fail(to_error(*failure));
    const auto& status = std::get<fs::FileStatus>(file->state);
    if (read.offset > status.size || read.length > status.size - read.offset)
        return fail(ErrorKind::Corrupt, "{}: the file ends at {}, but {} bytes from {} are needed",
                    file->path, status.size, read.length, read.offset);
    DRAY_LET(const std::span<std::byte> content, extent(read.ring_offset, read.length));
    Result<void> done = reader_->read(status, read.offset, content);
    if (!done)
        return fail(std::move(done.error()), "{}", file->path);
    return {};
}

void DriveServer::answer(const Read& read) {
    if (const Result<void> done = read_piece(read); !done) {
        replies_.emplace_back(ReadFailed{read.request, to_failure(done.error())});
        return;
    }
    pending_content_ += read.length;
    replies_.emplace_back(ReadDone{read.request});
}

void DriveServer::answer_fill(std::uint64_t request, const Result<void>& result) {
    if (result)
        replies_.emplace_back(Done{request});
    else
        replies_.emplace_back(Failed{request, to_failure(result.error())});
}

void DriveServer::answer(const Find& find) {
    if (reader_ == nullptr) {
        answer_fill(0, fail(to_error(wrong_mode())));
        return;
    }
    Found found;
    const Result<void> listed = reader_->list(find.directory, [&](const fs::FileSystem::Entry& entry) {
        if (entry.status.is_directory || entry.name.size() > kMaxFoundName || !has_part(entry.name, find.part))
            return true;
        found.has_more = found.names.size() == kMaxFound;
        if (!found.has_more)
            found.names.push_back(entry.name);
        return !found.has_more;
    });
    if (listed)
        replies_.emplace_back(std::move(found));
    else
        answer_fill(0, listed);
}

void DriveServer::answer(const MakeDirectory& directory) {
    answer_fill(0, filler_ != nullptr ? filler_->make_directory(directory) : fail(to_error(wrong_mode())));
}

void DriveServer::answer(const Create& create) {
    answer_fill(0, filler_ != nullptr ? filler_->create(create) : fail(to_error(wrong_mode())));
}

void DriveServer::answer(const Write& write) {
    if (filler_ == nullptr) {
        answer_fill(write.request, fail(to_error(wrong_mode())));
        return;
    }
    const Result<std::span<std::byte>> content = extent(write.ring_offset, write.length);
    pending_content_ += write.length;
    answer_fill(write.request,
                content ? filler_->write(write, *content) : Result<void>(fail(content.error())));
}

void DriveServer::answer(const Finish& /*finish*/) {
    answer_fill(0, filler_ != nullptr ? filler_->finish() : fail(to_error(wrong_mode())));
}

void DriveServer::answer(const Remove& remove) {
    answer_fill(0, filler_ != nullptr ? filler_->remove(remove) : fail(to_error(wrong_mode())));
}

void DriveServer::answer(const Checkpoint& checkpoint) {
    const Result<Bytes> logged = filler_ != nullptr ? filler_->checkpoint(checkpoint) : fail(to_error(wrong_mode()));
    is_checkpoint_told_ = is_checkpoint_told_ && !logged;
    if (logged)
        replies_.emplace_back(Checkpointed{*logged});
    else
        replies_.emplace_back(Failed{0, to_failure(logged.error())});
}

void DriveServer::tell_when_checkpoint_is_due() {
    if (filler_ == nullptr || is_checkpoint_told_ || filler_->waiting() <= kCheckpointDue)
        return;
    is_checkpoint_told_ = true;
    replies_.emplace_back(CheckpointDue{filler_->waiting()});
}

}  // namespace dray::drive
