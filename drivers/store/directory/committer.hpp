// SPDX-License-Identifier: Apache-2.0
//
// Makes blobs visible in batches: write all, one syncfs, then the renames, so that after a power cut no
// visible name lacks its content, at a tenth of the price of an fsync each. Whoever comes first works for
// those who come meanwhile. Any thread.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <stop_token>
#include <vector>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/result.hpp"

namespace dray::store {

class Committer {
public:
    /// `root`: any descriptor on the file system, the caller's. `hold`: see the driver's README.
    Committer(int root, FileDescriptor hold, FileDescriptor hold_for_waiting);

    /// Runs `publish` (renames) after what was written before is on the medium. Cancelled: `stop` was
    /// requested while the store was held.
    Result<void> commit(const std::function<Result<void>()>& publish, std::stop_token stop);
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
    Result<void> wait_until_released(std::stop_token stop);
    void lead(std::unique_lock<std::mutex>& lock);

    int root_;
    FileDescriptor hold_;
    FileDescriptor hold_for_waiting_;
    std::mutex waiting_mutex_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Entry*> queue_;
    bool has_leader_ = false;
};

}  // namespace dray::store
