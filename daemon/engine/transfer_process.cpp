// SPDX-License-Identifier: Apache-2.0
#include "daemon/engine/transfer_process.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "daemon/base/clock.hpp"
#include "daemon/base/file.hpp"
#include "daemon/base/log.hpp"
#include "daemon/drive/protocol.hpp"

namespace dray {
namespace {

constexpr const char* kInstalledPrograms = "/usr/libexec/dray";
/// Above every number that a child gets its descriptors under, so that placing one never closes another.
constexpr int kFirstFree = 32;
/// A transfer has a few things to say each second; a multitude comes only from one that was taken over, and would keep
/// drayd from everybody else. Sentences for the log cost drayd little, and a store in trouble may make many of them.
constexpr MessageAllowance kMessages{250, 25};
constexpr MessageAllowance kNotes{250, 5};
constexpr double kNoteCost = 0.05;
/// So many are looked at before others have their turn.
constexpr int kAtOnce = 32;

/// What children may know of our surroundings: no credential is ever in it.
std::vector<std::string> child_environment() {
    std::vector<std::string> environment{"PATH=/usr/bin:/bin", "LANG=C.UTF-8"};
    for (const char* name : {"TZ", "JOURNAL_STREAM", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"})
        if (const char* value = std::getenv(name); value != nullptr)
            environment.push_back(std::string(name) + "=" + value);
    return environment;
}

struct Placed {
    int fd;
    int number;
};

/// Starts a program with the given descriptors and no others but standard error.
Result<pid_t> spawn(const std::string& program, const std::optional<confine::User>& user,
                    const std::vector<Placed>& descriptors) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    std::vector<FileDescriptor> high;
    Result<pid_t> result = [&]() -> Result<pid_t> {
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
        for (const Placed& placed : descriptors) {
            const int copy = fcntl(placed.fd, F_DUPFD_CLOEXEC, kFirstFree);
            if (copy < 0)
                return fail_errno(errno, "cannot duplicate a descriptor for {}", program);
            high.emplace_back(copy);
            posix_spawn_file_actions_adddup2(&actions, copy, placed.number);
        }
        // What drayd itself was started with may have come without close-on-exec.
        for (int number = STDERR_FILENO + 1; number < kFirstFree; ++number)
            if (std::ranges::find(descriptors, number, &Placed::number) == descriptors.end())
                posix_spawn_file_actions_addclose(&actions, number);
        posix_spawn_file_actions_addclosefrom_np(&actions, kFirstFree);
        // Signals start as by default, and a Ctrl-C at drayd's terminal is drayd's to answer.
        sigset_t none;
        sigset_t all;
        sigemptyset(&none);
        sigfillset(&all);
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &all);
        posix_spawnattr_setpgroup(&attributes, 0);
        posix_spawnattr_setflags(&attributes,
                                 POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
        std::vector<std::string> environment = child_environment();
        std::vector<char*> pointers;
        pointers.reserve(environment.size() + 1);
        for (std::string& entry : environment)
            pointers.push_back(entry.data());
        pointers.push_back(nullptr);
        std::string name = program.substr(program.rfind('/') + 1);
        std::string as_whom = user ? confine::user_argument(*user) : "";
        char* arguments[] = {name.data(), user ? as_whom.data() : nullptr, nullptr};
        pid_t pid = -1;
        if (const int error =
                posix_spawn(&pid, program.c_str(), &actions, &attributes, arguments, pointers.data());
            error != 0)
            return fail_errno(error, "cannot start {}", program);
        return pid;
    }();
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return result;
}

Result<void> let_group_through(const std::string& path) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0)
        return fail_errno(errno, "cannot look at {}", path);
    if (status.st_gid == getegid() && (status.st_mode & S_IXGRP) != 0)
        return {};
    if (status.st_gid != getegid() && chown(path.c_str(), static_cast<uid_t>(-1), getegid()) != 0)
        return fail_errno(errno, "cannot give {} to the group {}", path, getegid());
    if (chmod(path.c_str(), (status.st_mode & 07777) | S_IXGRP) != 0)
        return fail_errno(errno, "cannot let the group {} through {}", getegid(), path);
    return {};
}

}  // namespace

Result<void> make_copy_directory(const std::string& state_directory, const std::string& path,
                                 const std::optional<ChildUsers>& users) {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    if (error)
        return fail_errno(error.value(), "cannot make {}", path);
    if (!users)
        return {};
    for (std::size_t end = state_directory.size(); end < path.size(); end = path.find('/', end + 1))
        DRAY_TRY(let_group_through(path.substr(0, end)));
    return {};
}

std::string find_programs() {
    char path[PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", path, sizeof path);
    if (length > 0) {
        const std::string self(path, static_cast<std::size_t>(length));
        const std::string directory = self.substr(0, self.rfind('/'));
        if (access((directory + "/dray-transfer").c_str(), X_OK) == 0)
            return directory;
    }
    return kInstalledPrograms;
}

TransferProcess::TransferProcess(EventLoop& loop, Callbacks callbacks)
    : loop_(loop), callbacks_(std::move(callbacks)), messages_(kMessages), notes_(kNotes) {}

TransferProcess::~TransferProcess() { TransferProcess::kill(); }

Result<std::unique_ptr<TransferProcess>> TransferProcess::start(EventLoop& loop, Start start,
                                                                Callbacks callbacks) {
    std::unique_ptr<TransferProcess> process(new TransferProcess(loop, std::move(callbacks)));
    DRAY_LET(auto engine_pair, MessageSocket::make_pair());
    process->socket_ = std::move(engine_pair.first);
    process->whose_ = start.task.job.empty() ? fmt::format("store {}", start.task.store.name)
                                             : fmt::format("job {}, drive {}", start.task.job, start.task.serial);
    FileDescriptor drive_end;
    if (start.device) {
        DRAY_LET(auto drive_pair, MessageSocket::make_pair());
        drive_end = drive_pair.first.take();
        DRAY_TRY(process->spawn_drive(start, drive_pair.second.take()));
    }
    DRAY_TRY(process->spawn_transfer(start, engine_pair.second.take(), std::move(drive_end)));
    process->readable_ = loop.watch(process->socket_.fd(), EPOLLIN,
                                    [self = process.get()](std::uint32_t) { self->read_messages(); });
    start.task.has_credential = static_cast<bool>(start.credential);
    start.task.has_encryption_key = static_cast<bool>(start.encryption_key);
    std::vector<int> secrets;
    for (const FileDescriptor* memfd : {&start.credential, &start.encryption_key})
        if (*memfd)
            secrets.push_back(memfd->get());
    process->send_with(start.task, secrets);
    return process;
}

Result<void> TransferProcess::spawn_transfer(const Start& start, FileDescriptor engine_end,
                                             FileDescriptor drive_end) {
    std::vector<Placed> descriptors{{engine_end.get(), transfer::kEngineFd}};
    if (drive_end)
        descriptors.push_back({drive_end.get(), transfer::kDriveFd});
    DRAY_LET(transfer_, spawn(start.programs + "/dray-transfer",
                                  start.users ? std::optional(start.users->transfer) : std::nullopt, descriptors));
    transfer_ended_ = loop_.child(transfer_, [this](int status) { child_ended(transfer_, status); });
    return {};
}

Result<void> TransferProcess::spawn_drive(const Start& start, FileDescriptor end) {
    // Nothing is written, so there is nothing to lock; but the number must not fall to anything else.
    DRAY_LET(const FileDescriptor no_lock, open_file("/dev/null", O_RDWR));
    DRAY_LET(drive_, spawn(start.programs + "/dray-drive",
                           start.users ? std::optional(start.users->drive) : std::nullopt,
                           {{end.get(), drive::kSocketFd},
                            {start.device.get(), drive::kDeviceFd},
                            {start.key.get(), drive::kKeyFd},
                            {no_lock.get(), drive::kLockFd}}));
    drive_ended_ = loop_.child(drive_, [this](int status) { child_ended(drive_, status); });
    return {};
}

void TransferProcess::send(const transfer::ToTransfer& message) { send_with(message, {}); }

void TransferProcess::renew_credential(int memfd) { send_with(transfer::Credential{}, {&memfd, 1}); }

void TransferProcess::send_with(const transfer::ToTransfer& message, std::span<const int> descriptors) {
    // A transfer that does not read its few messages is stuck; its end, not our waiting, settles that.
    if (Result<void> sent = socket_.try_send(transfer::encode(message), descriptors); !sent)
        log::debug("a message to a transfer was dropped: {}", sent.error().text());
}

void TransferProcess::kill() {
    is_killed_ = true;
    for (const pid_t pid : {transfer_, drive_})
        if (pid > 0)
            ::kill(-pid, SIGKILL);
}

bool MessageAllowance::take(double cost, Microseconds now) {
    const double seconds = std::chrono::duration<double>(now - std::exchange(counted, now)).count();
    left = std::min(most, left + seconds * per_second);
    if (left < cost)
        return false;
    left -= cost;
    return true;
}

// False: it floods drayd.
bool TransferProcess::deliver(const transfer::FromTransfer& message) {
    const Microseconds now = SystemClock().since_boot();
    const bool is_note = std::holds_alternative<transfer::Note>(message);
    if (!messages_.take(is_note ? kNoteCost : 1, now))
        return false;
    if (is_note && !notes_.take(1, now)) {
        if (!std::exchange(is_cut_short_, true))
            log::warning("{}: dray-transfer has more to say than anybody reads; for now the rest is left out", whose_);
        return true;
    }
    is_cut_short_ = is_cut_short_ && !is_note;
    callbacks_.message(message);
    return true;
}

// Without limit once the processes have ended: then there is only what was sent before.
void TransferProcess::read_messages() {
    const bool is_over = transfer_ < 0 && drive_ < 0;
    for (int count = 0; is_over || count < kAtOnce; ++count) {
        Result<std::optional<Message>> received = socket_.try_receive();
        if (received && !*received)
            return;
        if (received) {
            const Result<transfer::FromTransfer> message = transfer::decode_from_transfer((*received)->bytes);
            if (message && deliver(*message))
                continue;
            log::error("{}: dray-transfer {}; it is stopped", whose_,
                       message ? "floods drayd with messages" : "sent something that is no message");
            kill();
        }
        // Closed, or not to be trusted any more: what counts from here on are the processes' ends.
        readable_.reset();
        return;
    }
}

// What a process does that was taken over, or that hit a bug, shows in how it ends.
void TransferProcess::say_why(const char* program, int status) const {
    if (status == -SIGSYS)
        log::error("{}: {} made a system call that its box forbids, and was killed for it; such a drive is not to be "
                   "trusted", whose_, program);
    else if (status == -SIGKILL && !is_killed_)
        log::warning("{}: {} was killed by somebody else, or for want of memory", whose_, program);
    else if (status < 0 && !is_killed_)
        log::error("{}: {} crashed (SIG{})", whose_, program, sigabbrev_np(-status));
}

void TransferProcess::child_ended(pid_t& pid, int status) {
    say_why(&pid == &drive_ ? "dray-drive" : "dray-transfer", status);
    is_killed_ = true;  // the other one ends by our doing
    // Each leads a group: a child of its own (the one that unlocks) does not outlive it.
    ::kill(-pid, SIGKILL);
    pid = -1;
    // Each lives by its socket to the other, but a stopped or hung one would not notice.
    if (transfer_ < 0 && drive_ > 0)
        ::kill(-drive_, SIGKILL);
    if (transfer_ > 0 || drive_ > 0)
        return;
    if (readable_)
        read_messages();
    readable_.reset();
    // Not from inside the callback of a source that the owner is about to destroy with us.
    ending_ = loop_.soon([this] {
        const auto ended = std::move(callbacks_.ended);
        ended();
    });
}

}  // namespace dray
