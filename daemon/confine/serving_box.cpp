// SPDX-License-Identifier: Apache-2.0
#include "daemon/confine/confine.hpp"
#include "daemon/confine/syscall_filter.hpp"

namespace dray::confine {

Result<void> box_serving(bool may_write) {
    SyscallFilter filter(SCMP_ACT_KILL_PROCESS);
    // The device, the log, the socket, the ring.
    filter.allow({SCMP_SYS(read), SCMP_SYS(pread64), SCMP_SYS(write), SCMP_SYS(lseek), SCMP_SYS(fadvise64),
                  SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(close), SCMP_SYS(poll)});
    filter.allow_plain_messages();
    filter.allow_memory(false);
    filter.allow({SCMP_SYS(futex)});
    // A line of the log carries the time and the process. After a stop, or the machine's sleep, a call that
    // waited is gone on with by restart_syscall.
    filter.allow({SCMP_SYS(restart_syscall), SCMP_SYS(rt_sigreturn), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(getrandom),
                  SCMP_SYS(clock_gettime), SCMP_SYS(getpid), SCMP_SYS(gettid)});
    if (may_write)
        filter.allow({SCMP_SYS(pwrite64), SCMP_SYS(fdatasync), SCMP_SYS(fsync)});
    filter.allow_sanitizers();
    return filter.install();
}

}  // namespace dray::confine
