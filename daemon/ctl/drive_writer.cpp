// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/drive_writer.hpp"

#include <algorithm>
#include <utility>

#include "daemon/ctl/interrupt.hpp"

namespace dray::ctl {
namespace {

/// One file is open at a time, and its number is free again as soon as Close is sent.
constexpr std::uint32_t kFile = 0;
/// Enough for dray-drive to be busy while the next are read; fewer messages than files when those
/// are small.
constexpr Bytes kBatchBytes = kMiB;

constexpr Bytes aligned(Bytes bytes) {
    return (bytes + drive::kRingAlignment - 1) / drive::kRingAlignment * drive::kRingAlignment;
}

Error out_of_turn() {
    return {ErrorKind::Corrupt, "dray-drive answered something that was not asked"};
}

}  // namespace

DriveWriter::DriveWriter(drive::Client& client) : client_(client) {}

Result<void> DriveWriter::make_directory(const std::string& path) {
    return add(drive::MakeDirectory{path}, {0, 0, 0, path});
}

Result<void> DriveWriter::create(const std::string& path, Bytes size, std::uint64_t modified_usec) {
    path_ = path;
    offset_ = 0;
    return add(drive::Create{kFile, path, size, modified_usec}, {0, 0, 0, path});
}

Result<std::span<std::byte>> DriveWriter::extent(Bytes length) {
    const std::span<std::byte> ring = client_.ring();
    const Bytes needed = aligned(length);
    // An extent is in one piece: what is left at the end of the ring is passed over if it is too
    // short.
    const Bytes left = ring.size() - ring_next_;
    const Bytes skipped = needed > left ? left : 0;
    while (ring_used_ + skipped + needed > ring.size())
        DRAY_TRY(wait());
    ring_offset_ = skipped == 0 ? ring_next_ : 0;
    ring_bytes_ = skipped + needed;
    length_ = length;
    return ring.subspan(static_cast<std::size_t>(ring_offset_), static_cast<std::size_t>(length));
}

Result<void> DriveWriter::write() {
    ring_next_ = (ring_offset_ + aligned(length_)) % client_.ring().size();
    ring_used_ += ring_bytes_;
    batch_bytes_ += length_;
    const std::uint64_t request = next_request_++;
    DRAY_TRY(add(drive::Write{request, kFile, offset_, length_, ring_offset_},
                 {request, ring_bytes_, length_, path_}));
    offset_ += length_;
    return {};
}

Result<void> DriveWriter::close() {
    // It is not answered; what goes wrong with it shows at Finish.
    batch_.emplace_back(drive::Close{kFile});
    return batch_.size() >= drive::kMaxBatch ? submit() : Result<void>();
}

Result<void> DriveWriter::finish() {
    DRAY_TRY(wait_until(0));
    DRAY_TRY(add(drive::Finish{}, {0, 0, 0, "closing the file system"}));
    return wait_until(0);
}

Result<void> DriveWriter::add(drive::Request request, Pending pending) {
    DRAY_TRY(check_interrupt());
    DRAY_TRY(wait_until(drive::kMaxInFlight - 1));
    batch_.push_back(std::move(request));
    pending_.push_back(std::move(pending));
    if (batch_.size() >= drive::kMaxBatch || batch_bytes_ >= kBatchBytes)
        return submit();
    return {};
}

Result<void> DriveWriter::submit() {
    batch_bytes_ = 0;
    const std::vector<drive::Request> batch = std::exchange(batch_, {});
    if (!batch.empty())
        DRAY_TRY(client_.submit(batch));
    DRAY_LET(const std::vector<drive::Reply> replies, client_.try_receive());
    return take(replies);
}

Result<void> DriveWriter::take(const std::vector<drive::Reply>& replies) {
    for (const drive::Reply& reply : replies)
        DRAY_TRY(take(reply));
    return {};
}

Result<void> DriveWriter::take(const drive::Reply& reply) {
    if (pending_.empty())
        return fail(out_of_turn());
    const Pending pending = std::move(pending_.front());
    pending_.pop_front();
    if (const auto* failed = std::get_if<drive::Failed>(&reply))
        return fail(drive::to_error(failed->failure), "cannot write {}", pending.path);
    const auto* done = std::get_if<drive::Done>(&reply);
    if (done == nullptr || done->request != pending.request)
        return fail(out_of_turn());
    ring_used_ -= pending.ring_bytes;
    bytes_done_ += pending.length;
    return {};
}

Result<void> DriveWriter::wait_until(std::size_t most) {
    while (pending_.size() > most)
        DRAY_TRY(wait());
    return {};
}

Result<void> DriveWriter::wait() {
    DRAY_TRY(check_interrupt());
    const std::size_t before = pending_.size();
    DRAY_TRY(submit());
    if (pending_.size() < before)
        return {};
    DRAY_LET(const std::vector<drive::Reply> replies, client_.receive());
    return take(replies);
}

}  // namespace dray::ctl
