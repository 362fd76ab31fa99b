// SPDX-License-Identifier: Apache-2.0
//
// libntfs-3g reads a volume::BlockDevice through this; it can never write. The library knows nothing but errno,
// so what the device said is kept here. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "daemon/base/result.hpp"
#include "drivers/filesystem/ext4/block_io.hpp"
#include "drivers/volume/volume.hpp"

struct ntfs_device;

namespace dray::fs {

class NtfsDevice {
public:
    explicit NtfsDevice(volume::BlockDevice& device);
    NtfsDevice(const NtfsDevice&) = delete;
    NtfsDevice& operator=(const NtfsDevice&) = delete;
    ~NtfsDevice();

    struct ntfs_device* handle() { return handle_; }
    /// A volume that was opened frees the handle itself.
    void give_away_handle() { handle_ = nullptr; }
    volume::BlockDevice& device() const { return io_.device(); }

    /// Any offset and length, through a cache of large lines. Corrupt: beyond the end of the device.
    Result<void> read(Bytes offset, std::span<std::byte> content) { return io_.read(offset, content); }

    /// From now on the library may read so many times.
    void allow_reads(std::uint64_t count) { reads_left_ = count; }

    /// What to tell after a call of the library failed: the device's own error if it had one since the last
    /// call of this, else Corrupt with `problem`.
    Error error_of(std::string problem);

    /// For the library.
    std::int64_t pread(Bytes offset, std::span<std::byte> content);
    std::int64_t seek(std::int64_t offset, int whence);
    std::int64_t position() const { return position_; }

private:
    BlockIo io_;
    struct ntfs_device* handle_;
    std::optional<Error> error_;
    std::int64_t position_ = 0;
    std::uint64_t reads_left_ = 0;
};

}  // namespace dray::fs
