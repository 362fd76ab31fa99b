// SPDX-License-Identifier: Apache-2.0
//
// Bytes a second over the last few seconds, and what that means for the rest.
#pragma once

#include <cstdint>
#include <deque>
#include <utility>

#include "daemon/base/units.hpp"

namespace dray {

class RateMeter {
public:
    /// `done` at the moment `now` (any clock that never jumps).
    void add(Microseconds now, Bytes done) {
        samples_.emplace_back(now, done);
        while (samples_.size() > 2 && now - samples_.front().first > kWindow)
            samples_.pop_front();
    }

    /// 0 until two samples are apart.
    std::uint64_t bytes_per_second() const {
        if (samples_.size() < 2)
            return 0;
        const auto [first_time, first] = samples_.front();
        const auto [last_time, last] = samples_.back();
        if (last <= first || last_time <= first_time)
            return 0;
        const auto usec = static_cast<double>((last_time - first_time).count());
        return static_cast<std::uint64_t>(static_cast<double>(last - first) * 1e6 / usec);
    }

private:
    static constexpr Microseconds kWindow = std::chrono::seconds(5);
    std::deque<std::pair<Microseconds, Bytes>> samples_;
};

}  // namespace dray
