// SPDX-License-Identifier: Apache-2.0
#include "daemon/confine/landlock.hpp"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/confine/confine.hpp"

namespace dray::confine {
namespace {

// Numbers of the kernel's interface that this system's header may be too old to name.
constexpr std::uint64_t kWriteFile = 1U << 1;
constexpr std::uint64_t kReadFile = 1U << 2;
constexpr std::uint64_t kReadDirectory = 1U << 3;
constexpr std::uint64_t kRemoveDirectory = 1U << 4;
constexpr std::uint64_t kRemoveFile = 1U << 5;
constexpr std::uint64_t kMakeDirectory = 1U << 7;
constexpr std::uint64_t kMakeRegular = 1U << 8;
constexpr std::uint64_t kRefer = 1U << 13;
constexpr std::uint64_t kTruncate = 1U << 14;

constexpr std::uint64_t kBindTcp = 1U << 0;
constexpr std::uint64_t kConnectTcp = 1U << 1;
constexpr int kPortRule = 2;

struct PortAttributes {
    std::uint64_t access;
    std::uint64_t port;
};

constexpr std::uint64_t kReadAccess = kReadFile | kReadDirectory;
constexpr std::uint64_t kWriteAccess = kReadAccess | kWriteFile | kRemoveDirectory | kRemoveFile |
                                       kMakeDirectory | kMakeRegular | kRefer | kTruncate;

struct Attributes {
    std::uint64_t file_system;
    std::uint64_t network;
    std::uint64_t scopes;
};

/// What each version of the interface can refuse.
Attributes everything(long version) {
    Attributes all{(1U << 13) - 1, 0, 0};
    if (version >= 2)
        all.file_system |= kRefer;
    if (version >= 3)
        all.file_system |= kTruncate;
    if (version >= 4)
        all.network = kBindTcp | kConnectTcp;
    if (version >= 5)
        all.file_system |= 1U << 15;  // ioctl on devices opened from now on
    if (version >= 6)
        all.scopes = 3;  // abstract sockets of, and signals to, processes outside
    return all;
}

struct Ruleset {
    FileDescriptor ruleset;
    Attributes handled{};
    /// Why there is none, or empty.
    std::string problem;
};

Ruleset make_ruleset() {
    const long version =
        syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1)
        return {{}, {}, "this kernel has no Landlock; files are kept from the process by its user alone"};
    const Attributes attributes = everything(version);
    // Older kernels know a shorter structure.
    const std::size_t size = version >= 6 ? 24 : version >= 4 ? 16 : 8;
    FileDescriptor ruleset(
        static_cast<int>(syscall(SYS_landlock_create_ruleset, &attributes, size, 0)));
    if (!ruleset)
        return {{}, {}, "Landlock refuses its rules (" + errno_text(errno) +
                           "); files are kept from the process by its user alone"};
    return {std::move(ruleset), attributes, ""};
}

std::uint64_t access_of(LandlockAccess access) {
    switch (access) {
        case LandlockAccess::ReadFiles: return kReadFile;
        case LandlockAccess::Read: return kReadAccess;
        case LandlockAccess::ReadWrite: return kWriteAccess;
    }
    return 0;
}

Result<void> add_rule(int ruleset, const LandlockRule& rule, std::uint64_t handled) {
    const FileDescriptor directory(
        open(rule.directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!directory)
        return fail_errno(errno, "cannot open {}", rule.directory);
    landlock_path_beneath_attr attributes{};
    attributes.allowed_access =
        handled & access_of(rule.access);
    attributes.parent_fd = directory.get();
    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &attributes, 0) != 0)
        return fail_errno(errno, "cannot allow {} in the box", rule.directory);
    return {};
}

Result<void> add_port(int ruleset, std::uint16_t port) {
    const PortAttributes attributes{kConnectTcp, port};
    if (syscall(SYS_landlock_add_rule, ruleset, kPortRule, &attributes, 0) != 0)
        return fail_errno(errno, "cannot allow port {} in the box", port);
    return {};
}

}  // namespace

Result<std::string> restrict_file_system(const std::vector<LandlockRule>& rules,
                                         const std::vector<std::uint16_t>& ports) {
    const Ruleset made = make_ruleset();
    if (!made.problem.empty())
        return made.problem;
    for (const LandlockRule& rule : rules)
        DRAY_TRY(add_rule(made.ruleset.get(), rule, made.handled.file_system));
    if (made.handled.network != 0)
        for (const std::uint16_t port : ports)
            DRAY_TRY(add_port(made.ruleset.get(), port));
    if (syscall(SYS_landlock_restrict_self, made.ruleset.get(), 0) != 0)
        return "Landlock cannot be switched on (" + errno_text(errno) +
               "); files are kept from the process by its user alone";
    return "";
}

std::string file_system_problem() { return make_ruleset().problem; }

std::string port_problem() {
    const Ruleset made = make_ruleset();
    if (!made.problem.empty() || made.handled.network != 0)
        return {};  // with no Landlock at all that is said already
    return "this kernel's Landlock knows no ports; dray-transfer could connect to others than its store's";
}

std::string shut_file_system() {
    Result<std::string> warning = restrict_file_system({});
    return warning ? *warning : warning.error().text();
}

}  // namespace dray::confine
