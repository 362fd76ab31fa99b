// SPDX-License-Identifier: Apache-2.0
#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/confine/capabilities.hpp"
#include "daemon/confine/confine.hpp"

namespace dray::confine {
namespace {

Result<void> become(User user) {
    if (setgroups(0, nullptr) != 0)
        return fail_errno(errno, "cannot leave drayd's groups");
    if (setresgid(user.gid, user.gid, user.gid) != 0)
        return fail_errno(errno, "cannot become gid {}", user.gid);
    if (setresuid(user.uid, user.uid, user.uid) != 0)
        return fail_errno(errno, "cannot become uid {}", user.uid);
    return {};
}

}  // namespace

Result<void> drop_privileges(const std::optional<User>& user) {
    // Before the uid, with which the right to do so may go.
    clear_bounding_capabilities();
    if (user)
        DRAY_TRY(become(*user));
    DRAY_TRY(write_ambient_capabilities(0));
    DRAY_TRY(write_capabilities({}));
    const rlimit none{0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0)
        return fail_errno(errno, "cannot switch core dumps off");
    // After the uid: changing that makes a process dumpable again.
    if (prctl(PR_SET_DUMPABLE, 0) != 0)
        return fail_errno(errno, "cannot make the process undumpable");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return fail_errno(errno, "cannot renounce new privileges");
    return {};
}

}  // namespace dray::confine
