// SPDX-License-Identifier: Apache-2.0
//
// Whether the clock may be believed when it says that something is due (rules.md 21): not while it is unsynchronised,
// not for a day after it jumped, and not for a day after a start long after the last time seen. Loop thread only.
#pragma once

#include <optional>
#include <string>

#include "daemon/base/clock.hpp"
#include "daemon/catalog/catalog.hpp"

namespace dray {

class ClockGuard {
public:
    /// `clock` outlives it; `record` is what the last run remembered.
    ClockGuard(const Clock& clock, ClockRecord record) : clock_(clock), record_(std::move(record)) {}

    /// Looks anew. True: problem() has changed.
    bool look(bool is_sync_required);

    bool is_trusted() const { return problem_.empty(); }
    /// A sentence for the operator; "" while the clock is trusted, and before the first look.
    const std::string& problem() const { return problem_; }
    /// What the next run has to know.
    const ClockRecord& record() const { return record_; }

private:
    void look_at_start(TimePoint now);
    void look_for_jump(TimePoint now);
    void hold(TimePoint now, std::string reason);

    const Clock& clock_;
    ClockRecord record_;
    std::string problem_;
    /// now() less since_boot(), which changes only when somebody sets the clock; none before the first look.
    std::optional<TimePoint> boot_;
};

}  // namespace dray
