// SPDX-License-Identifier: Apache-2.0
#include "daemon/device/udev_monitor.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <set>
#include <string_view>
#include <utility>

#include "daemon/base/log.hpp"
#include "daemon/device/image_monitor.hpp"

namespace dray {
namespace {

using UdevDevice = Handle<udev_device, udev_device_unref>;
using UdevEnumerate = Handle<udev_enumerate, udev_enumerate_unref>;

/// Kernel names, up to the number, of block devices that are no disks one could hand over.
constexpr std::array<std::string_view, 13> kPassedOver{
    "ram", "zram", "dm-", "md", "md_d", "sr", "nbd", "fd", "drbd", "rbd", "bcache", "zd", "ublkb"};

/// No text of a device is longer: what a disk says of itself is a stranger's word.
constexpr std::size_t kMaxText = 256;

/// A disk chooses its own serial and model, so that nothing but printable ASCII passes.
std::string tame(std::string_view text) {
    std::string tamed(text.substr(0, kMaxText));
    for (char& c : tamed)
        if (c < ' ' || c > '~')
            c = '_';
    return tamed;
}

std::string property(udev_device* disk, const char* key) {
    const char* value = udev_device_get_property_value(disk, key);
    return value == nullptr ? "" : tame(value);
}

std::string attribute(udev_device* disk, const char* name) {
    const char* value = udev_device_get_sysattr_value(disk, name);
    return value == nullptr ? "" : std::string(value);
}

std::string first_property(udev_device* disk, std::initializer_list<const char*> keys) {
    for (const char* key : keys)
        if (std::string value = property(disk, key); !value.empty())
            return value;
    return "";
}

bool is_passed_over(std::string_view name) {
    return std::ranges::any_of(kPassedOver, [&](std::string_view prefix) {
        return name.starts_with(prefix) && name.size() > prefix.size() &&
               std::isdigit(static_cast<unsigned char>(name[prefix.size()])) != 0;
    });
}

std::string id_of(std::string_view name, const std::string& sequence) {
    return fmt::format("{}_{}", name, sequence.empty() ? "0" : tame(sequence));
}

bool is_loop(std::string_view name) {
    return name.starts_with("loop");
}

Bytes size_of(udev_device* disk) {
    const std::string text = attribute(disk, "size");
    Bytes sectors = 0;
    (void)std::from_chars(text.data(), text.data() + text.size(), sectors);  // 0 if there is none
    return sectors * 512;  // the kernel counts in these whatever the disk's sectors are
}

std::string bus_of(udev_device* disk, std::string_view name) {
    if (std::string bus = property(disk, "ID_BUS"); !bus.empty())
        return bus;
    constexpr std::array<std::pair<std::string_view, const char*>, 4> kByName{
        {{"nvme", "nvme"}, {"vd", "virtio"}, {"mmcblk", "mmc"}, {"loop", "loop"}}};
    for (const auto& [prefix, bus] : kByName)
        if (name.starts_with(prefix))
            return bus;
    return "";
}

std::string serial_of(udev_device* disk, const std::string& backing_file) {
    std::string serial;
    if (!backing_file.empty()) {
        serial = tame(serial_of_file_name(backing_file.substr(backing_file.rfind('/') + 1)));
    } else if (property(disk, "ID_BUS") == "scsi") {
        // For SAS disks ID_SERIAL_SHORT is the world-wide name; the label bears the unit's serial.
        serial = first_property(disk, {"ID_SCSI_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL"});
    } else {
        serial = first_property(disk, {"ID_SERIAL_SHORT", "ID_SCSI_SERIAL", "ID_SERIAL"});
    }
    std::erase(serial, ' ');
    return serial;
}

}  // namespace

Result<void> UdevMonitor::start(Callbacks callbacks) {
    callbacks_ = std::move(callbacks);
    if (access("/run/udev/control", F_OK) < 0)
        return fail(ErrorKind::NotFound,
                    "no udevd runs here (/run/udev/control is missing): disks cannot be seen; "
                    "images can, with the device source \"images\"");
    udev_.reset(udev_new());
    if (!udev_)
        return fail_errno(errno, "cannot talk to udev");
    monitor_.reset(udev_monitor_new_from_netlink(udev_.get(), "udev"));
    if (!monitor_)
        return fail_errno(errno, "cannot watch udev's events");
    int result = udev_monitor_filter_add_match_subsystem_devtype(monitor_.get(), "block", "disk");
    if (result >= 0)
        result = udev_monitor_enable_receiving(monitor_.get());
    if (result < 0)
        return fail_errno(-result, "cannot watch udev's events");
    source_ = loop_.watch(udev_monitor_get_fd(monitor_.get()), EPOLLIN,
                          [this](std::uint32_t) { read_event(); });
    if (!source_)
        return fail(ErrorKind::Internal, "cannot watch udev's events");
    // Only after receiving is on, so that no disk falls between the two.
    return enumerate();
}

void UdevMonitor::read_event() {
    errno = 0;
    const UdevDevice disk(udev_monitor_receive_device(monitor_.get()));
    if (disk) {
        look_at(disk.get());
        return;
    }
    if (errno == ENOBUFS) {
        log::debug("udev's events came faster than they were read: looking at all disks again");
        if (const Result<void> looked = enumerate(); !looked)
            log::error("{}", looked.error().text());
    } else if (errno != 0 && errno != EAGAIN && errno != EINTR) {
        log::debug("an event of udev could not be read: {}", errno_text(errno));
    }
}

Result<void> UdevMonitor::enumerate() {
    const UdevEnumerate all(udev_enumerate_new(udev_.get()));
    if (!all)
        return fail_errno(errno, "cannot list the disks");
    // What udev has not dealt with yet comes as an event when it has.
    int result = udev_enumerate_add_match_subsystem(all.get(), "block");
    if (result >= 0)
        result = udev_enumerate_add_match_property(all.get(), "DEVTYPE", "disk");
    if (result >= 0)
        result = udev_enumerate_add_match_is_initialized(all.get());
    if (result >= 0)
        result = udev_enumerate_scan_devices(all.get());
    if (result < 0)
        return fail_errno(-result, "cannot list the disks");

    std::set<std::string> missing;
    for (const auto& [name, device] : disks_)
        missing.insert(name);
    udev_list_entry* entry = nullptr;
    udev_list_entry_foreach(entry, udev_enumerate_get_list_entry(all.get())) {
        const UdevDevice disk(
            udev_device_new_from_syspath(udev_.get(), udev_list_entry_get_name(entry)));
        if (!disk)
            continue;  // gone since the list was made
        missing.erase(udev_device_get_sysname(disk.get()));
        look_at(disk.get());
    }
    for (const std::string& name : missing)
        announce(name, std::nullopt);
    return {};
}

void UdevMonitor::look_at(udev_device* disk) {
    const std::string name = udev_device_get_sysname(disk);
    const char* action = udev_device_get_action(disk);
    if (action != nullptr && std::string_view(action) == "remove") {
        if (!is_still_there(disk))
            announce(name, std::nullopt);
        return;
    }
    // An old event read when the next disk has the name already: its properties are not this
    // disk's, and an event of its own is on the way. Loop devices keep their name, and not every
    // attach and detach has an event of its own number: what counts of them is in sysfs, only the
    // content must not be mixed up.
    const std::string said = property(disk, "DISKSEQ");
    const std::string present = attribute(disk, "diskseq");
    const bool is_old = !said.empty() && !present.empty() && said != present;
    if (is_old && !is_loop(name))
        return;
    std::optional<Device> device = describe(disk);
    if (is_old && device) {
        device->signature.clear();
        device->volume_uuid.clear();
    }
    announce(name, std::move(device));
}

// A removal may be read late, when the next disk has the name, or be somebody's `udevadm trigger`. The kernel takes a
// disk's attributes out of sysfs before it tells of the removal; a number that is still there says who is there.
bool UdevMonitor::is_still_there(udev_device* disk) const {
    const auto known = disks_.find(udev_device_get_sysname(disk));
    const std::string sequence = attribute(disk, "diskseq");
    if (known == disks_.end() || sequence.empty() || size_of(disk) == 0)
        return false;
    const std::string name = known->first;
    return known->second.id == id_of(name, sequence) &&
           (!is_loop(name) || !attribute(disk, "loop/backing_file").empty());
}

void UdevMonitor::announce(const std::string& name, std::optional<Device> device) {
    const auto known = disks_.find(name);
    if (known != disks_.end() && device && known->second == *device)
        return;
    if (known != disks_.end() && (!device || known->second.id != device->id)) {
        const std::string id = known->second.id;
        disks_.erase(known);
        callbacks_.removed(id);
    }
    if (!device)
        return;
    disks_[name] = *device;
    callbacks_.present(*device);
}

std::optional<Device> UdevMonitor::describe(udev_device* disk) const {
    const std::string name = udev_device_get_sysname(disk);
    const char* node = udev_device_get_devnode(disk);
    if (node == nullptr || is_passed_over(name))
        return std::nullopt;
    std::string backing_file;
    if (is_loop(name)) {
        backing_file = attribute(disk, "loop/backing_file");
        if (!allow_loop_ || backing_file.empty())
            return std::nullopt;
    }
    Device device;
    device.size = size_of(disk);
    if (device.size == 0)
        return std::nullopt;
    std::string sequence = attribute(disk, "diskseq");
    if (sequence.empty())
        sequence = property(disk, "DISKSEQ");
    device.id = id_of(name, sequence);
    device.serial = serial_of(disk, backing_file);
    device.model = property(disk, "ID_MODEL");
    device.node = node;
    device.bus = bus_of(disk, name);
    device.bay = property(disk, "ID_PATH");
    device.signature = first_property(disk, {"ID_FS_TYPE", "ID_PART_TABLE_TYPE"});
    device.volume_uuid = property(disk, "ID_FS_UUID");
    return device;
}

}  // namespace dray
