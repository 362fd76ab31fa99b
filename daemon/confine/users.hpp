// SPDX-License-Identifier: Apache-2.0
//
// As whom programs that look at customers' content run (rules.md 12).
#pragma once

#include <sys/types.h>

#include <optional>
#include <span>
#include <string>

#include "daemon/base/result.hpp"

namespace dray::confine {

struct User {
    uid_t uid;
    gid_t gid;
};

/// Who dray-drive is where it has a user of its own.
inline constexpr const char* kDriveUser = "dray-drive";

/// Nothing where there is no such user, or where it is root by another name.
std::optional<User> find_user(const char* name);

/// Users by name, or instead of those that are missing unused uids, each once.
class Users {
public:
    /// NotFound: neither that user nor an unused uid from 60,000 to 65,000.
    Result<User> find(const char* name);
    /// The names that were missing, each with the uid that was taken instead, for a warning.
    const std::string& missing() const { return missing_; }

private:
    // Below the ranges that systemd takes for its own purposes from 60001 and 61184 on, should one be free.
    static constexpr uid_t kFirstUnused = 60000;
    static constexpr uid_t kLastUnused = 65000;

    uid_t next_ = kFirstUnused;
    std::string missing_;
};

/// How a child is told as whom to run: the one argument it may have.
std::string user_argument(User user);
/// Without an argument nothing: the child stays who it is. InvalidArgument: it is something else.
Result<std::optional<User>> read_user_argument(std::span<char* const> arguments);

}  // namespace dray::confine
