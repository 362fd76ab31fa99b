// SPDX-License-Identifier: Apache-2.0
//
// The device source `udev`: whole disks, as the kernel and udev's rules describe them. Loop thread
// only.
//
// Events are taken as hints to look again, removals too: their order, number and repetition do not matter. Passed
// over are partitions, memory disks, device-mapper, RAID, optical and network block devices, and
// loop devices unless they are allowed and have a backing file. A card reader without a card is no
// device.
#pragma once

#include <libudev.h>

#include <map>
#include <optional>
#include <string>

#include "daemon/base/handle.hpp"
#include "daemon/device/device_monitor.hpp"
#include "daemon/loop/event_loop.hpp"

namespace dray {

class UdevMonitor : public DeviceMonitor {
public:
    UdevMonitor(EventLoop& loop, bool allow_loop) : loop_(loop), allow_loop_(allow_loop) {}

    /// NotFound also if no udevd runs here.
    Result<void> start(Callbacks callbacks) override;

private:
    void read_event();
    /// Compares what is there with what is known, at the start and after lost events.
    Result<void> enumerate();
    void look_at(udev_device* disk);
    /// Whether what is in sysfs under this name is the disk that was announced.
    bool is_still_there(udev_device* disk) const;
    void announce(const std::string& name, std::optional<Device> device);
    /// Nothing if it is no disk for us, or has no medium.
    std::optional<Device> describe(udev_device* disk) const;

    EventLoop& loop_;
    bool allow_loop_;
    Callbacks callbacks_;
    Handle<udev, udev_unref> udev_;
    Handle<udev_monitor, udev_monitor_unref> monitor_;
    /// By kernel name.
    std::map<std::string, Device> disks_;
    EventSource source_;
};

}  // namespace dray
