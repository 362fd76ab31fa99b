// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/survey.hpp"

#include <algorithm>

namespace dray::transfer {

Survey::Survey(Range range, Bytes sector, SurveyLimits limits) : sector_(sector), limits_(limits) {
    while (range.begin < range.end) {
        const Bytes end = std::min(range.end, (range.begin / kSurveyRead + 1) * kSurveyRead);
        open_.push_back({range.begin, end});
        range.begin = end;
    }
}

std::optional<Survey::Range> Survey::next() {
    if (open_.empty() || limits_.failures == 0 || limits_.time <= Microseconds(0))
        return std::nullopt;
    const Range range = open_.front();
    open_.pop_front();
    return range;
}

void Survey::took(const Range& range, bool was_read, Microseconds time) {
    limits_.time -= time;
    if (was_read)
        return;
    --limits_.failures;
    // Halves begin where the device's sectors do: blocks of a file are whole sectors.
    const Bytes middle = (range.begin + (range.end - range.begin) / 2 + sector_ - 1) / sector_ * sector_;
    if (middle > range.begin && middle < range.end) {
        open_.push_back({range.begin, middle});
        open_.push_back({middle, range.end});
    } else if (const Bytes border = (range.begin / sector_ + 1) * sector_; border < range.end) {
        open_.push_back({range.begin, border});
        open_.push_back({border, range.end});
    } else {
        bad_.push_back({range.begin, range.end - range.begin, true});
    }
}

std::vector<format::LostRange> Survey::lost() const {
    std::vector<format::LostRange> ranges = bad_;
    for (const Range& range : open_)
        ranges.push_back({range.begin, range.end - range.begin, false});
    put_in_order(ranges);
    return ranges;
}

void put_in_order(std::vector<format::LostRange>& ranges) {
    std::ranges::sort(ranges, {}, &format::LostRange::offset);
    std::vector<format::LostRange> joined;
    for (const format::LostRange& range : ranges) {
        if (!joined.empty() && joined.back().is_exact == range.is_exact &&
            joined.back().offset + joined.back().length == range.offset)
            joined.back().length += range.length;
        else
            joined.push_back(range);
    }
    ranges = std::move(joined);
}

}  // namespace dray::transfer
