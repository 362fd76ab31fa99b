// SPDX-License-Identifier: Apache-2.0
//
// Which bytes of a range cannot be read: halved again and again, the largest parts first, down to the smallest
// read that the device knows. A disk may take many seconds over each bad sector, so that the search has limits; what
// was not looked at when it is broken off counts as lost, and says so.
#pragma once

#include <deque>
#include <optional>
#include <vector>

#include "daemon/base/clock.hpp"
#include "daemon/base/units.hpp"
#include "daemon/format/copy_log.hpp"

namespace dray::transfer {

/// The first reads of a search.
inline constexpr Bytes kSurveyRead = kMiB;

struct SurveyLimits {
    /// Enough for some twenty bad sectors apart from each other.
    unsigned failures = 256;
    Microseconds time = std::chrono::minutes(2);
};

class Survey {
public:
    struct Range {
        Bytes begin = 0;
        Bytes end = 0;
    };
    /// `sector`: the smallest read, a power of two.
    Survey(Range range, Bytes sector, SurveyLimits limits);

    /// What to read next; nullopt when nothing is left to be found out, or the limits are reached.
    std::optional<Range> next();
    void took(const Range& range, bool was_read, Microseconds time);
    /// In order, joined where they touch.
    std::vector<format::LostRange> lost() const;

private:
    Bytes sector_;
    SurveyLimits limits_;
    std::deque<Range> open_;
    std::vector<format::LostRange> bad_;
};

/// Puts ranges in order and joins those that touch and are equally sure.
void put_in_order(std::vector<format::LostRange>& ranges);

}  // namespace dray::transfer
