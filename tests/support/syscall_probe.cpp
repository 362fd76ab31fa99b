// SPDX-License-Identifier: Apache-2.0
//
// syscall_probe [--past-seccomp] PID CALL [ARGUMENT...]: makes another process do one system call and prints what
// came of it, a number, an errno's name, or the signal that ended the process. So a test learns what a program in
// its box really may do, whatever the box is made of. With --past-seccomp the list of calls is not looked at, so
// that what lies behind it answers: Landlock, the uid, missing capabilities.
//
// syscall_probe --filters PID: prints the lists of system calls that the kernel holds for the process, newest first, each
// as a line of hexadecimal BPF instructions.
//
// Takes root and x86-64. 77: not possible on this machine.
#include <fcntl.h>
#include <linux/filter.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace {

constexpr int kNotPossible = 77;

[[noreturn]] void give_up(const std::string& what, int status = 1) {
    std::fprintf(stderr, "syscall_probe: %s: %s\n", what.c_str(), strerror(errno));
    std::exit(status);
}

#if defined(__x86_64__)

constexpr long kSuspendSeccomp = 1 << 21;  // PTRACE_O_SUSPEND_SECCOMP
constexpr std::array<unsigned char, 2> kInstruction{0x0F, 0x05};

const std::map<std::string, long> kCalls{
    {"openat", SYS_openat}, {"socket", SYS_socket},       {"kill", SYS_kill},     {"setresuid", SYS_setresuid},
    {"execve", SYS_execve}, {"setresgid", SYS_setresgid}, {"chroot", SYS_chroot}, {"getuid", SYS_getuid},
    {"ptrace", SYS_ptrace}, {"unlinkat", SYS_unlinkat},   {"bpf", SYS_bpf},       {"mkdirat", SYS_mkdirat},
};

/// Where the process has a `syscall` instruction to step over.
unsigned long find_instruction(int pid, int memory) {
    std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
    for (std::string line; std::getline(maps, line);) {
        if (line.find(" r-xp ") == std::string::npos || line.find("libc.so") == std::string::npos)
            continue;
        unsigned long begin = 0;
        unsigned long end = 0;
        if (std::sscanf(line.c_str(), "%lx-%lx", &begin, &end) != 2)
            continue;
        std::vector<unsigned char> code(end - begin);
        if (pread(memory, code.data(), code.size(), static_cast<off_t>(begin)) != static_cast<ssize_t>(code.size()))
            continue;
        const auto found = std::search(code.begin(), code.end(), kInstruction.begin(), kInstruction.end());
        if (found != code.end())
            return begin + static_cast<unsigned long>(found - code.begin());
    }
    give_up("no system call in the process's C library", kNotPossible);
}

void wait_for_stop(int pid) {
    int status = 0;
    if (waitpid(pid, &status, __WALL) != pid)
        give_up("waiting for the process");
    if (WIFSIGNALED(status)) {
        std::printf("SIG%s\n", sigabbrev_np(WTERMSIG(status)));
        std::exit(0);
    }
}

void attach(int pid, bool is_past_seccomp) {
    if (ptrace(PTRACE_SEIZE, pid, nullptr, is_past_seccomp ? kSuspendSeccomp : 0) != 0)
        give_up("attaching", kNotPossible);
    if (ptrace(PTRACE_INTERRUPT, pid, nullptr, nullptr) != 0)
        give_up("interrupting");
    wait_for_stop(pid);
}

long make_call(int pid, long call, const std::vector<std::string>& arguments) {
    const std::string path = "/proc/" + std::to_string(pid) + "/mem";
    const int memory = open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (memory < 0)
        give_up(path, kNotPossible);
    user_regs_struct before{};
    if (ptrace(PTRACE_GETREGS, pid, nullptr, &before) != 0)
        give_up("reading registers");
    user_regs_struct registers = before;
    registers.rip = find_instruction(pid, memory);
    registers.rax = static_cast<unsigned long>(call);
    registers.orig_rax = static_cast<unsigned long>(-1);  // not in a call that would be started again
    // Below what the program's own frame may use.
    unsigned long room = (before.rsp - 8192) & ~15UL;
    const std::array<unsigned long long*, 6> places{&registers.rdi, &registers.rsi, &registers.rdx,
                                                    &registers.r10, &registers.r8,  &registers.r9};
    for (unsigned long long* place : places)
        *place = 0;
    for (std::size_t i = 0; i < arguments.size() && i < places.size(); ++i) {
        const std::string& argument = arguments[i];
        char* end = nullptr;
        const long long number = std::strtoll(argument.c_str(), &end, 0);
        if (!argument.empty() && *end == '\0') {
            *places[i] = static_cast<unsigned long long>(number);
            continue;
        }
        if (pwrite(memory, argument.c_str(), argument.size() + 1, static_cast<off_t>(room)) < 0)
            give_up("writing an argument");
        *places[i] = room;
        room += (argument.size() + 16) & ~15UL;
    }
    if (ptrace(PTRACE_SETREGS, pid, nullptr, &registers) != 0 || ptrace(PTRACE_SINGLESTEP, pid, nullptr, nullptr) != 0)
        give_up("making the call");
    wait_for_stop(pid);
    user_regs_struct after{};
    if (ptrace(PTRACE_GETREGS, pid, nullptr, &after) != 0 || ptrace(PTRACE_SETREGS, pid, nullptr, &before) != 0)
        give_up("reading the answer");
    (void)ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
    return static_cast<long>(after.rax);
}

int print_filters(int pid) {
    constexpr int kGetFilter = 0x420C;  // PTRACE_SECCOMP_GET_FILTER, whose answer is a number of instructions
    attach(pid, false);
    const auto get = [&](unsigned long index, void* room) { return syscall(SYS_ptrace, kGetFilter, pid, index, room); };
    for (unsigned long index = 0;; ++index) {
        const long count = get(index, nullptr);
        if (count < 0 && errno == ENOENT)
            break;
        if (count < 0)
            give_up("reading the list", kNotPossible);
        std::vector<sock_filter> filter(static_cast<std::size_t>(count));
        if (get(index, filter.data()) != count)
            give_up("reading the list");
        for (const sock_filter& each : filter)
            std::printf("%04x%02x%02x%08x ", each.code, each.jt, each.jf, each.k);
        std::printf("\n");
    }
    (void)ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
    return 0;
}

int probe(int argc, char** argv) {
    if (argc == 3 && std::strcmp(argv[1], "--filters") == 0)
        return print_filters(std::atoi(argv[2]));
    const bool is_past_seccomp = argc > 1 && std::strcmp(argv[1], "--past-seccomp") == 0;
    const int first = is_past_seccomp ? 2 : 1;
    if (argc < first + 2 || !kCalls.contains(argv[first + 1])) {
        std::fputs("syscall_probe [--past-seccomp] PID CALL [ARGUMENT...]\n", stderr);
        return 2;
    }
    const int pid = std::atoi(argv[first]);
    attach(pid, is_past_seccomp);
    const long answer = make_call(pid, kCalls.at(argv[first + 1]), {argv + first + 2, argv + argc});
    if (answer < 0 && answer > -4096)
        std::printf("%s\n", strerrorname_np(static_cast<int>(-answer)));
    else
        std::printf("%ld\n", answer);
    return 0;
}

#else

int probe(int, char**) {
    errno = ENOSYS;
    give_up("this machine's registers", kNotPossible);
}

#endif

}  // namespace

int main(int argc, char** argv) { return probe(argc, argv); }
