// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ntfs/ntfs_device.hpp"

#include <new>
#include <utility>

#include "drivers/filesystem/ntfs/ntfs_library.hpp"

namespace dray::fs {
namespace {

/// A record, or an attribute list of 256 KiB in clusters of 2 MiB at most.
constexpr Bytes kLongestRead = 4 * kMiB;

NtfsDevice& device_of(struct ntfs_device* device) { return *static_cast<NtfsDevice*>(device->d_private); }

int refuse(int error_number) {
    errno = error_number;
    return -1;
}

std::span<std::byte> span_of(void* content, s64 count) {
    return {static_cast<std::byte*>(content), static_cast<std::size_t>(count)};
}

int open_device(struct ntfs_device* /*device*/, int /*flags*/) { return 0; }
int close_device(struct ntfs_device* /*device*/) { return 0; }
int sync_device(struct ntfs_device* /*device*/) { return 0; }

s64 seek_device(struct ntfs_device* device, s64 offset, int whence) {
    return device_of(device).seek(offset, whence);
}

s64 pread_device(struct ntfs_device* device, void* content, s64 count, s64 offset) {
    if (count < 0 || offset < 0)
        return refuse(EINVAL);
    return device_of(device).pread(static_cast<Bytes>(offset), span_of(content, count));
}

s64 read_device(struct ntfs_device* device, void* content, s64 count) {
    const s64 done = pread_device(device, content, count, device_of(device).position());
    if (done > 0)
        (void)device_of(device).seek(done, SEEK_CUR);  // stays on the device
    return done;
}

s64 write_device(struct ntfs_device* /*device*/, const void* /*content*/, s64 /*count*/) { return refuse(EROFS); }

s64 pwrite_device(struct ntfs_device* /*device*/, const void* /*content*/, s64 /*count*/, s64 /*offset*/) {
    return refuse(EROFS);
}

int stat_device(struct ntfs_device* /*device*/, struct stat* /*status*/) { return refuse(EOPNOTSUPP); }

int control_device(struct ntfs_device* /*device*/, unsigned long /*request*/, void* /*argument*/) {
    return refuse(EOPNOTSUPP);
}

ntfs_device_operations make_operations() {
    ntfs_device_operations operations{};
    operations.open = open_device;
    operations.close = close_device;
    operations.seek = seek_device;
    operations.read = read_device;
    operations.write = write_device;
    operations.pread = pread_device;
    operations.pwrite = pwrite_device;
    operations.sync = sync_device;
    operations.stat = stat_device;
    operations.ioctl = control_device;
    return operations;
}

}  // namespace

NtfsDevice::NtfsDevice(volume::BlockDevice& device) : io_(device) {
    static ntfs_device_operations operations = make_operations();
    // Its own way of logging asks the terminal, which no box allows.
    ntfs_log_set_handler(ntfs_log_handler_null);
    handle_ = ntfs_device_alloc("volume", 0, &operations, this);
    if (handle_ == nullptr)
        throw std::bad_alloc();  // ends the process, as all lack of memory does
}

NtfsDevice::~NtfsDevice() {
    if (handle_ != nullptr)
        (void)ntfs_device_free(handle_);  // fails for an open device alone, which this never is
}

std::int64_t NtfsDevice::pread(Bytes offset, std::span<std::byte> content) {
    if (reads_left_ == 0 || content.size() > kLongestRead)
        return refuse(EIO);
    --reads_left_;
    Result<void> done = io_.read(offset, content);
    if (done)
        return static_cast<std::int64_t>(content.size());
    error_ = std::move(done.error());
    return refuse(EIO);
}

std::int64_t NtfsDevice::seek(std::int64_t offset, int whence) {
    const std::int64_t end = static_cast<std::int64_t>(device().size());
    const std::int64_t from = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? position_ : end;
    std::int64_t place = 0;
    if (__builtin_add_overflow(from, offset, &place) || place < 0 || place > end)
        return refuse(EINVAL);
    return position_ = place;
}

Error NtfsDevice::error_of(std::string problem) {
    if (std::optional<Error> cause = std::exchange(error_, std::nullopt))
        return {*std::move(cause), std::move(problem)};
    return {ErrorKind::Corrupt, std::move(problem)};
}

}  // namespace dray::fs
