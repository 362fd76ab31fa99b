// SPDX-License-Identifier: Apache-2.0
#include "daemon/confine/users.hpp"

#include <grp.h>
#include <pwd.h>

#include <charconv>
#include <string_view>

namespace dray::confine {
namespace {

constexpr std::string_view kUserArgument = "--user=";

}  // namespace

std::optional<User> find_user(const char* name) {
    const passwd* user = getpwnam(name);
    if (user == nullptr || user->pw_uid == 0 || user->pw_gid == 0)
        return std::nullopt;
    return User{user->pw_uid, user->pw_gid};
}

Result<User> Users::find(const char* name) {
    if (const std::optional<User> user = find_user(name))
        return *user;
    for (; next_ <= kLastUnused; ++next_) {
        if (getpwuid(next_) != nullptr || getgrgid(next_) != nullptr)
            continue;
        missing_ += fmt::format("{}{} (uid {} instead)", missing_.empty() ? "" : ", ", name, next_);
        const uid_t uid = next_++;
        return User{uid, uid};
    }
    return fail(ErrorKind::NotFound, "there is no user {} to run as, and no unused uid from {} to {}", name, kFirstUnused,
                kLastUnused);
}

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

}  // namespace dray::confine
