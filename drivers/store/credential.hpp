// SPDX-License-Identifier: Apache-2.0
//
// A secret that may be renewed while it is in use. Any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

#include "daemon/base/secret.hpp"

namespace dray::store {

class Credential {
public:
    Credential() = default;
    explicit Credential(SecretBytes secret) { renew(std::move(secret)); }

    void renew(SecretBytes secret) {
        auto next = std::make_shared<const SecretBytes>(std::move(secret));
        const std::scoped_lock lock(mutex_);
        secret_.swap(next);
        ++generation_;
    }
    /// As it is now; stays as it is for who holds it. Never null after the first renew().
    std::shared_ptr<const SecretBytes> secret() const {
        const std::scoped_lock lock(mutex_);
        return secret_;
    }
    /// How often it was renewed: what was refused with an earlier one is worth another try.
    std::uint64_t generation() const {
        const std::scoped_lock lock(mutex_);
        return generation_;
    }

private:
    mutable std::mutex mutex_;
    std::shared_ptr<const SecretBytes> secret_ = std::make_shared<const SecretBytes>();
    std::uint64_t generation_ = 0;
};

}  // namespace dray::store
