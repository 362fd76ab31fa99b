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

Committer::Committer(int root, Locks locks) : root_(root), locks_(std::move(locks)) {}

Result<void> Committer::wait_until_released(const std::stop_token& stop) {
    for (;;) {
        {
            const std::lock_guard lock(waiting_mutex_);
            if (lock_shared(locks_.hold_for_waiting.get())) {
                flock(locks_.hold_for_waiting.get(), LOCK_UN);
                return {};
            }
        }
        if (stop.stop_requested())
            return fail(ErrorKind::Cancelled, "stopped while the store was held");
        std::this_thread::sleep_for(kLookAgain);
    }
}

Result<void> Committer::commit(const std::function<Result<void>()>& publish, const std::stop_token& stop) {
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
    const bool is_free = lock_shared(locks_.hold.get());
    Result<void> synced;
    if (is_free)
        synced = sync();
    if (is_free && synced)
        synced = exclusively([&]() -> Result<void> {
            for (Entry* entry : batch)
                entry->result = (*entry->publish)();
            return {};
        });
    for (Entry* entry : batch) {
        entry->is_held = !is_free;
        if (!synced)
            entry->result = synced;
    }
    if (is_free)
        flock(locks_.hold.get(), LOCK_UN);
    lock.lock();
    for (Entry* entry : batch)
        entry->is_done = true;
    has_leader_ = false;
    changed_.notify_all();
}

// The mutex because flock knows open files, not threads.
Result<void> Committer::exclusively(const std::function<Result<void>()>& change) {
    const std::lock_guard lock(publish_mutex_);
    while (flock(locks_.publish.get(), LOCK_EX) != 0)
        if (errno != EINTR)
            return fail_errno(errno, "cannot lock the store's .dray/publish");
    Result<void> result = change();
    flock(locks_.publish.get(), LOCK_UN);
    return result;
}

// The kernel tells of a lost write once. Whoever hears of it, from then on nothing that was written through
// this store may be taken for safe.
Result<void> Committer::sync() {
    const int error_number = syncfs(root_) == 0 ? 0 : errno;
    const std::lock_guard lock(failure_mutex_);
    if (error_number != 0 && !failure_)
        failure_ = fail_errno(error_number, "the store's file system cannot write what it was given").error();
    if (failure_)
        return fail(Error(*failure_));
    return {};
}

}  // namespace dray::store
