// SPDX-License-Identifier: Apache-2.0
//
// An event loop on a thread of its own, for the side of a test that must answer while the test waits.
#pragma once

#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/loop/event_loop.hpp"

namespace dray::test {

class LoopThread {
public:
    LoopThread();
    LoopThread(const LoopThread&) = delete;
    LoopThread& operator=(const LoopThread&) = delete;
    /// Stops the loop. What uses it must be gone by then.
    ~LoopThread();

    EventLoop& loop() { return loop_; }
    /// Runs `work` on the loop's thread and waits for its end.
    void run(const std::function<void()>& work);

private:
    void post(std::function<void()> work);
    void take();

    EventLoop loop_;
    FileDescriptor bell_;
    std::mutex mutex_;
    std::vector<std::function<void()>> posted_;
    EventSource source_;
    std::thread thread_;
};

}  // namespace dray::test
