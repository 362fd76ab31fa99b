// SPDX-License-Identifier: Apache-2.0
#include "daemon/confine/syscall_filter.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>

#include <cerrno>

namespace dray::confine {
namespace {

constexpr scmp_datum_t kThread =
    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;
constexpr scmp_datum_t kNewNamespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                                        CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

scmp_arg_cmp masked(unsigned argument, scmp_datum_t mask, scmp_datum_t value) {
    return {argument, SCMP_CMP_MASKED_EQ, mask, value};
}

void release(void* context) {
    if (context != nullptr)
        seccomp_release(context);
}

}  // namespace

SyscallFilter::SyscallFilter(std::uint32_t otherwise)
    : context_(seccomp_init(otherwise), &release) {
    if (!context_) {
        error_ = ENOMEM;
        return;
    }
    error_ = -seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_TSYNC, 1);
}

void SyscallFilter::allow(std::initializer_list<int> calls) {
    for (const int call : calls)
        if (error_ == 0)
            error_ = -seccomp_rule_add(context_.get(), SCMP_ACT_ALLOW, call, 0);
}

void SyscallFilter::refuse(std::initializer_list<int> calls, int error_number) {
    for (const int call : calls)
        if (error_ == 0)
            error_ = -seccomp_rule_add(context_.get(),
                                       SCMP_ACT_ERRNO(static_cast<std::uint32_t>(error_number)), call, 0);
}

void SyscallFilter::allow_if(int call, scmp_arg_cmp condition) {
    if (error_ == 0)
        error_ = -seccomp_rule_add_array(context_.get(), SCMP_ACT_ALLOW, call, 1, &condition);
}

void SyscallFilter::refuse_if(int call, scmp_arg_cmp condition, int error_number) {
    if (error_ == 0)
        error_ = -seccomp_rule_add_array(context_.get(),
                                         SCMP_ACT_ERRNO(static_cast<std::uint32_t>(error_number)), call, 1,
                                         &condition);
}

void SyscallFilter::allow_threads() {
    allow_if(SCMP_SYS(clone), masked(0, kThread | kNewNamespaces, kThread));
    refuse({SCMP_SYS(clone3)}, ENOSYS);
    allow({SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(rt_sigprocmask), SCMP_SYS(madvise),
           SCMP_SYS(futex), SCMP_SYS(exit), SCMP_SYS(sched_getaffinity)});
}

void SyscallFilter::allow_open(bool may_write) {
    constexpr scmp_datum_t kMakes = O_CREAT | O_TRUNC;
    allow_if(SCMP_SYS(openat), masked(2, kMakes | O_ACCMODE, O_RDONLY));
    if (may_write)
        allow_if(SCMP_SYS(openat), masked(2, kMakes | O_ACCMODE, O_RDWR));
}

void SyscallFilter::allow_memory(bool may_protect) {
    allow_if(SCMP_SYS(mmap), masked(2, PROT_EXEC, 0));
    if (may_protect)
        allow_if(SCMP_SYS(mprotect), masked(2, PROT_EXEC, 0));
    allow({SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk)});
}

// sendmsg could carry descriptors, and no list can look at what it points to.
void SyscallFilter::allow_plain_messages() {
    allow_if(SCMP_SYS(sendto), {4, SCMP_CMP_EQ, 0, 0});
    allow({SCMP_SYS(recvmsg)});
}

void SyscallFilter::allow_sanitizers() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    // Their runtime looks at itself in /proc to report an error, has signal stacks of its own, and tells
    // threads apart by number; UBSan asks a pipe whether memory can be read. Opening files is refused by
    // Landlock all the same.
    allow_open(false);
    allow({SCMP_SYS(mmap), SCMP_SYS(sigaltstack), SCMP_SYS(pipe2), SCMP_SYS(readlink), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(tgkill),
           SCMP_SYS(mprotect), SCMP_SYS(prctl), SCMP_SYS(sched_yield), SCMP_SYS(rt_sigprocmask),
           SCMP_SYS(rt_sigaction), SCMP_SYS(ioctl), SCMP_SYS(getrlimit), SCMP_SYS(prlimit64),
           SCMP_SYS(fcntl), SCMP_SYS(uname), SCMP_SYS(clock_nanosleep), SCMP_SYS(sched_getaffinity)});
#endif
}

Result<void> SyscallFilter::install() {
    if (error_ == 0)
        error_ = -seccomp_load(context_.get());
    if (error_ != 0)
        return fail(ErrorKind::Internal, "cannot install the list of system calls: {}",
                    errno_text(error_));
    return {};
}

}  // namespace dray::confine
