// SPDX-License-Identifier: Apache-2.0
//
// sd-bus handles with one owner.
#pragma once

#include <systemd/sd-bus.h>

#include "daemon/base/handle.hpp"

namespace dray::bus {

/// Sends what is queued before it lets go.
using Bus = Handle<sd_bus, sd_bus_flush_close_unref>;
using BusSlot = Handle<sd_bus_slot, sd_bus_slot_unref>;
using BusMessage = Handle<sd_bus_message, sd_bus_message_unref>;
using BusCredentials = Handle<sd_bus_creds, sd_bus_creds_unref>;

/// An sd_bus_error that frees itself.
class BusErrorBuffer {
public:
    BusErrorBuffer() = default;
    BusErrorBuffer(const BusErrorBuffer&) = delete;
    BusErrorBuffer& operator=(const BusErrorBuffer&) = delete;
    ~BusErrorBuffer() { sd_bus_error_free(&error_); }

    sd_bus_error* get() { return &error_; }
    const char* name() const { return error_.name != nullptr ? error_.name : ""; }
    const char* message() const { return error_.message != nullptr ? error_.message : ""; }

private:
    sd_bus_error error_{nullptr, nullptr, 0};
};

}  // namespace dray::bus
