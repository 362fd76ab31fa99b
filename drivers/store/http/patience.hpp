// SPDX-License-Identifier: Apache-2.0
//
// How one endpoint's requests are tried again (blob-rest.md A.6), for all lanes together: how many may be under way,
// how long to wait, when to give up. Any thread.
#pragma once  // NOLINTBEGIN(readability-redundant-member-init): whoever names some members may leave the others out.

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <random>
#include <stop_token>
#include <string>

#include "daemon/base/clock.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"

namespace dray::store::http {

/// What one attempt came to.
struct Trial {
    enum class Outcome {
        /// The endpoint has answered, whatever it said.
        Answered,
        /// No answer, or one that says to try again.
        Again,
        /// Too much is asked of it.
        Throttled,
        /// No further try may help.
        Hopeless,
    };
    Outcome outcome = Outcome::Answered;
    /// For all but Answered.
    std::optional<Error> error{};
    /// What the endpoint asked for (Retry-After).
    std::optional<Microseconds> wait{};
};

class Patience {
public:
    struct Settings {
        /// Of the store, for sentences.
        std::string name;
        const Clock* clock = nullptr;
        /// Requests under way at most.
        unsigned most = 64;
        unsigned attempts = 8;
        /// So long without one answer, and the endpoint is given up.
        Microseconds outage = std::chrono::minutes(30);
        /// As StoreAccess::tell.
        std::function<void(const std::string&)> tell{};
        /// Waits so long or until stopped. Tests have one that moves their clock.
        std::function<void(Microseconds, const std::stop_token&)> pause{};
        std::uint64_t seed = 0;
        /// Whether the endpoint answers another question now: then a request that it does not answer is the one to blame.
        std::function<bool()> probe{};
    };

    explicit Patience(Settings settings);

    /// Runs `attempt` until it is answered. Cancelled: stopped. Unreachable: given up; else Hopeless' own error.
    Result<void> run(const std::function<Trial()>& attempt, const std::stop_token& stop);
    /// A few attempts within some seconds, for questions whose asker waits.
    Result<void> run_briefly(const std::function<Trial()>& attempt, const std::stop_token& stop);

    void pause(Microseconds time, const std::stop_token& stop) const { settings_.pause(time, stop); }

    /// Requests that may be under way now.
    unsigned allowed() const;

private:
    bool enter(const std::stop_token& stop);
    void leave(const Trial& trial);
    /// Empty: try again after `wait`.
    std::optional<Error> give_up(const Error& error, unsigned attempt, Microseconds begun);
    bool answers_others(Microseconds begun) const;
    Microseconds wait_after(const Trial& trial, unsigned attempt);
    void tell_of_failure(const Error& error);
    void tell(const std::string& sentence) const;

    const Settings settings_;
    mutable std::mutex mutex_;
    std::condition_variable_any left_;
    unsigned allowed_;
    unsigned under_way_ = 0;
    unsigned successes_ = 0;
    /// All wait until then.
    Microseconds not_before_{0};
    Microseconds last_answer_;
    Microseconds last_throttle_{0};
    bool has_told_ = false;
    std::mt19937_64 random_;
};

}  // namespace dray::store::http, NOLINTEND(readability-redundant-member-init)
