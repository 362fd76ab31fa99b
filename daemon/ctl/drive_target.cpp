// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/drive_target.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/base/file.hpp"
#include "daemon/ctl/temporary_file.hpp"
#include "daemon/format/xml_text.hpp"

namespace dray::ctl {
namespace {

/// The end counts too: that is where the second partition table and some RAID headers are.
constexpr Bytes kLook = kMiB;
/// LUKS2 keeps its second header in the first 4 MiB at the furthest.
constexpr Bytes kHeaders = 8 * kMiB;

bool is_zero(std::span<const std::byte> bytes) {
    return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

/// What a disk holds, by the few signatures that people meet; "" when it is all zeros.
std::string words_for(std::span<const std::byte> start, std::span<const std::byte> end) {
    struct Signature {
        std::size_t offset;
        std::string_view bytes;
        const char* words;
    };
    using namespace std::string_view_literals;
    static constexpr Signature kSignatures[] = {
        {0, "LUKS\xba\xbe"sv, "a LUKS volume"},       {3, "-FVE-FS-"sv, "a BitLocker volume"},
        {3, "NTFS    "sv, "an NTFS file system"},     {3, "EXFAT   "sv, "an exFAT file system"},
        {0, "XFSB"sv, "an XFS file system"},          {1080, "\x53\xef"sv, "an ext file system"},
        {65600, "_BHRfS_M"sv, "a btrfs file system"}, {536, "LVM2 001"sv, "an LVM volume"},
        {512, "EFI PART"sv, "a partition table"},     {510, "\x55\xaa"sv, "a partition table"},
    };
    const std::string_view text(reinterpret_cast<const char*>(start.data()), start.size());
    for (const Signature& signature : kSignatures)
        if (text.size() >= signature.offset + signature.bytes.size() &&
            text.substr(signature.offset, signature.bytes.size()) == signature.bytes)
            return signature.words;
    return is_zero(start) && is_zero(end) ? "" : "data";
}

Result<std::string> content_of(int fd, Bytes size, const std::string& path) {
    std::vector<std::byte> start(static_cast<std::size_t>(std::min(size, kLook)));
    std::vector<std::byte> end(start.size());
    DRAY_TRY(read_fully(fd, 0, start, path));
    DRAY_TRY(read_fully(fd, size - end.size(), end, path));
    return words_for(start, end);
}

/// "Samsung SSD 860", from sysfs; "" where the kernel knows none.
std::string model_of(const struct stat& status) {
    const Result<std::string> model =
        read_file(fmt::format("/sys/dev/block/{}:{}/device/model", major(status.st_rdev),
                              minor(status.st_rdev)),
                  4 * kKiB);
    return model ? format::shown(format::trim(*model)) : std::string();
}

}  // namespace

Result<DriveTarget> DriveTarget::look_at(const std::string& path) {
    DriveTarget target;
    target.path_ = path;
    struct stat status {};
    if (lstat(path.c_str(), &status) != 0) {
        if (errno != ENOENT || path.ends_with('/') || path.empty())
            return fail_errno(errno, "cannot write to \"{}\"", path);
        return target;
    }
    if (S_ISLNK(status.st_mode)) {
        const std::unique_ptr<char, decltype(&std::free)> real(realpath(path.c_str(), nullptr),
                                                               std::free);
        return fail(ErrorKind::InvalidArgument,
                    "{} is a symbolic link; name the file or device itself{}{}", path,
                    real ? ": " : "", real ? real.get() : "");
    }
    if (S_ISBLK(status.st_mode)) {
        target.is_device_ = true;
        target.model_ = model_of(status);
        DRAY_TRY(target.look_at_device());
        return target;
    }
    if (!S_ISREG(status.st_mode))
        return fail(ErrorKind::InvalidArgument, "{} is neither a regular file nor a block device",
                    path);
    DRAY_TRY(target.look_at_file(static_cast<Bytes>(status.st_size)));
    return target;
}

Result<void> DriveTarget::look_at_device() {
    // O_EXCL: nothing may have mounted or claimed it, and nothing can until we are done.
    fd_ = FileDescriptor(
        open(path_.c_str(), O_RDWR | O_EXCL | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!fd_ && errno == EBUSY)
        return fail(ErrorKind::Busy, "{} is in use: something has mounted or claimed it", path_);
    if (!fd_)
        return fail_errno(errno, "cannot open {}", path_);
    struct stat status {};
    if (fstat(fd_.get(), &status) != 0 || !S_ISBLK(status.st_mode))
        return fail(ErrorKind::Gone, "{} is not a block device any more", path_);
    const int flags = fcntl(fd_.get(), F_GETFL);
    if (flags < 0 || fcntl(fd_.get(), F_SETFL, flags & ~O_NONBLOCK) != 0)
        return fail_errno(errno, "cannot set up {}", path_);
    // While the node is locked, udev leaves it alone; a daemon that looks at the disk asks for this
    // too.
    if (flock(fd_.get(), LOCK_EX | LOCK_NB) != 0)
        return fail(ErrorKind::Busy, "{} is in use: another program has locked it", path_);
    if (ioctl(fd_.get(), BLKGETSIZE64, &device_size_) != 0)
        return fail_errno(errno, "cannot read the size of {}", path_);
    if (device_size_ == 0)
        return fail(ErrorKind::InvalidArgument, "{} has no medium in it", path_);
    DRAY_LET(holds_, content_of(fd_.get(), device_size_, path_));
    return {};
}

Result<void> DriveTarget::look_at_file(Bytes size) {
    is_replacing_ = true;
    if (size == 0)
        return {};
    holds_ = "data";
    const FileDescriptor file(open(path_.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!file)
        return {};  // it can be replaced without being readable
    const Result<std::string> words = content_of(file.get(), size, path_);
    if (words && !words->empty())
        holds_ = *words;
    return {};
}

DriveTarget::DriveTarget(DriveTarget&& other) noexcept
    : path_(std::move(other.path_)),
      model_(std::move(other.model_)),
      is_device_(other.is_device_),
      is_replacing_(other.is_replacing_),
      is_begun_(std::exchange(other.is_begun_, false)),
      is_published_(other.is_published_),
      device_size_(other.device_size_),
      holds_(std::move(other.holds_)),
      fd_(std::move(other.fd_)) {}

DriveTarget::~DriveTarget() {
    if (!is_begun_ || is_published_)
        return;
    if (!is_device_) {
        (void)unlink(part_path().c_str());
        return;
    }
    // dray-drive has the same open file and writes past the page cache, which asks for aligned
    // memory.
    if (const int flags = fcntl(fd_.get(), F_GETFL); flags >= 0)
        (void)fcntl(fd_.get(), F_SETFL, flags & ~O_DIRECT);
    const std::vector<std::byte> zeros(static_cast<std::size_t>(std::min(kHeaders, device_size_)));
    // The disk may be what failed; without its last step the drive has no manifest and is refused
    // anyway.
    if (write_fully(fd_.get(), 0, zeros, path_).has_value())
        (void)fsync(fd_.get());
}

std::string DriveTarget::describe() const {
    if (!is_device_)
        return path_;
    return fmt::format("{} ({}{}{})", path_, format_bytes(device_size_), model_.empty() ? "" : ", ",
                       model_);
}

std::string DriveTarget::directory() const {
    const std::size_t slash = path_.rfind('/');
    return slash == std::string::npos ? "." : path_.substr(0, slash + 1);
}

Result<void> DriveTarget::begin(Bytes size, Bytes content) {
    if (is_device_)
        return {};
    struct statvfs room {};
    if (statvfs(directory().c_str(), &room) != 0)
        return fail_errno(errno, "cannot write to {}", directory());
    const Bytes available = static_cast<Bytes>(room.f_bavail) * room.f_frsize;
    if (available < content)
        return fail(ErrorKind::NoSpace, "{} has {} left, but {} are needed", directory(),
                    format_bytes(available), format_bytes(content));
    DRAY_TRY(make_part());
    if (ftruncate(fd_.get(), static_cast<off_t>(size)) != 0)
        return fail_errno(errno, "cannot make {} {} long", part_path(), format_bytes(size));
    return {};
}

Result<void> DriveTarget::make_part() {
    const std::string part = part_path();
    for (bool is_retry = false;; is_retry = true) {
        fd_ = FileDescriptor(
            open(part.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
        if (!fd_ && (errno != EEXIST || is_retry))
            return fail_errno(errno, "cannot make {}", part);
        if (fd_) {
            is_begun_ = true;
            // Nobody else knows the file yet.
            if (flock(fd_.get(), LOCK_EX | LOCK_NB) != 0)
                return fail_errno(errno, "cannot lock {}", part);
            return {};
        }
        // Left behind by one that was killed, if nobody holds its lock.
        const FileDescriptor old(
            open(part.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
        struct stat status {};
        if (!old || fstat(old.get(), &status) != 0 || !S_ISREG(status.st_mode))
            return fail(ErrorKind::Exists, "{} is in the way; remove it first", part);
        if (flock(old.get(), LOCK_EX | LOCK_NB) != 0)
            return fail(ErrorKind::Busy, "another drayctl is writing to {}", part);
        if (unlink(part.c_str()) != 0)
            return fail_errno(errno, "cannot remove {}", part);
    }
}

Result<void> DriveTarget::rename_part() const {
    const std::string part = part_path();
    if (is_replacing_) {
        if (rename(part.c_str(), path_.c_str()) != 0)
            return fail_errno(errno, "cannot rename {} to {}", part, path_);
        return {};
    }
    if (renameat2(AT_FDCWD, part.c_str(), AT_FDCWD, path_.c_str(), RENAME_NOREPLACE) == 0)
        return {};
    // File systems without this flag have hard links, or nothing better than to look first.
    if (errno == EINVAL || errno == ENOSYS) {
        if (access(path_.c_str(), F_OK) != 0 && rename(part.c_str(), path_.c_str()) == 0)
            return {};
        errno = EEXIST;
    }
    return fail_errno(errno, "cannot rename {} to {}", part, path_);
}

Result<void> DriveTarget::publish() {
    if (fsync(fd_.get()) != 0)
        return fail_errno(errno, "cannot flush {}", path_);
    if (!is_device_) {
        DRAY_TRY(rename_part());
        is_published_ = true;
        DRAY_LET(const FileDescriptor parent, open_file(directory(), O_RDONLY | O_DIRECTORY));
        if (fsync(parent.get()) != 0)
            return fail_errno(errno, "cannot flush {}", directory());
    }
    is_published_ = true;
    return {};
}

Result<FileDescriptor> DriveTarget::make_spool() const {
    // Beside a device there is /dev, which is memory; beside an image there will be room.
    const std::string place = is_device_ ? "/var/tmp" : directory();
    return make_temporary_file(place);
}

}  // namespace dray::ctl
