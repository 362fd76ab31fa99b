// SPDX-License-Identifier: Apache-2.0
//
// The devices that are plugged in, and which job's drive each of them is (rules.md 3 to 5). Pure: it looks
// at jobs and devices and says who belongs to whom; it starts nothing and saves nothing.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "daemon/device/device.hpp"
#include "daemon/engine/engine_observer.hpp"
#include "daemon/model/job.hpp"

namespace dray {

/// What a device is recognised by when Assign waived its serial: the same after unplug and replug.
std::string fingerprint_of(const Device& device);

/// A disk that says the right serial, or is in the right place, and holds another volume than the drive is known for:
/// docks report a serial of their own, whatever is in them.
bool has_other_volume(const Device& device, const Drive& drive);

/// What several devices share the bandwidth of: "usb pci-0000:00:14.0". "" for images.
std::string bus_of(const Device& device);

class DeviceBook {
public:
    /// A drive in mid-copy keeps its device, whatever else turns up.
    struct Hold {
        std::string device_id;
        std::string job;
        std::string serial;
    };

    /// Answers whether the id is new.
    bool put(const Device& device);
    /// The entry that was there; an empty id if none.
    DeviceEntry take(const std::string& id);
    /// What a pair found on an image; udev says it of disks by itself.
    void set_content(const std::string& id, const std::string& signature, const std::string& volume_uuid);
    void count_open(const std::string& id);

    /// Finds job, serial and problem of every device anew. Answers the ids of entries that have changed.
    std::vector<std::string> settle(const std::vector<const Job*>& jobs, std::span<const Hold> holds);

    const DeviceEntry* find(const std::string& id) const;
    /// The one device that is this drive, or null.
    const DeviceEntry* device_of(const Job& job, const Drive& drive) const;
    std::vector<const DeviceEntry*> all() const;

private:
    std::map<std::string, DeviceEntry> entries_;
};

}  // namespace dray
