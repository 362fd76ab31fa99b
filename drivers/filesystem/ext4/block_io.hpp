// SPDX-License-Identifier: Apache-2.0
//
// libext2fs reads and writes a volume::BlockDevice through this. A cache of large lines stands between,
// because the device is read past the page cache and metadata comes in small bites. One thread.
#pragma once

#include <ext2fs/ext2fs.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "daemon/base/result.hpp"
#include "drivers/filesystem/line_cache.hpp"
#include "drivers/volume/volume.hpp"

namespace dray::fs {

/// Give `manager()` and `name()` to ext2fs_open2 or ext2fs_initialize; the object must outlive the file
/// system opened through it. File content may go past it, straight to the device.
class BlockIo {
public:
    explicit BlockIo(volume::BlockDevice& device);
    BlockIo(const BlockIo&) = delete;
    BlockIo& operator=(const BlockIo&) = delete;
    ~BlockIo();

    static io_manager manager();
    const char* name() const { return name_.c_str(); }
    volume::BlockDevice& device() const { return device_; }

    /// Any offset and length, through the cache. Corrupt: beyond the end of the device.
    Result<void> read(Bytes offset, std::span<std::byte> content) { return cache_.read(offset, content); }
    Result<void> write(Bytes offset, std::span<const std::byte> content);
    Result<void> zero(Bytes offset, Bytes length);

    /// What to tell after a libext2fs call failed with `code`: the device's own error if it had one
    /// since the last call of this, else `kind` with libext2fs' words. `sentence` comes first.
    Error error_of(errcode_t code, std::string sentence, ErrorKind kind = ErrorKind::Corrupt);

    /// For the callbacks: turns a result into an errcode and remembers the error.
    errcode_t remember(Result<void> result);

private:
    Result<void> write_sectors(Bytes offset, std::span<const std::byte> content);
    Result<void> write_in_line(Bytes offset, std::span<const std::byte> content);

    volume::BlockDevice& device_;
    std::string name_;
    std::optional<Error> error_;
    LineCache cache_;
    std::vector<std::byte> scratch_;
};

}  // namespace dray::fs
