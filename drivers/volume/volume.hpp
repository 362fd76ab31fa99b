// SPDX-License-Identifier: Apache-2.0
//
// The contract of a volume: a device in, a plaintext block device out. One thread.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"

namespace dray::volume {

/// A plaintext block device. Offsets and lengths are multiples of sector_size().
class BlockDevice {
public:
    BlockDevice() = default;
    BlockDevice(const BlockDevice&) = delete;
    BlockDevice& operator=(const BlockDevice&) = delete;
    virtual ~BlockDevice() = default;

    virtual Bytes size() const = 0;
    /// 512 or 4096.
    virtual Bytes sector_size() const = 0;
    /// Reads straight into `content`; fastest when it is 4096-aligned. Gone: the device was pulled.
    /// Internal: a read error. Corrupt: beyond the end (a truncated image).
    virtual Result<void> read(Bytes offset, std::span<std::byte> content) = 0;
    /// `content` is overwritten with its ciphertext on the way.
    virtual Result<void> write(Bytes offset, std::span<std::byte> content) = 0;
    /// Flushes what was written to the medium.
    virtual Result<void> sync() = 0;
};

/// "luks2", "luks1", "bitlocker", "plain"; the identifier is the LUKS UUID, or the GUID of a BitLocker volume in lower case.
struct VolumeIdentity {
    std::string type;
    std::string id;
};

}  // namespace dray::volume
