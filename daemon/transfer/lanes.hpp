// SPDX-License-Identifier: Apache-2.0
//
// The threads that speak to the store: each takes one piece of work after the other and hands the result
// back. Any thread may add work; results are collected by one.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace dray::transfer {

class Lanes {
public:
    /// What follows from a piece of work; run by whoever collects.
    using Conclusion = std::function<void()>;
    using Work = std::function<Conclusion()>;

    /// `wake` is called from a lane when there are conclusions to be collected and before there were none.
    Lanes(unsigned count, std::function<void()> wake);
    /// Finishes what was begun, drops what was not.
    ~Lanes();
    Lanes(const Lanes&) = delete;
    Lanes& operator=(const Lanes&) = delete;

    void add(Work work);
    std::vector<Conclusion> collect();

private:
    void run(const std::stop_token& stop);

    std::function<void()> wake_;
    std::mutex mutex_;
    std::condition_variable_any added_;
    std::deque<Work> queue_;
    std::vector<Conclusion> conclusions_;
    std::vector<std::jthread> threads_;
};

}  // namespace dray::transfer
