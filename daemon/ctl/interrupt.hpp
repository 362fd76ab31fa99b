// SPDX-License-Identifier: Apache-2.0
//
// Ctrl-C for verbs that have something to clean up: a signal sets a flag and ends the child that is
// being waited for, and the verb comes out by the way it came.
#pragma once

#include <sys/types.h>

#include "daemon/base/result.hpp"

namespace dray::ctl {

/// From now on SIGINT, SIGTERM and SIGHUP do not end the program.
void catch_interrupts();
bool is_interrupted();
/// Cancelled once a signal has come.
Result<void> check_interrupt();
/// The child to kill when a signal comes, so that waiting for it ends; 0 for none. It must not be
/// reaped while it is named here.
void end_on_interrupt(pid_t child);

}  // namespace dray::ctl
