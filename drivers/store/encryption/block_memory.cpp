// SPDX-License-Identifier: Apache-2.0
#include "drivers/store/encryption/block_memory.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace dray::store {

void BlockMemory::join(Holder& holder) {
    const std::scoped_lock lock(mutex_);
    holders_[&holder] = ++now_;
}

void BlockMemory::leave(Holder& holder) {
    const std::scoped_lock lock(mutex_);
    holders_.erase(&holder);
}

BlockMemory::Work::Work(BlockMemory& memory, Holder* holder) : memory_(memory) {
    const std::scoped_lock lock(memory_.mutex_);
    ++memory_.at_work_;
    when_ = ++memory_.now_;
    if (holder != nullptr)
        memory_.holders_[holder] = when_;
}

BlockMemory::Work::~Work() {
    const std::scoped_lock lock(memory_.mutex_);
    --memory_.at_work_;
    memory_.changed_.notify_all();
}

Result<void> BlockMemory::Work::take(Bytes bytes, const std::stop_token& stop) {
    BlockMemory& memory = memory_;
    std::unique_lock lock(memory.mutex_);
    // Who waits is not at work; else all could wait for each other.
    --memory.at_work_;
    memory.waiting_.push_back(this);
    memory.changed_.notify_all();
    const Bytes comfortable = std::max(memory.comfortable_, 2 * bytes);
    const bool may_go = memory.changed_.wait(lock, stop, [&] {
        return memory.waiting_.front() == this &&
               (memory.held_ + bytes <= comfortable || memory.at_work_ == 0 || memory.held_ == 0);
    });
    std::erase(memory.waiting_, this);
    memory.changed_.notify_all();
    ++memory.at_work_;
    if (!may_go)
        return fail(ErrorKind::Cancelled, "stopped");
    memory.make_room(bytes);
    memory.held_ += bytes;
    return {};
}

// With the lock held.
void BlockMemory::make_room(Bytes bytes) {
    const Bytes most = std::max(most_, 4 * bytes);
    if (held_ + bytes <= most || now_ <= kStale)
        return;
    std::vector<std::pair<std::uint64_t, Holder*>> stalest;
    stalest.reserve(holders_.size());
    for (const auto& [holder, touched] : holders_)
        stalest.emplace_back(touched, holder);
    std::ranges::sort(stalest);
    for (const auto& [touched, holder] : stalest) {
        if (held_ + bytes <= most)
            return;
        held_ -= holder->give_up(now_ - kStale);
    }
}

void BlockMemory::give_back(Bytes bytes) {
    const std::scoped_lock lock(mutex_);
    held_ -= bytes;
    changed_.notify_all();
}

Bytes BlockMemory::held() const {
    const std::scoped_lock lock(mutex_);
    return held_;
}

std::size_t BlockMemory::waiting() const {
    const std::scoped_lock lock(mutex_);
    return waiting_.size();
}

}  // namespace dray::store
