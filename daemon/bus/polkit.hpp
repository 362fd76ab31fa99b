// SPDX-License-Identifier: Apache-2.0
//
// Who may change what, in one place (rules.md 25): uid 0 and drayd's own uid always, everybody else
// when polkit says so. Polkit is asked without blocking, and with a prompt only when the caller allows
// one. Every change that was asked for leaves one line in the log, done or refused.
#pragma once

#include <sys/types.h>

#include <list>
#include <memory>
#include <string>

#include "daemon/bus/handles.hpp"
#include "daemon/bus/request.hpp"

namespace dray::bus {

class Authority {
public:
    /// `bus` outlives it.
    explicit Authority(sd_bus* bus) : bus_(bus) {}
    Authority(const Authority&) = delete;
    Authority& operator=(const Authority&) = delete;

    /// Answers `call`: at once, or once polkit and the request are done. Denied: the caller may not, or
    /// polkit is not running. LimitReached: too many callers wait for polkit.
    void serve(sd_bus_message* call, Request request);

private:
    /// A call that waits for polkit.
    struct Pending {
        Authority* authority;
        KeptCall call;
        Request request;
        uid_t uid;
        /// Index of the action that is being asked for.
        std::size_t asked = 0;
        BusSlot slot;
    };

    Result<void> may_wait(uid_t uid) const;
    Result<void> ask(Pending& pending);
    static int answered(sd_bus_message* reply, void* userdata, sd_bus_error* error) noexcept;
    void decide(Pending& pending, sd_bus_message* reply);
    void finish(Pending& pending, Result<void> verdict);
    static void run(const KeptCall& call, Request& request, uid_t uid);

    sd_bus* bus_;
    std::list<Pending> pending_;
};

}  // namespace dray::bus
