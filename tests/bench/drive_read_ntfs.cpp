// SPDX-License-Identifier: Apache-2.0
//
// libntfs-3g over a block device object of dray's, as its own programs use it: mount, path, ntfs_attr_pread.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "drivers/volume/span_read.hpp"
#include "tests/bench/drive_read.hpp"

extern "C" {
#include <ntfs-3g/types.h>
#include <ntfs-3g/layout.h>
#include <ntfs-3g/volume.h>
#include <ntfs-3g/attrib.h>
#include <ntfs-3g/device.h>
#include <ntfs-3g/dir.h>
#include <ntfs-3g/inode.h>
}
#undef min
#undef max

namespace dray::bench {
namespace {

struct Place {
    volume::BlockDevice* device = nullptr;
    std::int64_t position = 0;
    std::vector<std::byte> scratch;
};

Place& place_of(ntfs_device* device) { return *static_cast<Place*>(device->d_private); }

int open_device(ntfs_device* device, int) {
    NDevSetOpen(device);
    NDevSetReadOnly(device);
    return 0;
}
int close_device(ntfs_device* device) {
    NDevClearOpen(device);
    return 0;
}
s64 seek_device(ntfs_device* device, s64 offset, int whence) {
    Place& place = place_of(device);
    place.position = whence == SEEK_CUR   ? place.position + offset
                     : whence == SEEK_END ? static_cast<std::int64_t>(place.device->size()) + offset
                                          : offset;
    return place.position;
}
s64 pread_device(ntfs_device* device, void* content, s64 count, s64 offset) {
    Place& place = place_of(device);
    const auto end = static_cast<s64>(place.device->size());
    const s64 length = std::max<s64>(0, std::min(count, end - offset));
    if (volume::read_span(*place.device, static_cast<Bytes>(offset),
                          {static_cast<std::byte*>(content), static_cast<std::size_t>(length)}, place.scratch))
        return length;
    errno = EIO;
    return -1;
}
s64 read_device(ntfs_device* device, void* content, s64 count) {
    Place& place = place_of(device);
    const s64 done = pread_device(device, content, count, place.position);
    place.position += std::max<s64>(0, done);
    return done;
}
s64 refuse_write(ntfs_device*, const void*, s64) {
    errno = EROFS;
    return -1;
}
s64 refuse_pwrite(ntfs_device*, const void*, s64, s64) {
    errno = EROFS;
    return -1;
}
int do_nothing(ntfs_device*) { return 0; }
int look_at(ntfs_device*, struct stat*) {
    errno = EOPNOTSUPP;
    return -1;
}
int refuse_control(ntfs_device*, unsigned long, void*) {
    errno = EOPNOTSUPP;
    return -1;
}

}  // namespace

Result<Figures> read_with_libntfs(volume::BlockDevice& volume, const std::string& name) {
    Place place;
    place.device = &volume;
    ntfs_device_operations operations{};
    operations.open = open_device;
    operations.close = close_device;
    operations.seek = seek_device;
    operations.read = read_device;
    operations.write = refuse_write;
    operations.pread = pread_device;
    operations.pwrite = refuse_pwrite;
    operations.sync = do_nothing;
    operations.stat = look_at;
    operations.ioctl = refuse_control;
    ntfs_device* const device = ntfs_device_alloc("bench", 0, &operations, &place);
    ntfs_volume* const mounted = device != nullptr ? ntfs_device_mount(device, NTFS_MNT_RDONLY) : nullptr;
    if (mounted == nullptr)
        return fail(ErrorKind::Corrupt, "libntfs-3g does not mount the file system");
    ntfs_inode* const inode = ntfs_pathname_to_inode(mounted, nullptr, name.c_str());
    ntfs_attr* const file = inode != nullptr ? ntfs_attr_open(inode, AT_DATA, nullptr, 0) : nullptr;
    if (file == nullptr)
        return fail(ErrorKind::NotFound, "libntfs-3g does not open {}", name);
    Result<Figures> figures = measured(0, [&]() -> Result<Bytes> {
        s64 bytes = 0;
        for (s64 count = 1; count > 0; bytes += count) {
            count = ntfs_attr_pread(file, bytes, static_cast<s64>(kPiece), buffer().data());
            if (count < 0)
                return fail(ErrorKind::Internal, "libntfs-3g cannot read");
        }
        return static_cast<Bytes>(bytes);
    });
    ntfs_attr_close(file);
    (void)ntfs_inode_close(inode);
    (void)ntfs_umount(mounted, FALSE);
    return figures;
}

}  // namespace dray::bench
