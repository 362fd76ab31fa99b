// SPDX-License-Identifier: Apache-2.0
//
// The DeviceMonitor seam: where disks come from. Loop thread only.
#pragma once

#include <functional>
#include <string>

#include "daemon/base/result.hpp"
#include "daemon/device/device.hpp"

namespace dray {

class DeviceMonitor {
public:
    struct Callbacks {
        /// New, or changed: the same id may come again with other properties, or unchanged.
        std::function<void(const Device&)> present;
        /// Any number of times, also for ids never present.
        std::function<void(const std::string& id)> removed;
    };

    DeviceMonitor() = default;
    DeviceMonitor(const DeviceMonitor&) = delete;
    DeviceMonitor& operator=(const DeviceMonitor&) = delete;
    virtual ~DeviceMonitor() = default;

    /// Announces what is there and from then on what comes and goes; callbacks may come before it
    /// returns. NotFound, Denied: the source cannot be watched.
    virtual Result<void> start(Callbacks callbacks) = 0;
};

}  // namespace dray
