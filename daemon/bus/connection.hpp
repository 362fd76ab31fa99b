// SPDX-License-Identifier: Apache-2.0
//
// The connection to the system bus, or to the one that DBUS_SYSTEM_BUS_ADDRESS names. Always opened as
// "system": only there does sd-bus treat strangers as strangers.
#pragma once

#include <functional>
#include <memory>

#include "daemon/bus/handles.hpp"
#include "daemon/loop/event_loop.hpp"

namespace dray::bus {

class Connection {
public:
    /// Connects and joins the loop, which outlives it. `lost` is called when the bus goes away.
    /// Unreachable: there is no bus. Denied: it does not let us in.
    static Result<Connection> open(EventLoop& loop, std::function<void()> lost);

    /// Takes the name org.dray1. Exists: another drayd has it. Denied: the bus's policy says no.
    Result<void> take_name();

    sd_bus* get() const { return bus_.get(); }

private:
    Connection() = default;

    static int disconnected(sd_bus_message* message, void* userdata, sd_bus_error* error) noexcept;

    // Its address is what sd-bus gives back, so it must stay where it is.
    std::unique_ptr<std::function<void()>> lost_;
    Bus bus_;
    BusSlot slot_;
};

}  // namespace dray::bus
