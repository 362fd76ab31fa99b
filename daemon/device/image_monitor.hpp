// SPDX-License-Identifier: Apache-2.0
//
// The device source `images`: a watched directory, where a disk image that is put there is plugged
// in and one that is taken away is unplugged. Needs no privilege. Loop thread only.
//
// An image counts when nobody writes it any more: closed after writing, moved in, or linked in.
// Dotfiles and *.part are passed over, and so is what is no regular file or has a name beyond
// printable ASCII. An image that is written again is unplugged at the first byte and plugged in as
// a new device when closed; but not where the writer has locked it (flock), as a copy of ours has.
#pragma once

#include <ctime>
#include <map>
#include <string>
#include <string_view>

#include "daemon/device/device_monitor.hpp"
#include "daemon/loop/event_loop.hpp"

namespace dray {

/// The serial an image or a backing file stands for: the name up to its last dot, without spaces.
std::string serial_of_file_name(std::string_view name);

class ImageMonitor : public DeviceMonitor {
public:
    ImageMonitor(EventLoop& loop, std::string directory);

    /// Denied also if others can write the directory.
    Result<void> start(Callbacks callbacks) override;

private:
    /// What tells one content of a file from another without reading it.
    struct Identity {
        unsigned long inode = 0;
        long long size = 0;
        timespec changed{};
        bool operator==(const Identity& other) const;
    };
    struct Image {
        Device device;
        Identity identity;
        /// Of the watch that tells the first write into it.
        int watch = -1;
        /// The writes are those of a copy that has locked it: an export fills it.
        bool is_being_filled = false;
    };

    Result<void> check_directory();
    void read_events();
    void take_event(int watch, std::uint32_t mask, const std::string& name);
    /// Compares what is there with what is known, after a start or lost events.
    Result<void> look_at_all();
    /// Brings one name up to date.
    void look_at(const std::string& name);
    void forget(const std::string& name);
    void forget_written(int watch);
    void forget_all();

    EventLoop& loop_;
    std::string directory_;
    Callbacks callbacks_;
    FileDescriptor folder_;
    FileDescriptor inotify_;
    int folder_watch_ = -1;
    std::map<std::string, Image> images_;
    unsigned long counter_ = 0;
    EventSource source_;
};

}  // namespace dray
