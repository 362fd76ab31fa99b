// SPDX-License-Identifier: Apache-2.0
#include "daemon/credentials/credential_watch.hpp"

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "daemon/base/log.hpp"
#include "daemon/credentials/credential_file.hpp"

namespace dray {
namespace {

/// A new file may be written, given away and renamed in several steps.
constexpr Microseconds kSettle = std::chrono::milliseconds(100);

std::string directory_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == 0 ? "/" : path.substr(0, slash);
}

/// A new file has its content when it is closed; a link has it at once.
bool is_unwritten(const std::string& path) {
    struct stat status {};
    return lstat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && status.st_nlink == 1;
}

std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

CredentialWatch::CredentialWatch(EventLoop& loop, std::function<void(const std::string& reference)> changed)
    : loop_(loop), changed_(std::move(changed)) {}

std::optional<CredentialWatch::Identity> CredentialWatch::identity_of(const std::string& path) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0)
        return std::nullopt;
    return Identity{status.st_dev,          status.st_ino,          status.st_size,        status.st_mtim.tv_sec,
                    status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec};
}

void CredentialWatch::watch(const std::set<std::string>& references) {
    std::erase_if(watched_, [&](const auto& item) { return !references.contains(item.first); });
    std::vector<Watched*> added;
    for (const std::string& reference : references)
        // One in a directory that systemd has not made cannot come into being either.
        if (const Result<std::string> path = credential_path(reference); path && !watched_.contains(reference))
            added.push_back(&(watched_[reference] = {*path, {}}));
    watch_directories();
    // After that, so that no change falls between the two.
    for (Watched* file : added)
        file->known = identity_of(file->path);
}

// A file is watched by its directory, because what is renamed over it is another file.
void CredentialWatch::watch_directories() {
    if (watched_.empty())
        return;
    if (!inotify_) {
        inotify_ = FileDescriptor(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
        if (!inotify_) {
            log::warning("renewed credentials are seen after minutes only: {}", errno_text(errno));
            return;
        }
        readable_ = loop_.watch(inotify_.get(), EPOLLIN, [this](std::uint32_t) { read_events(); });
    }
    std::map<int, std::set<std::string>> directories;
    for (const auto& [reference, file] : watched_) {
        const std::string directory = directory_of(file.path);
        const int watch = inotify_add_watch(inotify_.get(), directory.c_str(),
                                            IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_ATTRIB | IN_MOVE_SELF |
                                                IN_ONLYDIR);
        if (watch >= 0)
            directories[watch].insert(directory);
        else
            log::debug("{} is not watched: {}", directory, errno_text(errno));
    }
    for (const auto& [watch, names] : directories_)
        if (!directories.contains(watch))
            (void)inotify_rm_watch(inotify_.get(), watch);  // it may be gone already
    directories_ = std::move(directories);
}

void CredentialWatch::look() {
    watch_directories();
    std::vector<std::string> changed;
    for (auto& [reference, file] : watched_) {
        std::optional<Identity> now = identity_of(file.path);
        if (now == file.known)
            continue;
        file.known = now;
        if (now)
            changed.push_back(reference);
    }
    for (const std::string& reference : changed)
        changed_(reference);
}

void CredentialWatch::read_events() {
    alignas(inotify_event) std::array<char, 4096> buffer;
    const ssize_t length = read(inotify_.get(), buffer.data(), buffer.size());
    bool is_ours = false;
    for (const char* position = buffer.data(); position < buffer.data() + length;) {
        inotify_event event{};
        std::memcpy(&event, position, sizeof event);
        const std::string name = event.len == 0 ? "" : std::string(position + sizeof event);
        position += sizeof event + event.len;
        is_ours = take_event(event.wd, event.mask, name) || is_ours;
    }
    if (is_ours && !looking_)
        looking_ = loop_.after(kSettle, [this] {
            looking_.reset();
            look();
        });
}

bool CredentialWatch::take_event(int watch, unsigned mask, const std::string& name) {
    if ((mask & (IN_Q_OVERFLOW | IN_IGNORED | IN_MOVE_SELF)) != 0) {
        directories_.erase(watch);
        return true;
    }
    const auto directory = directories_.find(watch);
    if (directory == directories_.end())
        return false;
    if ((mask & IN_CREATE) != 0 && is_unwritten(*directory->second.begin() + "/" + name))
        return false;
    // A name that begins with two dots is how whole sets of secrets are replaced behind links.
    return name.empty() || name.starts_with("..") || std::ranges::any_of(watched_, [&](const auto& item) {
        return name_of(item.second.path) == name && directory->second.contains(directory_of(item.second.path));
    });
}

}  // namespace dray
