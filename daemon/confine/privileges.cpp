// SPDX-License-Identifier: Apache-2.0
#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

#include "daemon/confine/capabilities.hpp"
#include "daemon/confine/confine.hpp"

namespace dray::confine {
namespace {

constexpr std::string_view kUserArgument = "--user=";

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

std::string user_argument(User user) { return fmt::format("{}{}:{}", kUserArgument, user.uid, user.gid); }

Result<std::optional<User>> read_user_argument(std::span<char* const> arguments) {
    if (arguments.size() <= 1)
        return std::nullopt;
    const std::string_view word = arguments[1];
    const auto wrong = [&] { return fail(ErrorKind::InvalidArgument, "\"{}\" is no argument of this program", word); };
    if (arguments.size() > 2 || !word.starts_with(kUserArgument))
        return wrong();
    const char* const end = word.data() + word.size();
    User user{};
    const auto uid = std::from_chars(word.data() + kUserArgument.size(), end, user.uid);
    if (uid.ec != std::errc() || uid.ptr == end || *uid.ptr != ':')
        return wrong();
    const auto gid = std::from_chars(uid.ptr + 1, end, user.gid);
    // -1 means "leave as it is" to the calls that take it.
    if (gid.ec != std::errc() || gid.ptr != end || user.uid == 0 || user.gid == 0 ||
        user.uid == static_cast<uid_t>(-1) || user.gid == static_cast<gid_t>(-1))
        return wrong();
    return user;
}

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
