// SPDX-License-Identifier: Apache-2.0
//
// One line on a terminal that tells how far a long copy is. Nothing anywhere else.
#pragma once

#include <string>

#include "daemon/base/clock.hpp"
#include "daemon/base/units.hpp"

namespace dray::ctl {

class ProgressLine {
public:
    /// Silent unless standard error is a lively terminal.
    ProgressLine(std::string what, Bytes total, bool is_quiet);
    ProgressLine(const ProgressLine&) = delete;
    ProgressLine& operator=(const ProgressLine&) = delete;
    ~ProgressLine();

    /// Draws at most four times a second; cheap to call.
    void show(Bytes done);

private:
    void draw(Bytes done, Microseconds now);

    SystemClock clock_;
    std::string what_;
    Bytes total_;
    bool is_shown_;
    bool is_drawn_ = false;
    Microseconds began_;
    Microseconds next_;
};

/// The last part of a path: a line has no room for more.
std::string base_name(const std::string& path);
/// "[#####...............]  25%  1.0GiB of 4.0GiB".
std::string progress_bar(Bytes done, Bytes total);
/// The same with speed and time left: "[#####...............]  25%  1.0GiB of 4.0GiB  512MiB/s  6s left".
std::string progress_text(Bytes done, Bytes total, Microseconds elapsed);

}  // namespace dray::ctl
