// SPDX-License-Identifier: Apache-2.0
#include "daemon/bus/connection.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <utility>

#include "daemon/bus/names.hpp"

namespace dray::bus {
namespace {

std::string bus_name() {
    const char* address = std::getenv("DBUS_SYSTEM_BUS_ADDRESS");
    return address != nullptr ? fmt::format("the bus at {}", address) : "the system bus";
}

}  // namespace

Result<Connection> Connection::open(EventLoop& loop, std::function<void()> lost) {
    Connection connection;
    connection.lost_ = std::make_unique<std::function<void()>>(std::move(lost));
    sd_bus* bus = nullptr;
    if (const int result = sd_bus_open_system_with_description(&bus, "drayd"); result < 0)
        return fail(ErrorKind::Unreachable, "cannot reach {}: {}", bus_name(), errno_text(-result));
    connection.bus_.reset(bus);
    // Waits for the end of the greeting, so that a bus that does not let us in is known here.
    const char* unique = nullptr;
    if (const int result = sd_bus_get_unique_name(bus, &unique); result < 0)
        return fail(ErrorKind::Denied, "{} does not let uid {} in: {}", bus_name(), geteuid(),
                    errno_text(-result));
    sd_bus_slot* slot = nullptr;
    int result = sd_bus_match_signal_async(bus, &slot, "org.freedesktop.DBus.Local",
                                           "/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local",
                                           "Disconnected", disconnected, nullptr, connection.lost_.get());
    connection.slot_.reset(slot);
    if (result >= 0)
        result = sd_bus_attach_event(bus, loop.get(), SD_EVENT_PRIORITY_NORMAL);
    if (result < 0)
        return fail_errno(-result, "cannot listen to {}", bus_name());
    return connection;
}

Result<void> Connection::take_name() {
    const int result = sd_bus_request_name(bus_.get(), kService, 0);
    if (result == -EEXIST)
        return fail(ErrorKind::Exists, "the name {} is taken on {}: another drayd is running", kService,
                    bus_name());
    if (result == -EACCES || result == -EPERM)
        return fail(ErrorKind::Denied,
                    "the policy of {} does not let uid {} own {}; is org.dray1.conf installed?", bus_name(),
                    geteuid(), kService);
    if (result < 0)
        return fail_errno(-result, "cannot take the name {} on {}", kService, bus_name());
    return {};
}

int Connection::disconnected(sd_bus_message* /*message*/, void* userdata,
                             sd_bus_error* /*error*/) noexcept {
    (*static_cast<std::function<void()>*>(userdata))();
    return 0;
}

}  // namespace dray::bus
