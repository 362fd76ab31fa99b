// SPDX-License-Identifier: Apache-2.0
#include "daemon/privileges.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "daemon/base/file.hpp"
#include "daemon/base/handle.hpp"
#include "daemon/base/log.hpp"
#include "daemon/confine/capabilities.hpp"
#include "daemon/confine/users.hpp"

namespace dray {
namespace {

using confine::capability_bit;
using confine::find_user;
using confine::kDriveUser;
using confine::User;
using confine::Users;

constexpr const char* kUser = "dray";
constexpr const char* kTransferUser = "dray-transfer";
/// The state directory is dray's own: catalog, keys, journals, a folder per transfer.
constexpr int kMaxDepth = 4;

using Directory = Handle<DIR, closedir>;

/// To end children that run as others, and for them to become those.
constexpr std::uint64_t kKept = capability_bit(CAP_KILL) | capability_bit(CAP_SETUID) | capability_bit(CAP_SETGID);

/// Files with a second name are passed over: it may be one outside the directory, put there to have root
/// give it away.
Result<void> give_entries(const FileDescriptor& folder, User to, const std::string& path, int depth) {
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

Result<void> give_directory(const std::string& path, User to) {
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

Result<void> become(User identity) {
    std::vector<gid_t> groups;
    if (const group* disk = getgrnam("disk"); disk != nullptr)
        groups.push_back(disk->gr_gid);
    if (setgroups(groups.size(), groups.data()) != 0)
        return fail_errno(errno, "cannot set the groups");
    if (setresgid(identity.gid, identity.gid, identity.gid) != 0)
        return fail_errno(errno, "cannot become gid {}", identity.gid);
    // The last of the uids that leaves 0 takes the capabilities along, unless they are asked to stay; which
    // of them do, keep_capabilities() says.
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0)
        return fail_errno(errno, "cannot keep capabilities");
    if (setresuid(identity.uid, identity.uid, identity.uid) != 0)
        return fail_errno(errno, "cannot become uid {}", identity.uid);
    if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) != 0)
        return fail_errno(errno, "cannot stop keeping capabilities");
    return {};
}

/// Only KILL is in use here; the others wait for the children. The bounding set is emptied where that is
/// allowed, so that no program of ours can come to a capability beyond these, root's uid or not.
Result<void> keep_capabilities(std::uint64_t kept) {
    // In this order: what is not in the bounding set any more cannot become inheritable.
    const confine::Capabilities wanted{
        .effective = kept & capability_bit(CAP_KILL), .permitted = kept, .inheritable = kept};
    DRAY_LET(confine::Capabilities now, confine::read_capabilities());
    now.inheritable = kept;
    now.effective |= now.permitted & capability_bit(CAP_SETPCAP);
    DRAY_TRY(confine::write_capabilities(now));
    confine::clear_bounding_capabilities();
    DRAY_TRY(confine::write_capabilities(wanted));
    return confine::write_ambient_capabilities(kept);
}

/// Why the children cannot have uids of their own, or empty.
std::string why_not_apart(const std::optional<User>& transfer, const std::optional<User>& drive) {
    for (const auto& [name, user] : {std::pair{kTransferUser, transfer}, std::pair{kDriveUser, drive}})
        if (!user)
            return fmt::format("there is no user {}", name);
    if (std::set{geteuid(), transfer->uid, drive->uid}.size() != 3)
        return fmt::format("{} and {} must be two users, and neither of them drayd's own", kTransferUser, kDriveUser);
    if (getegid() == 0 || drive->gid == getegid())
        return fmt::format("drayd's group {} is shared with others than {}", getegid(), kTransferUser);
    return "";
}

Result<std::optional<ChildUsers>> split(const std::optional<User>& transfer, const std::optional<User>& drive) {
    DRAY_LET(const confine::Capabilities now, confine::read_capabilities());
    const std::string why = (now.permitted & kKept) != kKept
                                ? "drayd has not the capabilities SETUID, SETGID and KILL"
                                : why_not_apart(transfer, drive);
    DRAY_TRY(keep_capabilities(why.empty() ? kKept : 0));
    if (why.empty())
        return ChildUsers{.transfer = {transfer->uid, getegid()}, .drive = *drive};
    log::warning("dray-drive and dray-transfer run as drayd's own user {}, not as users of their own: {}", geteuid(), why);
    return std::nullopt;
}

/// For a start as root.
Result<std::optional<ChildUsers>> leave_root(const std::string& state_directory) {
    Users users;
    DRAY_LET(const User own, users.find(kUser));
    DRAY_LET(const User transfer, users.find(kTransferUser));
    DRAY_LET(const User drive, users.find(kDriveUser));
    if (!users.missing().empty())
        log::warning("these users are missing: {}", users.missing());
    DRAY_TRY(give_directory(state_directory, own));
    DRAY_TRY(become(own));
    return split(transfer, drive);
}

}  // namespace

Result<std::optional<ChildUsers>> settle_users(const std::string& state_directory) {
    return geteuid() == 0 ? leave_root(state_directory) : split(find_user(kTransferUser), find_user(kDriveUser));
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
