// SPDX-License-Identifier: Apache-2.0
//
// A physical disk, or an image that stands for one, that is plugged in now.
#pragma once

#include <string>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/units.hpp"

namespace dray {

struct Device {
    /// Kernel name and DISKSEQ ("sdb_17"), or image name and counter; unique per plug-in (rules.md 4).
    std::string id;
    /// May be empty, may occur twice.
    std::string serial;
    std::string model;
    /// "/dev/sdb", or the image's path.
    std::string node;
    /// "usb", "scsi", "nvme", "image", ...
    std::string bus;
    /// ID_PATH; "" for images.
    std::string bay;
    Bytes size = 0;
    /// ID_FS_TYPE ("crypto_LUKS", "BitLocker", ...); "" not known.
    std::string signature;
    /// ID_FS_UUID; "" not known.
    std::string volume_uuid;
    bool is_image = false;

    bool operator==(const Device&) const = default;
};

/// Opens a device for reading, and for writing if `may_write`, exclusively: O_EXCL for block devices, flock for images. Busy: somebody else
/// has it (mounted, or another copy). Gone: it is not there any more. Denied. InvalidArgument: an image that
/// is a link, no regular file, or in a directory that others can write.
Result<FileDescriptor> open_device(const Device& device, bool may_write = false);

}  // namespace dray
