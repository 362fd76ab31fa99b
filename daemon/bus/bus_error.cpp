// SPDX-License-Identifier: Apache-2.0
#include "daemon/bus/bus_error.hpp"

#include "daemon/bus/bus_text.hpp"
#include "daemon/bus/handles.hpp"
#include "daemon/bus/names.hpp"

namespace dray::bus {
namespace {

std::string_view short_name(ErrorKind kind) {
    switch (kind) {
    case ErrorKind::Conflict:
    case ErrorKind::Busy:
        return "StateConflict";
    case ErrorKind::LimitReached:
    case ErrorKind::NoSpace:
        return "LimitExceeded";
    case ErrorKind::Denied:
        return "AccessDenied";
    case ErrorKind::Gone:
        return "DeviceGone";
    case ErrorKind::Unreachable:
        return "StoreUnreachable";
    case ErrorKind::InvalidArgument:
    case ErrorKind::NotFound:
    case ErrorKind::Exists:
    case ErrorKind::WrongKey:
    case ErrorKind::Corrupt:
    case ErrorKind::Unsupported:
    case ErrorKind::Cancelled:
    case ErrorKind::Internal:
        break;
    }
    return to_string(kind);
}

}  // namespace

std::string error_name(ErrorKind kind) {
    std::string name = kErrorPrefix;
    name += short_name(kind);
    return name;
}

int set_error(sd_bus_error* error, const Error& cause) {
    return sd_bus_error_set(error, error_name(cause.kind()).c_str(), as_utf8(cause.text()).c_str());
}

void reply_error(sd_bus_message* call, const Error& cause) {
    BusErrorBuffer error;
    set_error(error.get(), cause);
    (void)sd_bus_reply_method_error(call, error.get());  // fails only when the bus is gone
}

}  // namespace dray::bus
