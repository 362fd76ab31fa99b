// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/device_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace dray::volume {
namespace {

constexpr std::size_t kBounce = 256 * kKiB;
/// Reads up to this size that follow each other are served from one read of kBounce.
constexpr std::size_t kSmallRead = 32 * kKiB;
/// A small read counts as following the last one when it begins within this distance behind it.
constexpr Bytes kNear = 64 * kKiB;
constexpr std::size_t kPageSize = 4096;
/// What every driver's direct reads ask of addresses; the strictest known.
constexpr std::size_t kAddressAlignment = 512;
/// Buffered reads below this size leave the page cache to the kernel's own judgement.
constexpr std::size_t kDropFrom = 64 * kKiB;

bool is_address_aligned(const std::byte* address) {
    return reinterpret_cast<std::uintptr_t>(address) % kAddressAlignment == 0;
}

bool means_gone(int error_number) {
    return error_number == ENODEV || error_number == ENXIO || error_number == ENOMEDIUM;
}

}  // namespace

DeviceFile::DeviceFile(FileDescriptor fd, Bytes size)
    : fd_(std::move(fd)),
      size_(size),
      bounce_(static_cast<std::byte*>(std::aligned_alloc(kPageSize, kBounce)), &std::free) {
    if (!bounce_)
        throw std::bad_alloc();  // ends the process, as all lack of memory does
}

Result<std::unique_ptr<DeviceFile>> DeviceFile::open(FileDescriptor fd) {
    struct stat status {};
    if (fstat(fd.get(), &status) != 0)
        return fail_errno(errno, "cannot look at the device");
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
        return fail(ErrorKind::InvalidArgument, "the device is neither a disk nor a regular file");
    const off_t end = lseek(fd.get(), 0, SEEK_END);
    if (end < 0)
        return fail_errno(errno, "cannot find out the size of the device");
    if (end == 0 && S_ISBLK(status.st_mode))
        return fail(ErrorKind::Gone, "the device has no medium");
    std::unique_ptr<DeviceFile> device(new DeviceFile(std::move(fd), static_cast<Bytes>(end)));
    device->try_direct();
    return device;
}

void DeviceFile::try_direct() {
    const int flags = fcntl(fd_.get(), F_GETFL);
    if (flags < 0 || fcntl(fd_.get(), F_SETFL, flags | O_DIRECT) != 0)
        return;
    for (const std::size_t alignment : {std::size_t{512}, kPageSize}) {
        // Not at offset 0: there every alignment fits.
        if (size_ >= 2 * alignment &&
            pread(fd_.get(), bounce_.get(), alignment, static_cast<off_t>(alignment)) ==
                static_cast<ssize_t>(alignment)) {
            alignment_ = alignment;
            return;
        }
    }
    (void)fcntl(fd_.get(), F_SETFL, flags & ~O_DIRECT);  // was possible a moment ago
}

Result<void> DeviceFile::check_range(Bytes offset, std::size_t length) const {
    if (offset > size_ || length > size_ - offset)
        return fail(ErrorKind::Corrupt, "the device ends at {}, but bytes {} to {} are needed", size_,
                    offset, offset + length);
    return {};
}

bool DeviceFile::answers_elsewhere() {
    if (lseek(fd_.get(), 0, SEEK_END) <= 0)
        return false;
    const std::size_t block = std::min<std::size_t>(kPageSize, size_);
    const Bytes last = (size_ - block) / kPageSize * kPageSize;
    window_length_ = 0;
    for (const Bytes offset : {Bytes{0}, last})
        if (pread(fd_.get(), bounce_.get(), kPageSize, static_cast<off_t>(offset)) > 0)
            return true;
    return false;
}

/// A read error is only suspected until a second, smaller read has failed too and the device has
/// answered elsewhere: a pulled disk answers EIO before the kernel says that it is gone.
Result<std::size_t> DeviceFile::read_again(Bytes offset, std::span<std::byte> content, int error_number) {
    std::size_t done = 0;
    while (!means_gone(error_number) && done < content.size()) {
        const std::size_t length = std::min(kPageSize, content.size() - done);
        const ssize_t count =
            pread(fd_.get(), content.data() + done, length, static_cast<off_t>(offset + done));
        if (count > 0) {
            done += static_cast<std::size_t>(count);
        } else if (count == 0) {
            return done;
        } else if (errno != EINTR) {
            error_number = errno;
            if (means_gone(error_number) || !answers_elsewhere())
                break;
            return fail(ErrorKind::Internal, "the device cannot be read at offset {}: {}",
                        offset + done, errno_text(error_number));
        }
    }
    if (done == content.size())
        return done;
    return fail(ErrorKind::Gone, "the device is gone (reading at offset {}: {})", offset + done,
                errno_text(error_number));
}

/// A disk without its medium has no bytes at all.
Result<void> DeviceFile::check_medium() const {
    struct stat status {};
    if (fstat(fd_.get(), &status) == 0 && S_ISBLK(status.st_mode) && lseek(fd_.get(), 0, SEEK_END) <= 0)
        return fail(ErrorKind::Gone, "the medium is gone");
    return {};
}

Result<std::size_t> DeviceFile::pread_all(Bytes offset, std::span<std::byte> content) {
    std::size_t done = 0;
    while (done < content.size()) {
        const ssize_t count = pread(fd_.get(), content.data() + done, content.size() - done,
                                    static_cast<off_t>(offset + done));
        if (count == 0) {
            DRAY_TRY(check_medium());
            break;
        }
        if (count < 0 && errno != EINTR) {
            DRAY_LET(const std::size_t more, read_again(offset + done, content.subspan(done), errno));
            return done + more;
        }
        if (count > 0)
            done += static_cast<std::size_t>(count);
        // A direct read that ended within a block has met the end of an image.
        if (done % alignment_ != 0)
            break;
    }
    return done;
}

Result<void> DeviceFile::read_plainly(Bytes offset, std::span<std::byte> content) {
    DRAY_LET(const std::size_t count, pread_all(offset, content));
    if (count < content.size())
        return fail(ErrorKind::Corrupt, "the device ends at {}, but {} bytes from {} are needed",
                    offset + count, content.size(), offset);
    if (!is_direct() && content.size() >= kDropFrom)
        (void)posix_fadvise(fd_.get(), static_cast<off_t>(offset), static_cast<off_t>(content.size()),
                            POSIX_FADV_DONTNEED);  // only a hint
    return {};
}

Result<void> DeviceFile::read_bounced(Bytes offset, std::span<std::byte> content) {
    while (!content.empty()) {
        const Bytes start = offset / alignment_ * alignment_;
        const std::size_t skip = offset - start;
        const std::size_t length =
            std::min(kBounce, (skip + content.size() + alignment_ - 1) / alignment_ * alignment_);
        window_length_ = 0;
        DRAY_LET(const std::size_t count, pread_all(start, {bounce_.get(), length}));
        if (count <= skip)
            return fail(ErrorKind::Corrupt, "the device ends at {}", start + count);
        window_offset_ = start;
        window_length_ = count;
        const std::size_t part = std::min(count - skip, content.size());
        std::memcpy(content.data(), bounce_.get() + skip, part);
        content = content.subspan(part);
        offset += part;
    }
    return {};
}

bool DeviceFile::serve_from_window(Bytes offset, std::span<std::byte> content) {
    if (offset < window_offset_ || offset - window_offset_ > window_length_ ||
        content.size() > window_length_ - (offset - window_offset_))
        return false;
    std::memcpy(content.data(), bounce_.get() + (offset - window_offset_), content.size());
    return true;
}

Result<void> DeviceFile::read(Bytes offset, std::span<std::byte> content) {
    DRAY_TRY(check_range(offset, content.size()));
    if (!is_direct())
        return read_plainly(offset, content);
    if (content.size() <= kSmallRead) {
        const bool follows = offset >= next_small_ && offset - next_small_ <= kNear;
        next_small_ = offset + content.size();
        if (serve_from_window(offset, content))
            return {};
        const bool is_bad_ahead = offset < bad_window_end_ && bad_window_end_ - offset <= kBounce;
        if (follows && !is_bad_ahead) {
            const Bytes start = offset / alignment_ * alignment_;
            window_length_ = 0;
            const Result<std::size_t> count = pread_all(start, {bounce_.get(), kBounce});
            if (!count && count.error().kind() == ErrorKind::Gone)
                return fail(count.error());
            // What cannot be read may lie behind what is asked for, which is then read by itself.
            if (!count)
                bad_window_end_ = start + kBounce;
            window_offset_ = start;
            window_length_ = count ? *count : 0;
            if (serve_from_window(offset, content))
                return {};
        }
    }
    if (offset % alignment_ == 0 && content.size() % alignment_ == 0 &&
        is_address_aligned(content.data()))
        return read_plainly(offset, content);
    return read_bounced(offset, content);
}

Result<void> DeviceFile::pwrite_all(Bytes offset, std::span<const std::byte> content) {
    while (!content.empty()) {
        const ssize_t count =
            pwrite(fd_.get(), content.data(), content.size(), static_cast<off_t>(offset));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno == EBADF)
            return fail(ErrorKind::Denied, "the device is open for reading only");
        if (count < 0)
            return fail_errno(errno, "cannot write to the device at offset {}", offset);
        offset += static_cast<Bytes>(count);
        content = content.subspan(static_cast<std::size_t>(count));
    }
    return {};
}

Result<void> DeviceFile::write(Bytes offset, std::span<std::byte> content) {
    DRAY_TRY(check_range(offset, content.size()));
    window_length_ = 0;
    if (offset % alignment_ == 0 && content.size() % alignment_ == 0 &&
        (!is_direct() || is_address_aligned(content.data())))
        return pwrite_all(offset, content);
    while (!content.empty()) {
        const Bytes start = offset / alignment_ * alignment_;
        const std::size_t skip = offset - start;
        const std::size_t length =
            std::min(kBounce, (skip + content.size() + alignment_ - 1) / alignment_ * alignment_);
        const std::span<std::byte> around(bounce_.get(), length);
        const std::size_t part = std::min(length - skip, content.size());
        if (part < length) {
            DRAY_LET(const std::size_t count, pread_all(start, around));
            // Past the end of an image whose size is no multiple of a block there is nothing to keep.
            std::fill(around.begin() + static_cast<std::ptrdiff_t>(count), around.end(), std::byte{0});
        }
        std::memcpy(bounce_.get() + skip, content.data(), part);
        DRAY_TRY(pwrite_all(start, around));
        content = content.subspan(part);
        offset += part;
    }
    return {};
}

Result<void> DeviceFile::sync() {
    if (fdatasync(fd_.get()) != 0)
        return fail_errno(errno, "cannot flush the device");
    return {};
}

}  // namespace dray::volume
