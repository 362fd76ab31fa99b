// SPDX-License-Identifier: Apache-2.0
//
// What a drive is written to: an image file, which has its name only when it is whole, or a block
// device.
#pragma once

#include <string>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"

namespace dray::ctl {

class DriveTarget {
public:
    /// Looks at what `path` is now; changes nothing. InvalidArgument: neither a regular file, nor a
    /// block device, nor free to become a file; a symbolic link is none of them. Busy: the device
    /// is in use.
    static Result<DriveTarget> look_at(const std::string& path);

    DriveTarget(DriveTarget&& other) noexcept;
    DriveTarget& operator=(DriveTarget&&) = delete;
    DriveTarget(const DriveTarget&) = delete;
    DriveTarget& operator=(const DriveTarget&) = delete;
    /// What was begun and not published does not stay behind: a half-made image is removed, and a
    /// device on which a volume was made loses its header.
    ~DriveTarget();

    bool is_device() const { return is_device_; }
    /// Of a device; 0 for an image.
    Bytes device_size() const { return device_size_; }
    /// What would be lost, in words ("a LUKS volume"); "" when there is nothing.
    const std::string& holds() const { return holds_; }
    /// For people: the path, and size and model of a device.
    std::string describe() const;

    /// Opens it for writing: an image of `size` bytes with mode 0600 under a name that ends in
    /// ".part". Busy: another one is being written there. NoSpace: the disk has no room for
    /// `content` bytes.
    Result<void> begin(Bytes size, Bytes content);
    int fd() const { return fd_.get(); }
    /// A volume is being made: what a device held is lost, whatever comes.
    void has_volume() { is_begun_ = true; }
    /// Everything was written and flushed: gives an image its name. Exists: something came under
    /// that name meanwhile.
    Result<void> publish();
    /// An unnamed file for what cannot be known before: beside the image, or in memory.
    Result<FileDescriptor> make_spool() const;

private:
    DriveTarget() = default;
    Result<void> look_at_device();
    Result<void> look_at_file(Bytes size);
    Result<void> make_part();
    Result<void> rename_part() const;
    std::string part_path() const { return path_ + ".part"; }
    std::string directory() const;

    std::string path_;
    std::string model_;
    bool is_device_ = false;
    bool is_replacing_ = false;
    bool is_begun_ = false;
    bool is_published_ = false;
    Bytes device_size_ = 0;
    std::string holds_;
    FileDescriptor fd_;
};

}  // namespace dray::ctl
