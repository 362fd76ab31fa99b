// SPDX-License-Identifier: Apache-2.0
//
// What the main thread and the copying threads share: counters up, stop and drain point down. Nothing else
// goes between them.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/units.hpp"
#include "daemon/model/drive.hpp"
#include "daemon/transfer/protocol.hpp"

namespace dray::transfer {

/// Written by the copying threads, read by the main thread.
class ProgressCounters {
public:
    std::atomic<Bytes> bytes_done = 0;
    std::atomic<Bytes> bytes_total = 0;
    std::atomic<Bytes> bytes_succeeded = 0;
    std::atomic<std::uint64_t> blobs_done = 0;
    std::atomic<std::uint64_t> blobs_total = 0;
    std::atomic<std::uint64_t> blobs_failed = 0;
    std::atomic<std::uint64_t> pieces_journaled = 0;
    /// A string literal: word of azure-import-export.md 3.5.
    std::atomic<const char*> phase = "Unlocking";

    /// The store has had something to say (StoreAccess::tell): that it does not answer, or that it does again.
    void store_has_told() {
        const std::uint64_t now = steps_ahead();
        silent_at_ = silent_at_ == now ? 0 : now;
    }
    /// The phase for people: a store that does not answer is what they want to know, until it does or something gets
    /// through to it all the same.
    const char* shown_phase() const { return silent_at_ == steps_ahead() ? "WaitingForStore" : phase.load(); }

    Counters counters() const {
        return {bytes_done, bytes_total, bytes_succeeded, blobs_done, blobs_total, blobs_failed};
    }
    void set_file(std::string file) {
        const std::lock_guard lock(mutex_);
        file_ = std::move(file);
    }
    std::string file() const {
        const std::lock_guard lock(mutex_);
        return file_;
    }

private:
    /// Never 0.
    std::uint64_t steps_ahead() const { return pieces_journaled + blobs_done + 1; }

    std::atomic<std::uint64_t> silent_at_ = 0;
    mutable std::mutex mutex_;
    std::string file_;
};

/// Written by the main thread, read by the copying threads.
class Control {
public:
    Control() : wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

    void request_stop() {
        {
            const std::lock_guard lock(mutex_);
            is_stopping_ = true;
        }
        granted_.notify_all();
        stop_.request_stop();
        wake();
    }
    /// Only tightens.
    void drain(DrainMode mode) {
        const int point = static_cast<int>(mode);
        int now = drain_.load();
        while (now < point && !drain_.compare_exchange_weak(now, point)) {
        }
        wake();
    }
    bool is_stopping() const { return is_stopping_; }
    /// Waits so long for a stop. drayd sends one when the device goes away.
    bool is_stopped_within(Microseconds time) {
        std::unique_lock lock(mutex_);
        return granted_.wait_for(lock, time, [&] { return is_stopping_.load(); });
    }
    /// From the first request to the store on, a stop has to come to a point where all is recorded.
    void set_copying() { is_copying_ = true; }
    bool is_copying() const { return is_copying_; }
    /// The copy has failed: nobody need wait for a store that is held or slow.
    void give_up_waiting() { stop_.request_stop(); }
    bool is_draining_to(DrainMode mode) const { return drain_ >= static_cast<int>(mode); }
    /// Ends waits for a store that is held.
    std::stop_token stop_token() const { return stop_.get_token(); }

    /// Readable after wake(); clear() makes it quiet again.
    int wake_fd() const { return wake_.get(); }
    void wake() const {
        const std::uint64_t one = 1;
        (void)!write(wake_.get(), &one, sizeof one);  // full means that it is readable already
    }
    void clear() const {
        std::uint64_t count = 0;
        (void)!read(wake_.get(), &count, sizeof count);
    }

    /// What is to be written at the end, where it has changed since the task was given.
    void set_logs(const Logs& logs) {
        const std::lock_guard lock(mutex_);
        logs_ = logs;
    }
    std::optional<Logs> logs() const {
        const std::lock_guard lock(mutex_);
        return logs_;
    }

    void grant_unlock() {
        const std::lock_guard lock(mutex_);
        may_unlock_ = true;
        granted_.notify_all();
    }
    /// False: to be stopped instead.
    bool wait_for_unlock() {
        std::unique_lock lock(mutex_);
        granted_.wait(lock, [&] { return may_unlock_ || is_stopping_; });
        return !is_stopping_;
    }

private:
    std::atomic<bool> is_stopping_ = false;
    std::atomic<bool> is_copying_ = false;
    std::atomic<int> drain_ = -1;
    std::stop_source stop_;
    FileDescriptor wake_;
    mutable std::mutex mutex_;
    std::condition_variable granted_;
    std::optional<Logs> logs_;
    bool may_unlock_ = false;
};

}  // namespace dray::transfer
