// SPDX-License-Identifier: Apache-2.0
//
// Makes blobs visible in batches: write all, one syncfs, then the renames, so that after a power cut no
// visible name lacks its content, at a tenth of the price of an fsync each. Whoever comes first works for
// those who come meanwhile. Any thread.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <vector>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/result.hpp"

namespace dray::store {

class Committer {
public:
    /// Open files of its own, each: the `hold` file twice, and the `publish` file, which several processes
    /// that use one store take turns with. See the driver's README.
    struct Locks {
        FileDescriptor hold;
        FileDescriptor hold_for_waiting;
        FileDescriptor publish;
    };
    /// `root`: any descriptor on the file system, the caller's.
    Committer(int root, Locks locks);

    /// Runs `publish` (renames) after what was written before is on the medium. Cancelled: `stop` was
    /// requested while the store was held.
    Result<void> commit(const std::function<Result<void>()>& publish, const std::stop_token& stop);
    /// Runs `change` while nobody else, in this process or another, publishes into the store. Short work only.
    Result<void> exclusively(const std::function<Result<void>()>& change);
    /// All that was published survives a power cut. Changes nothing that can be seen, so it does not wait
    /// while the store is held.
    Result<void> sync();

private:
    struct Entry {
        const std::function<Result<void>()>* publish;
        Result<void> result;
        bool is_done = false;
        bool is_held = false;
    };
    Result<void> wait_until_released(const std::stop_token& stop);
    void lead(std::unique_lock<std::mutex>& lock);

    int root_;
    Locks locks_;
    std::mutex waiting_mutex_;
    std::mutex publish_mutex_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Entry*> queue_;
    bool has_leader_ = false;
    std::mutex failure_mutex_;
    std::optional<Error> failure_;
};

}  // namespace dray::store
