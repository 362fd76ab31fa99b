// SPDX-License-Identifier: Apache-2.0
//
// The small machinery of vtables: a property from a function that reads it, a method from a function
// that makes a Request.
#pragma once

#include <systemd/sd-bus.h>

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/bus/bus_error.hpp"
#include "daemon/bus/bus_text.hpp"
#include "daemon/bus/objects.hpp"
#include "daemon/bus/request.hpp"

namespace dray::bus {

struct ObjectPath {
    /// "" is shown as "/": no object.
    std::string path;
};

inline int append(sd_bus_message* reply, const std::string& text) {
    return sd_bus_message_append(reply, "s", as_utf8(text).c_str());
}
inline int append(sd_bus_message* reply, const ObjectPath& path) {
    return sd_bus_message_append(reply, "o", path.path.empty() ? "/" : path.path.c_str());
}
inline int append(sd_bus_message* reply, const std::vector<ObjectPath>& paths) {
    int result = sd_bus_message_open_container(reply, 'a', "o");
    for (const ObjectPath& path : paths)
        if (result >= 0)
            result = append(reply, path);
    return result < 0 ? result : sd_bus_message_close_container(reply);
}
inline int append(sd_bus_message* reply, const std::vector<std::string>& texts) {
    int result = sd_bus_message_open_container(reply, 'a', "s");
    for (const std::string& text : texts)
        if (result >= 0)
            result = append(reply, text);
    return result < 0 ? result : sd_bus_message_close_container(reply);
}
inline int append(sd_bus_message* reply, std::uint64_t number) {
    return sd_bus_message_append(reply, "t", number);
}
inline int append(sd_bus_message* reply, std::uint32_t number) {
    return sd_bus_message_append(reply, "u", number);
}
inline int append(sd_bus_message* reply, double number) { return sd_bus_message_append(reply, "d", number); }
inline int append(sd_bus_message* reply, bool flag) {
    return sd_bus_message_append(reply, "b", static_cast<int>(flag));
}

/// A getter whose D-Bus type follows from what `kRead` returns.
template <auto kRead>
int property(sd_bus* /*bus*/, const char* /*path*/, const char* /*interface*/, const char* /*name*/,
             sd_bus_message* reply, void* userdata, sd_bus_error* /*error*/) noexcept {
    return append(reply, kRead(*static_cast<const Found*>(userdata)));
}

/// A method that changes something: `kRead` takes the arguments off the message and says what is to be
/// done; whether the caller may is decided afterwards, and the answer may come later.
template <auto kRead>
int change(sd_bus_message* call, void* userdata, sd_bus_error* error) noexcept {
    const Found found = *static_cast<const Found*>(userdata);
    Result<Request> request = kRead(call, found);
    if (!request)
        return set_error(error, request.error());
    found.objects->authority().serve(call, std::move(*request));
    return 1;
}

}  // namespace dray::bus
