// SPDX-License-Identifier: Apache-2.0
#include "tests/support/loop_thread.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <cstdint>
#include <future>
#include <utility>

namespace dray::test {

LoopThread::LoopThread()
    : loop_(EventLoop::create().value()), bell_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    source_ = loop_.watch(bell_.get(), EPOLLIN, [this](std::uint32_t) { take(); });
    // A loop that breaks off shows as a test that waits for ever, and the runner ends that.
    thread_ = std::thread([this] { static_cast<void>(loop_.run()); });
}

LoopThread::~LoopThread() {
    post([this] { loop_.quit(0); });
    thread_.join();
}

void LoopThread::post(std::function<void()> work) {
    const std::scoped_lock lock(mutex_);
    posted_.push_back(std::move(work));
    (void)eventfd_write(bell_.get(), 1);  // fails only when it rings already
}

void LoopThread::take() {
    eventfd_t count = 0;
    (void)eventfd_read(bell_.get(), &count);
    std::vector<std::function<void()>> works;
    {
        const std::scoped_lock lock(mutex_);
        works.swap(posted_);
    }
    for (const auto& work : works)
        work();
}

void LoopThread::run(const std::function<void()>& work) {
    std::promise<void> done;
    post([&] {
        work();
        done.set_value();
    });
    done.get_future().wait();
}

}  // namespace dray::test
