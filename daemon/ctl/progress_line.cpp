// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/progress_line.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include <fmt/format.h>

#include "daemon/ctl/output.hpp"

namespace dray::ctl {
namespace {

constexpr Microseconds kRedraw = std::chrono::milliseconds(250);
constexpr std::size_t kBar = 20;
/// Before that, speed and time left are guesses.
constexpr Microseconds kSettled = std::chrono::seconds(1);

std::size_t columns() {
    winsize size{};
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1U : 79U;
}

}  // namespace

std::string base_name(const std::string& path) {
    return path.substr(path.rfind('/') + 1);
}

std::string progress_bar(Bytes done, Bytes total) {
    const double part =
        total == 0 ? 1 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
    const auto filled = static_cast<std::size_t>(part * kBar);
    return fmt::format("[{}{}] {:3}%  {} of {}", std::string(filled, '#'), std::string(kBar - filled, '.'),
                       static_cast<int>(std::floor(part * 100)), format_bytes(done), format_bytes(total));
}

std::string progress_text(Bytes done, Bytes total, Microseconds elapsed) {
    std::string text = progress_bar(done, total);
    if (elapsed < kSettled || done == 0)
        return text;
    const double seconds = std::chrono::duration<double>(elapsed).count();
    const double rate = static_cast<double>(done) / seconds;
    text += fmt::format("  {}/s", format_bytes(static_cast<Bytes>(rate)));
    if (done < total)
        text +=
            fmt::format("  {} left", format_duration(std::chrono::seconds(static_cast<std::int64_t>(
                                         std::ceil(static_cast<double>(total - done) / rate)))));
    return text;
}

ProgressLine::ProgressLine(std::string what, Bytes total, bool is_quiet)
    : what_(std::move(what)),
      total_(total),
      is_shown_(!is_quiet && is_lively(STDERR_FILENO)),
      began_(clock_.since_boot()),
      next_(began_) {}

ProgressLine::~ProgressLine() {
    if (!is_drawn_)
        return;
    fmt::print(stderr, "\r\x1b[K");
    (void)std::fflush(stderr);
}

void ProgressLine::show(Bytes done) {
    if (!is_shown_)
        return;
    if (const Microseconds now = clock_.since_boot(); now >= next_)
        draw(done, now);
}

void ProgressLine::draw(Bytes done, Microseconds now) {
    next_ = now + kRedraw;
    is_drawn_ = true;
    const std::string line = what_ + "  " + progress_text(done, total_, now - began_);
    fmt::print(stderr, "\r{}\x1b[K", line.substr(0, columns()));
    (void)std::fflush(stderr);
}

}  // namespace dray::ctl
