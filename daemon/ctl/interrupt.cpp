// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/interrupt.hpp"

#include <signal.h>

#include <atomic>

namespace dray::ctl {
namespace {

static_assert(std::atomic<pid_t>::is_always_lock_free, "a signal handler uses it");
std::atomic<bool> g_is_interrupted = false;
std::atomic<pid_t> g_child = 0;

void interrupted(int /*signal*/) {
    g_is_interrupted = true;
    if (const pid_t child = g_child; child > 0)
        (void)kill(child, SIGKILL);  // it may have gone already
}

}  // namespace

void catch_interrupts() {
    struct sigaction action {};
    action.sa_handler = interrupted;
    for (const int number : {SIGINT, SIGTERM, SIGHUP})
        sigaction(number, &action, nullptr);
}

bool is_interrupted() {
    return g_is_interrupted;
}

Result<void> check_interrupt() {
    if (is_interrupted())
        return fail(ErrorKind::Cancelled, "stopped by a signal");
    return {};
}

void end_on_interrupt(pid_t child) {
    g_child = child;
    // The signal may have come just before.
    if (child > 0 && is_interrupted())
        (void)kill(child, SIGKILL);
}

}  // namespace dray::ctl
