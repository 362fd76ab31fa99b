// SPDX-License-Identifier: Apache-2.0
//
// Errors as callers see them: org.dray1.Error.* with the operator's sentence (rules.md 29).
#pragma once

#include <systemd/sd-bus.h>

#include <string>

#include "daemon/base/error.hpp"

namespace dray::bus {

/// "org.dray1.Error.StateConflict" for Conflict and Busy, and so on.
std::string error_name(ErrorKind kind);

/// Fills `error`; returns the negative number that a vtable's method returns then.
int set_error(sd_bus_error* error, const Error& cause);

/// Answers a call that was kept with an error. The caller may have gone: that is no concern of ours.
void reply_error(sd_bus_message* call, const Error& cause);

}  // namespace dray::bus
