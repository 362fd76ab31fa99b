// SPDX-License-Identifier: Apache-2.0
#include "drivers/store/directory/committer.hpp"

#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

namespace dray::store {
namespace {

constexpr auto kLookAgain = std::chrono::milliseconds(20);

/// True: we hold the shared lock now.
bool lock_shared(int fd) { return flock(fd, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK; }

}  // namespace

Committer::Committer(int root, FileDescriptor hold, FileDescriptor hold_for_waiting)
    : root_(root), hold_(std::move(hold)), hold_for_waiting_(std::move(hold_for_waiting)) {}

Result<void> Committer::wait_until_released(std::stop_token stop) {
    for (;;) {
        {
            const std::lock_guard lock(waiting_mutex_);
            if (lock_shared(hold_for_waiting_.get())) {
                flock(hold_for_waiting_.get(), LOCK_UN);
                return {};
            }
        }
        if (stop.stop_requested())
            return fail(ErrorKind::Cancelled, "stopped while the store was held");
        std::this_thread::sleep_for(kLookAgain);
    }
}

Result<void> Committer::commit(const std::function<Result<void>()>& publish, std::stop_token stop) {
    for (;;) {
        DRAY_TRY(wait_until_released(stop));
        Entry entry{&publish, {}};
        std::unique_lock lock(mutex_);
        queue_.push_back(&entry);
        while (!entry.is_done) {
            if (has_leader_)
                changed_.wait(lock);
            else
                lead(lock);
        }
        // Somebody took hold of the store in the meantime.
        if (!entry.is_held)
            return std::move(entry.result);
    }
}

void Committer::lead(std::unique_lock<std::mutex>& lock) {
    has_leader_ = true;
    const std::vector<Entry*> batch = std::exchange(queue_, {});
    lock.unlock();
    const bool is_free = lock_shared(hold_.get());
    Result<void> synced;
    if (is_free && syncfs(root_) != 0)
        synced = fail_errno(errno, "the store's file system cannot write what it was given");
    for (Entry* entry : batch) {
        entry->is_held = !is_free;
        if (is_free)
            entry->result = synced ? (*entry->publish)() : synced;
    }
    if (is_free)
        flock(hold_.get(), LOCK_UN);
    lock.lock();
    for (Entry* entry : batch)
        entry->is_done = true;
    has_leader_ = false;
    changed_.notify_all();
}

Result<void> Committer::sync() {
    if (syncfs(root_) != 0)
        return fail_errno(errno, "the store's file system cannot write what it was given");
    return {};
}

}  // namespace dray::store
