// SPDX-License-Identifier: Apache-2.0
//
// What a process that was taken over might ask of the kernel. Made as raw system calls, so that no library stands between
// it and the box.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace dray::malice {

/// What every command begins with: a file's folder, or a key's first letters.
inline constexpr std::string_view kWord = "malice/";

struct ForbiddenCall {
    std::string_view name;
    std::function<long()> make;
};

/// To descriptor 2, without a library.
inline void say(const std::string& line) {
    const std::string whole = "malice: " + line + "\n";
    (void)!write(2, whole.data(), whole.size());
}

/// As somebody would who wants to signal, trace or read `neighbour`.
inline std::vector<ForbiddenCall> forbidden_calls(int neighbour) {
    static std::array<char, 4096> buffer{};
    static const std::array<const char*, 2> arguments{"/bin/true", nullptr};
    static const std::array<char, 16> address{AF_INET, 0, 0, 22, 127, 0, 0, 1};
    const auto raw = [](auto... values) { return [=] { return syscall(values...); }; };
    return {
        {"open", raw(SYS_open, "/etc/passwd", O_RDONLY)},
        {"openat", raw(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY)},
        {"openat-writing", raw(SYS_openat, AT_FDCWD, "/var/tmp/malice", O_WRONLY | O_CREAT, 0600)},
        {"openat-memory", raw(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR)},
        {"socket", raw(SYS_socket, AF_INET, SOCK_STREAM, 0)},
        {"socket-netlink", raw(SYS_socket, AF_NETLINK, SOCK_RAW, 0)},
        {"connect", raw(SYS_connect, 3, address.data(), 16)},
        {"bind", raw(SYS_bind, 3, address.data(), 16)},
        {"listen", raw(SYS_listen, 3, 1)},
        {"ptrace", raw(SYS_ptrace, PTRACE_SEIZE, neighbour, 0, 0)},
        {"process_vm_readv", raw(SYS_process_vm_readv, neighbour, nullptr, 0, nullptr, 0, 0)},
        {"process_vm_writev", raw(SYS_process_vm_writev, neighbour, nullptr, 0, nullptr, 0, 0)},
        {"kill", raw(SYS_kill, neighbour, SIGCONT)},
        {"tkill", raw(SYS_tkill, neighbour, SIGCONT)},
        {"tgkill", raw(SYS_tgkill, neighbour, neighbour, SIGCONT)},
        {"pidfd_open", raw(SYS_pidfd_open, neighbour, 0)},
        {"setown", raw(SYS_fcntl, 3, F_SETOWN, neighbour)},
        {"execve", raw(SYS_execve, arguments[0], arguments.data(), nullptr)},
        {"execveat", raw(SYS_execveat, AT_FDCWD, arguments[0], arguments.data(), nullptr, 0)},
        {"fork", raw(SYS_fork)},
        {"clone", raw(SYS_clone, SIGCHLD, 0, 0, 0, 0)},
        {"mmap-code", raw(SYS_mmap, nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)},
        {"mprotect-code", raw(SYS_mprotect, reinterpret_cast<long>(buffer.data()) & ~4095L, 4096,
                              PROT_READ | PROT_WRITE | PROT_EXEC)},
        {"io_uring", raw(SYS_io_uring_setup, 1, buffer.data())},
        {"setrlimit", raw(SYS_prlimit64, neighbour, RLIMIT_NOFILE, nullptr, buffer.data())},
        {"undead", raw(SYS_prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0)},
        {"dumpable", raw(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0)},
        {"setresuid", raw(SYS_setresuid, 0, 0, 0)},
        {"unshare", raw(SYS_unshare, CLONE_NEWUSER)},
        {"mount", raw(SYS_mount, "none", "/", "tmpfs", 0, nullptr)},
        {"bpf", raw(SYS_bpf, 0, buffer.data(), 16)},
        {"userfaultfd", raw(SYS_userfaultfd, 0)},
        {"keyctl", raw(SYS_keyctl, 0, 0, 0, 0, 0)},
        {"perf_event_open", raw(SYS_perf_event_open, buffer.data(), 0, -1, -1, 0)},
    };
}

/// Address space that can be had, in MiB.
inline long grab_memory() {
    constexpr std::size_t kStep = std::size_t{16} << 20U;
    long got = 0;
    while (got < 65536 && mmap(nullptr, kStep, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
        got += 16;
    return got;
}

}  // namespace dray::malice
