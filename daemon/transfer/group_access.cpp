// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/group_access.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/handle.hpp"

namespace dray::transfer {
namespace {

using OpenDirectory = Handle<DIR, closedir>;

bool may_group_write(const struct stat& status) {
    return status.st_gid == getegid() && (status.st_mode & S_IWGRP) != 0;
}

Result<void> open_entry(int file, const struct stat& status, const std::string& path) {
    const mode_t mode = (status.st_mode & 07777) | (status.st_mode & S_IRWXU) >> 3;
    if (status.st_gid != getegid() && fchown(file, static_cast<uid_t>(-1), getegid()) != 0)
        return fail_errno(errno, "cannot give {} to the group {}", path, getegid());
    if (mode != (status.st_mode & 07777) && fchmod(file, mode) != 0)
        return fail_errno(errno, "cannot open {} to its group", path);
    return {};
}

Result<void> open_below(int directory, const std::string& path) {
    const int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const OpenDirectory entries(copy < 0 ? nullptr : fdopendir(copy));
    if (!entries)
        return fail_errno(errno, "cannot read {}", path);
    while (const dirent* entry = readdir(entries.get())) {
        const std::string name = entry->d_name;
        struct stat status {};
        if (name == "." || name == ".." ||
            fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 ||
            !(S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)))
            continue;
        const FileDescriptor file(openat(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
        // Others' files are theirs to open or not; what is removed meanwhile needs nothing.
        if (!file || fstat(file.get(), &status) != 0)
            continue;
        const std::string place = fmt::format("{}/{}", path, name);
        if (S_ISDIR(status.st_mode))
            DRAY_TRY(open_below(file.get(), place));
        if (status.st_uid == geteuid())
            DRAY_TRY(open_entry(file.get(), status, place));
    }
    return {};
}

}  // namespace

Result<void> open_to_group(const std::string& directory, const std::function<void()>& begins) {
    const FileDescriptor root(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct stat status {};
    // A directory that is not there or not ours is for whoever uses it to complain about.
    if (!root || fstat(root.get(), &status) != 0 || status.st_uid != geteuid() || may_group_write(status))
        return {};
    begins();
    DRAY_TRY(open_below(root.get(), directory));
    return open_entry(root.get(), status, directory);
}

void set_file_mode_mask(bool has_own_uid, std::initializer_list<std::string> directories) {
    const bool is_shared = std::ranges::any_of(directories, [](const std::string& directory) {
        struct stat status {};
        return stat(directory.c_str(), &status) == 0 && may_group_write(status);
    });
    umask(has_own_uid || is_shared ? 007 : 077);
}

}  // namespace dray::transfer
