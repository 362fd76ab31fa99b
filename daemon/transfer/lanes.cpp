// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/lanes.hpp"

#include <pthread.h>

#include <string>
#include <utility>

namespace dray::transfer {

Lanes::Lanes(unsigned count, std::function<void()> wake) : wake_(std::move(wake)) {
    for (unsigned i = 0; i < count; ++i)
        threads_.emplace_back([this, i](const std::stop_token& stop) {
            pthread_setname_np(pthread_self(), ("lane-" + std::to_string(i)).c_str());
            run(stop);
        });
}

Lanes::~Lanes() {
    for (std::jthread& thread : threads_)
        thread.request_stop();
    added_.notify_all();
}

void Lanes::add(Work work) {
    {
        const std::lock_guard lock(mutex_);
        queue_.push_back(std::move(work));
    }
    added_.notify_one();
}

std::vector<Lanes::Conclusion> Lanes::collect() {
    const std::lock_guard lock(mutex_);
    return std::exchange(conclusions_, {});
}

void Lanes::run(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (added_.wait(lock, stop, [&] { return !queue_.empty(); })) {
        if (stop.stop_requested())
            return;
        const Work work = std::move(queue_.front());
        queue_.pop_front();
        lock.unlock();
        Conclusion conclusion = work();
        lock.lock();
        conclusions_.push_back(std::move(conclusion));
        // Whoever was woken for the first of them finds them all.
        if (conclusions_.size() == 1)
            wake_();
    }
}

}  // namespace dray::transfer
