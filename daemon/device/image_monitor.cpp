// SPDX-License-Identifier: Apache-2.0
#include "daemon/device/image_monitor.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <set>
#include <utility>
#include <vector>

#include "daemon/base/log.hpp"

namespace dray {
namespace {

constexpr std::uint32_t kFolderEvents = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE |
                                        IN_CREATE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

using Folder = Handle<DIR, closedir>;

bool is_candidate(std::string_view name) {
    return !name.empty() && name.front() != '.' && !name.ends_with(".part");
}

/// The name goes to the bus and into logs.
bool is_printable(std::string_view name) {
    return std::ranges::all_of(name, [](char c) { return c >= ' ' && c <= '~'; });
}

/// Whether somebody has the file open for writing. The kernel refuses a read lease then. Only the
/// owner may ask; for anybody else the answer is no, and the events of the directory have to do.
bool is_being_written(int folder, const std::string& name) {
    const FileDescriptor fd(
        openat(folder, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    // A writer that comes while we hold the lease makes the kernel signal us. SIGURG is ignored by
    // default, the usual SIGIO would end the process.
    if (!fd || fcntl(fd.get(), F_SETSIG, SIGURG) < 0)
        return false;
    if (fcntl(fd.get(), F_SETLEASE, F_RDLCK) < 0)
        return errno == EAGAIN;
    (void)fcntl(fd.get(), F_SETLEASE, F_UNLCK);  // closing the descriptor would do as well
    return false;
}

/// Whether a copy has it: open_device() locks images.
bool is_locked(int folder, const std::string& name) {
    const FileDescriptor fd(
        openat(folder, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    return fd && flock(fd.get(), LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

}  // namespace

std::string serial_of_file_name(std::string_view name) {
    const std::size_t dot = name.rfind('.');
    std::string serial(name.substr(0, dot == 0 ? name.size() : dot));
    std::erase(serial, ' ');
    return serial;
}

bool ImageMonitor::Identity::operator==(const Identity& other) const {
    return inode == other.inode && size == other.size && changed.tv_sec == other.changed.tv_sec &&
           changed.tv_nsec == other.changed.tv_nsec;
}

ImageMonitor::ImageMonitor(EventLoop& loop, std::string directory)
    : loop_(loop), directory_(std::move(directory)) {
    while (directory_.size() > 1 && directory_.ends_with('/'))
        directory_.pop_back();
}

Result<void> ImageMonitor::start(Callbacks callbacks) {
    callbacks_ = std::move(callbacks);
    DRAY_TRY(check_directory());
    inotify_ = FileDescriptor(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (!inotify_)
        return fail_errno(errno, "cannot watch the images directory {}", directory_);
    folder_watch_ = inotify_add_watch(inotify_.get(), directory_.c_str(), kFolderEvents);
    if (folder_watch_ < 0)
        return fail_errno(errno, "cannot watch the images directory {}", directory_);
    source_ = loop_.watch(inotify_.get(), EPOLLIN, [this](std::uint32_t) { read_events(); });
    if (!source_)
        return fail(ErrorKind::Internal, "cannot watch the images directory {}", directory_);
    return look_at_all();
}

Result<void> ImageMonitor::check_directory() {
    folder_ = FileDescriptor(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder_)
        return fail_errno(errno, "cannot open the images directory {}", directory_);
    struct stat status {};
    if (fstat(folder_.get(), &status) < 0)
        return fail_errno(errno, "cannot look at the images directory {}", directory_);
    if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return fail(ErrorKind::Denied,
                    "the images directory {} has mode {:04o}, so that others could plug drives in; "
                    "take that away with: chmod go-w {}",
                    directory_, status.st_mode & 07777U, directory_);
    return {};
}

void ImageMonitor::read_events() {
    alignas(inotify_event) std::array<char, 16384> buffer;
    // One portion at a time: what is left wakes the loop again, and others get their turn.
    const ssize_t length = read(inotify_.get(), buffer.data(), buffer.size());
    if (length < 0) {
        if (errno != EAGAIN && errno != EINTR)
            log::error("cannot read the events of {}: {}", directory_, errno_text(errno));
        return;
    }
    const char* position = buffer.data();
    const char* end = position + length;
    while (position < end) {
        inotify_event event{};
        std::memcpy(&event, position, sizeof event);
        // The name is padded with zeros; the constructor stops at the first.
        const std::string name = event.len == 0 ? "" : std::string(position + sizeof event);
        position += sizeof event + event.len;
        take_event(event.wd, event.mask, name);
    }
}

void ImageMonitor::take_event(int watch, std::uint32_t mask, const std::string& name) {
    if ((mask & IN_Q_OVERFLOW) != 0) {
        if (const Result<void> looked = look_at_all(); !looked)
            log::error("{}", looked.error().text());
        return;
    }
    if (watch != folder_watch_) {
        if ((mask & IN_MODIFY) != 0)
            forget_written(watch);
        return;
    }
    if ((mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)) != 0) {
        if (source_)
            log::error(
                "the images directory {} is gone: no image is seen any more until drayd is "
                "started again",
                directory_);
        forget_all();
        source_.reset();
        return;
    }
    if ((mask & (IN_DELETE | IN_MOVED_FROM)) != 0)
        forget(name);
    if ((mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) != 0)
        look_at(name);
    if ((mask & IN_CREATE) != 0) {
        // A new file is empty and waits for its writer; a file with a second name was linked in
        // whole.
        struct stat status {};
        if (fstatat(folder_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(status.st_mode) && status.st_nlink > 1)
            look_at(name);
    }
}

Result<void> ImageMonitor::look_at_all() {
    const int copy = openat(folder_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const Folder listing(copy < 0 ? nullptr : fdopendir(copy));
    if (!listing) {
        const int error_number = errno;
        (void)FileDescriptor(copy);  // fdopendir takes it over only when it succeeds
        return fail_errno(error_number, "cannot list the images directory {}", directory_);
    }
    std::set<std::string> names;  // sorted, so that counters follow the names at a start
    while (const dirent* entry = readdir(listing.get()))
        names.insert(entry->d_name);
    for (const auto& [name, image] : images_)
        names.insert(name);
    for (const std::string& name : names)
        look_at(name);
    return {};
}

void ImageMonitor::look_at(const std::string& name) {
    if (!is_candidate(name))
        return;
    const std::string path = directory_ + (directory_ == "/" ? "" : "/") + name;
    struct stat status {};
    if (fstatat(folder_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISREG(status.st_mode)) {
        forget(name);
        return;
    }
    if (!is_printable(name)) {
        log::warning(
            "an image in {} is passed over: its name has characters beyond printable ASCII",
            directory_);
        return;
    }
    const auto filled = images_.find(name);
    const bool is_same_file = filled != images_.end() && filled->second.is_being_filled &&
                              filled->second.identity.inode == status.st_ino && filled->second.identity.size == status.st_size;
    if (is_same_file && is_locked(folder_.get(), name))
        return;
    // The watch comes before the last look at the file, so that no write falls between the two.
    const int watch =
        inotify_add_watch(inotify_.get(), path.c_str(), IN_MODIFY | IN_ONESHOT | IN_DONT_FOLLOW);
    if (watch < 0)
        log::debug("writes into {} go unseen until it is closed: {}", path, errno_text(errno));
    if (is_being_written(folder_.get(), name) ||
        fstatat(folder_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISREG(status.st_mode)) {
        forget(name);
        return;
    }
    const Identity identity{
        .inode = status.st_ino, .size = status.st_size, .changed = status.st_mtim};
    const auto known = images_.find(name);
    if (known != images_.end() && (known->second.identity == identity || is_same_file)) {
        known->second.identity = identity;
        known->second.watch = watch;
        known->second.is_being_filled = false;
        return;
    }
    forget(name);
    Device device;
    device.id = fmt::format("{}_{}", name, ++counter_);
    device.serial = serial_of_file_name(name);
    device.node = path;
    device.bus = "image";
    device.size = static_cast<Bytes>(status.st_size);
    device.is_image = true;
    images_[name] = Image{.device = device, .identity = identity, .watch = watch};
    callbacks_.present(device);
}

void ImageMonitor::forget(const std::string& name) {
    const auto known = images_.find(name);
    if (known == images_.end())
        return;
    const std::string id = known->second.device.id;
    const int watch = known->second.watch;
    images_.erase(known);
    // Two names of one file share a watch.
    if (watch >= 0 &&
        std::ranges::none_of(images_, [&](const auto& each) { return each.second.watch == watch; }))
        (void)inotify_rm_watch(inotify_.get(), watch);  // usually gone with the file already
    callbacks_.removed(id);
}

void ImageMonitor::forget_written(int watch) {
    std::vector<std::string> names;
    for (const auto& [name, image] : images_)
        if (image.watch == watch)
            names.push_back(name);
    for (const std::string& name : names) {
        Image& image = images_.at(name);
        image.watch = -1;  // it tells one write
        image.is_being_filled = is_locked(folder_.get(), name);
        if (!image.is_being_filled)
            forget(name);
    }
}

void ImageMonitor::forget_all() {
    while (!images_.empty())
        forget(std::string(images_.begin()->first));
}

}  // namespace dray
