// SPDX-License-Identifier: Apache-2.0
#include "daemon/device/device.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace dray {
namespace {

/// What an open says about a disk that is going or gone differs from bus to bus.
bool means_gone(int error_number) {
    return error_number == ENOENT || error_number == ENXIO || error_number == ENODEV ||
           error_number == ENOMEDIUM || error_number == ENOTDIR;
}

/// The number behind the last underscore of "sdb_17".
std::optional<std::uint64_t> sequence_of(std::string_view id) {
    const std::size_t mark = id.rfind('_');
    if (mark == std::string_view::npos)
        return std::nullopt;
    const std::string_view digits = id.substr(mark + 1);
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size())
        return std::nullopt;
    return value;
}

Result<void> clear_nonblock(int fd, const std::string& node) {
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
        return fail_errno(errno, "cannot set up {}", node);
    return {};
}

Result<FileDescriptor> open_disk(const Device& device, int mode) {
    // O_NONBLOCK: an empty drive bay answers at once, and a pipe in its place does not stop the
    // loop.
    FileDescriptor fd(
        ::open(device.node.c_str(), mode | O_EXCL | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!fd) {
        if (errno == EBUSY)
            return fail(ErrorKind::Busy, "{} is in use: something has mounted or claimed it",
                        device.node);
        if (means_gone(errno))
            return fail(ErrorKind::Gone, "{} is not there any more", device.node);
        return fail_errno(errno, "cannot open {}", device.node);
    }
    struct stat status {};
    if (fstat(fd.get(), &status) < 0)
        return fail_errno(errno, "cannot look at {}", device.node);
    if (!S_ISBLK(status.st_mode))
        return fail(ErrorKind::Gone, "{} is not a disk any more", device.node);
    // The kernel gives a node to the next disk as soon as the last one is out; DISKSEQ never comes
    // back.
    std::uint64_t present = 0;
    const std::optional<std::uint64_t> wanted = sequence_of(device.id);
    if (wanted && *wanted != 0 && ioctl(fd.get(), BLKGETDISKSEQ, &present) == 0 &&
        present != *wanted)
        return fail(ErrorKind::Gone, "{} is another disk by now", device.node);
    DRAY_TRY(clear_nonblock(fd.get(), device.node));
    return fd;
}

Result<FileDescriptor> open_image(const Device& device, int mode) {
    const std::string& path = device.node;
    const std::size_t slash = path.rfind('/');
    const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
    const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
    const FileDescriptor parent(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    struct stat status {};
    if (!parent || fstat(parent.get(), &status) < 0) {
        if (means_gone(errno))
            return fail(ErrorKind::Gone, "{} is not there any more", path);
        return fail_errno(errno, "cannot open the directory of {}", path);
    }
    if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return fail(ErrorKind::InvalidArgument,
                    "{} is in a directory with mode {:04o} that others can write; "
                    "take that away with: chmod go-w {}",
                    path, status.st_mode & 07777U, directory);

    FileDescriptor fd(openat(parent.get(), name.c_str(),
                             mode | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!fd) {
        if (errno == ELOOP)
            return fail(ErrorKind::InvalidArgument, "{} is a link; an image must be a file itself",
                        path);
        if (means_gone(errno))
            return fail(ErrorKind::Gone, "{} is not there any more", path);
        return fail_errno(errno, "cannot open {}", path);
    }
    if (fstat(fd.get(), &status) < 0)
        return fail_errno(errno, "cannot look at {}", path);
    if (!S_ISREG(status.st_mode))
        return fail(ErrorKind::InvalidArgument, "{} is not a regular file", path);
    if (flock(fd.get(), LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            return fail(ErrorKind::Busy, "{} is in use: another copy has locked it", path);
        return fail_errno(errno, "cannot lock {}", path);
    }
    DRAY_TRY(clear_nonblock(fd.get(), path));
    return fd;
}

}  // namespace

Result<FileDescriptor> open_device(const Device& device, bool may_write) {
    const int mode = may_write ? O_RDWR : O_RDONLY;
    return device.is_image ? open_image(device, mode) : open_disk(device, mode);
}

}  // namespace dray
