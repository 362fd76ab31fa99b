// SPDX-License-Identifier: Apache-2.0
//
// Collects what a device monitor says, and waits for it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "daemon/device/device_monitor.hpp"
#include "daemon/loop/event_loop.hpp"

namespace dray {

/// For GoogleTest's messages.
inline void PrintTo(const Device& device, std::ostream* out) {
    *out << device.id << " serial=" << device.serial << " node=" << device.node
         << " bus=" << device.bus << " size=" << device.size << " signature=" << device.signature
         << " uuid=" << device.volume_uuid << " model=" << device.model << " bay=" << device.bay;
}

struct DeviceEvents {
    explicit DeviceEvents(EventLoop& used) : loop(used) {}

    DeviceMonitor::Callbacks callbacks() {
        return {.present =
                    [this](const Device& device) {
                        present[device.id] = device;
                        log.push_back("+" + device.id);
                    },
                .removed =
                    [this](const std::string& id) {
                        present.erase(id);
                        log.push_back("-" + id);
                    }};
    }

    /// Runs the loop until the claim holds; false after a time no healthy machine needs.
    bool wait(const std::function<bool()>& claim) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        while (!claim()) {
            if (std::chrono::steady_clock::now() > end)
                return false;
            (void)sd_event_run(loop.get(), 100'000);
        }
        return true;
    }

    const Device* with_serial(const std::string& serial) const {
        for (const auto& [id, device] : present)
            if (device.serial == serial)
                return &device;
        return nullptr;
    }
    bool wait_for(const std::string& serial) {
        return wait([&] { return with_serial(serial) != nullptr; });
    }
    bool wait_gone(const std::string& serial) {
        return wait([&] { return with_serial(serial) == nullptr; });
    }
    long count(const std::string& line) const { return std::ranges::count(log, line); }

    EventLoop& loop;
    std::map<std::string, Device> present;
    /// "+id" and "-id" in order.
    std::vector<std::string> log;
};

}  // namespace dray
