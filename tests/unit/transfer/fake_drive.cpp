// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/transfer/fake_drive.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace dray::test {

FakeDrive::~FakeDrive() = default;

drive::Client FakeDrive::connect(Bytes ring) {
    auto ends = MessageSocket::make_pair();
    if (!ends)
        throw std::runtime_error(ends.error().text());
    drive::Setup setup;
    setup.ring_size = ring;
    thread_ = std::jthread([this, socket = std::move(ends->second)]() mutable {
        const Result<Message> first = socket.receive();
        if (!first || first->descriptors.size() != 1)
            return;
        const Result<drive::ToDrive> setup_message = drive::decode_to_drive(first->bytes);
        Result<SharedMemory> memory = SharedMemory::map(first->descriptors.front().get(),
                                                        std::get<drive::Setup>(*setup_message).ring_size);
        ring_ = *std::move(memory);
        while (true) {
            const Result<Message> message = socket.receive();
            if (!message)
                return;
            const Result<drive::ToDrive> decoded = drive::decode_to_drive(message->bytes);
            const auto* batch = decoded ? std::get_if<drive::Batch>(&*decoded) : nullptr;
            if (batch == nullptr)
                return;
            drive::Replies replies;
            for (const drive::Request& request : batch->requests) {
                if (const auto* open = std::get_if<drive::Open>(&request)) {
                    const auto found = files_.find(open->path);
                    open_[open->file] = open->path;
                    if (unopenable_[open->path] > 0) {
                        --unopenable_[open->path];
                        open_[open->file].clear();
                        replies.replies.emplace_back(
                            drive::OpenFailed{open->file, {ErrorKind::Internal, "its inode cannot be read"}});
                    } else if (found == files_.end())
                        replies.replies.emplace_back(
                            drive::OpenFailed{open->file, {ErrorKind::NotFound, "no such file"}});
                    else
                        replies.replies.emplace_back(drive::Opened{open->file, found->second.size()});
                    if (is_two_faced_)
                        replies.replies.emplace_back(drive::OpenFailed{open->file, {ErrorKind::Denied, "or not"}});
                } else if (const auto* close = std::get_if<drive::Close>(&request)) {
                    open_.erase(close->file);
                } else if (const auto* wanted = std::get_if<drive::Read>(&request)) {
                    if (reads_left_ == 0)
                        return;
                    if (reads_left_ > 0)
                        --reads_left_;
                    if (reads_heard_ >= 0 && static_cast<int>(reads_) >= reads_heard_)
                        continue;
                    ++reads_;
                    replies.replies.push_back(read(*wanted));
                }
            }
            if (is_backward_)
                std::ranges::reverse(replies.replies);
            if (!replies.replies.empty() && !socket.send(drive::encode(drive::FromDrive(replies))))
                return;
        }
    });
    Result<drive::Client> client = drive::Client::connect(std::move(ends->first), setup);
    if (!client)
        throw std::runtime_error(client.error().text());
    return *std::move(client);
}

void FakeDrive::fail_at_first(const std::string& file, Bytes offset, unsigned times, std::function<void()> failed) {
    lapses_[file] = {offset, times, std::move(failed)};
}

void FakeDrive::fail_at(const std::string& file, Bytes offset, ErrorKind kind) { failures_[file][offset] = kind; }

drive::Reply FakeDrive::read(const drive::Read& request) {
    const auto fails = [&](ErrorKind kind, const char* text) {
        return drive::ReadFailed{request.request, {kind, text}};
    };
    const auto name = open_.find(request.file);
    const auto file = name == open_.end() ? files_.end() : files_.find(name->second);
    if (file == files_.end())
        return fails(ErrorKind::NotFound, "no such file");
    if (request.offset + request.length > file->second.size())
        return fails(ErrorKind::Corrupt, "the file ends before");
    if (const auto lapse = lapses_.find(file->first);
        lapse != lapses_.end() && lapse->second.times > 0 && lapse->second.offset >= request.offset &&
        lapse->second.offset < request.offset + request.length) {
        --lapse->second.times;
        if (lapse->second.failed)
            lapse->second.failed();
        return fails(ErrorKind::Internal, "the device cannot be read");
    }
    for (const auto& [offset, kind] : failures_[file->first])
        if (offset >= request.offset && offset < request.offset + request.length)
            return fails(kind, "the device cannot read this");
    std::memcpy(ring_.bytes().data() + request.ring_offset, file->second.data() + request.offset, request.length);
    return drive::ReadDone{request.request};
}

}  // namespace dray::test
