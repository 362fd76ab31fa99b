// SPDX-License-Identifier: Apache-2.0
//
// The names that blobs under way have in hand: their BlobPaths and the names that the disposition `rename` has
// reserved for them. Any thread.
#pragma once

#include <mutex>
#include <set>
#include <string>

namespace dray::transfer {

class NamesInUse {
public:
    /// False: another blob has it.
    bool take(const std::string& path) {
        const std::lock_guard lock(mutex_);
        return names_.insert(path).second;
    }
    void give_back(const std::string& path) {
        const std::lock_guard lock(mutex_);
        names_.erase(path);
    }
    bool has(const std::string& path) const {
        const std::lock_guard lock(mutex_);
        return names_.contains(path);
    }

private:
    mutable std::mutex mutex_;
    std::set<std::string> names_;
};

}  // namespace dray::transfer
