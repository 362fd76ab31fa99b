// SPDX-License-Identifier: Apache-2.0
#include "daemon/privileges.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <vector>

#include "daemon/base/file.hpp"
#include "daemon/base/handle.hpp"
#include "daemon/base/log.hpp"

namespace dray {
namespace {

constexpr const char* kUser = "dray";
// Below the ranges that systemd takes for its own purposes from 60001 and 61184 on, should one be free.
constexpr uid_t kFirstUnusedUid = 60000;
constexpr uid_t kLastUnusedUid = 65000;
/// The state directory is dray's own: catalog, keys, journals, a folder per transfer.
constexpr int kMaxDepth = 4;

using Directory = Handle<DIR, closedir>;

struct Identity {
    uid_t uid;
    gid_t gid;
};

Result<Identity> choose_identity() {
    if (const passwd* user = getpwnam(kUser); user != nullptr && user->pw_uid != 0)
        return Identity{user->pw_uid, user->pw_gid};
    for (uid_t uid = kFirstUnusedUid; uid <= kLastUnusedUid; ++uid) {
        if (getpwuid(uid) == nullptr && getgrgid(uid) == nullptr) {
            log::warning("there is no user {}: running as the unused uid {}", kUser, uid);
            return Identity{uid, uid};
        }
    }
    return fail(ErrorKind::NotFound, "there is no user {} to run as, and no unused uid from {} to {}", kUser,
                kFirstUnusedUid, kLastUnusedUid);
}

/// Files with a second name are passed over: it may be one outside the directory, put there to have root
/// give it away.
Result<void> give_entries(const FileDescriptor& folder, Identity to, const std::string& path, int depth) {
    DRAY_LET(FileDescriptor copy, folder.duplicate());
    const Directory entries(fdopendir(copy.get()));
    if (!entries)
        return fail_errno(errno, "cannot read {}", path);
    (void)copy.release();  // closedir closes it
    while (const dirent* entry = readdir(entries.get())) {
        const std::string_view name = entry->d_name;
        if (name == "." || name == "..")
            continue;
        const FileDescriptor file(openat(folder.get(), entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
        struct stat status {};
        if (!file || fstat(file.get(), &status) != 0)
            continue;
        const bool is_folder = S_ISDIR(status.st_mode);
        if (!is_folder && (!S_ISREG(status.st_mode) || status.st_nlink != 1))
            continue;
        if (is_folder && depth < kMaxDepth)
            DRAY_TRY(give_entries(file, to, path + "/" + entry->d_name, depth + 1));
        if (fchown(file.get(), to.uid, to.gid) != 0)
            return fail_errno(errno, "cannot give {}/{} to uid {}", path, name, to.uid);
    }
    return {};
}

/// Whether root may give it away as a whole: dray's own from an earlier start, or nothing in it but the
/// folder for images. A name like /etc in the configuration is a mistake.
bool is_ours_or_empty(const std::string& path) {
    if (std::filesystem::exists(path + "/catalog.sqlite"))
        return true;
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
        if (entry.path().filename() != "drives" && entry.path().filename() != "lock")
            return false;
    }
    return true;
}

Result<void> give_directory(const std::string& path, Identity to) {
    std::error_code error;
    const bool is_new = std::filesystem::create_directories(path, error);
    if (error)
        return fail_errno(error.value(), "cannot make the state directory {}", path);
    DRAY_LET(const FileDescriptor folder, open_file(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    struct stat status {};
    if (fstat(folder.get(), &status) != 0)
        return fail_errno(errno, "cannot look at {}", path);
    if (status.st_uid == to.uid)
        return {};
    // A folder that somebody else uses may have been named by mistake, so it is not taken away from them.
    if (status.st_uid != 0 && getpwuid(status.st_uid) != nullptr)
        return fail(ErrorKind::Denied, "the state directory {} belongs to uid {}; it must be root's or uid {}'s",
                    path, status.st_uid, to.uid);
    if (!is_ours_or_empty(path))
        return fail(ErrorKind::Denied,
                    "the state directory {} is root's and holds other things; name an empty one, or give it to "
                    "uid {}", path, to.uid);
    DRAY_TRY(give_entries(folder, to, path, 0));
    if (fchown(folder.get(), to.uid, to.gid) != 0)
        return fail_errno(errno, "cannot give {} to uid {}", path, to.uid);
    if (is_new && fchmod(folder.get(), 0700) != 0)
        return fail_errno(errno, "cannot set the mode of {}", path);
    return {};
}

Result<void> become(Identity identity) {
    std::vector<gid_t> groups;
    if (const group* disk = getgrnam("disk"); disk != nullptr)
        groups.push_back(disk->gr_gid);
    if (setgroups(groups.size(), groups.data()) != 0)
        return fail_errno(errno, "cannot set the groups");
    if (setresgid(identity.gid, identity.gid, identity.gid) != 0)
        return fail_errno(errno, "cannot become gid {}", identity.gid);
    // All three uids leave 0, and with them the kernel clears every capability set.
    if (setresuid(identity.uid, identity.uid, identity.uid) != 0)
        return fail_errno(errno, "cannot become uid {}", identity.uid);
    return {};
}

}  // namespace

Result<void> leave_root(const std::string& state_directory) {
    if (geteuid() != 0)
        return {};
    DRAY_LET(const Identity identity, choose_identity());
    DRAY_TRY(give_directory(state_directory, identity));
    return become(identity);
}

Result<void> harden_process() {
    umask(077);
    const rlimit none{0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0)
        return fail_errno(errno, "cannot switch core dumps off");
    if (prctl(PR_SET_DUMPABLE, 0) != 0)
        return fail_errno(errno, "cannot switch tracing off");
    rlimit files{};
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return fail_errno(errno, "cannot read the limit of open files");
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0)
        return fail_errno(errno, "cannot raise the limit of open files");
    return {};
}

}  // namespace dray
