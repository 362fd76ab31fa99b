// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#include <cerrno>

#include "daemon/confine/confine.hpp"
#include "daemon/confine/syscall_filter.hpp"

namespace dray::confine {

Result<void> box_unlocking(bool may_format) {
    SyscallFilter filter(SCMP_ACT_KILL_PROCESS);
    // The device, the copy of the header, the pipe to whoever waits.
    filter.allow({SCMP_SYS(read), SCMP_SYS(pread64), SCMP_SYS(write), SCMP_SYS(lseek), SCMP_SYS(fstat),
                  SCMP_SYS(newfstatat), SCMP_SYS(fstatfs), SCMP_SYS(close), SCMP_SYS(memfd_create),
                  SCMP_SYS(ftruncate), SCMP_SYS(pwrite64), SCMP_SYS(fadvise64), SCMP_SYS(poll)});
    // Not those by which signals are sent (F_SETOWN).
    for (const int command : {F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_GET_SEALS, F_ADD_SEALS})
        filter.allow_if(SCMP_SYS(fcntl), {1, SCMP_CMP_EQ, static_cast<scmp_datum_t>(command), 0});
    filter.allow_open(may_format);
    filter.allow_if(SCMP_SYS(ioctl), {1, SCMP_CMP_EQ, BLKGETSIZE64, 0});
    // Memory, among it the key derivation's, locked against swapping where the limit allows.
    filter.allow_memory(true);
    filter.allow({SCMP_SYS(mlock), SCMP_SYS(munlock)});
    filter.allow_threads();
    filter.allow({SCMP_SYS(restart_syscall), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigreturn), SCMP_SYS(exit_group), SCMP_SYS(getrandom),
                  SCMP_SYS(sysinfo), SCMP_SYS(uname), SCMP_SYS(clock_gettime), SCMP_SYS(getpid),
                  SCMP_SYS(gettid), SCMP_SYS(getrusage)});
    if (may_format) {
        // Formatting goes on in this process, which then shuts itself in the serving box.
        filter.allow_if(SCMP_SYS(prctl), {0, SCMP_CMP_EQ, PR_SET_NO_NEW_PRIVS, 0});
        filter.allow({SCMP_SYS(seccomp)});
        // What went wrong is told from here.
        filter.allow_plain_messages();
    }
    filter.refuse({SCMP_SYS(openat2), SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2),
                   SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(statx)},
                  EACCES);
    if (may_format) {
        filter.allow({SCMP_SYS(fsync), SCMP_SYS(fdatasync)});
        // Before it makes a header, libcryptsetup asks device-mapper for its version, which looks for its
        // control node, makes one if there is none, and copes with being refused.
        filter.allow({SCMP_SYS(geteuid), SCMP_SYS(umask)});
        filter.refuse({SCMP_SYS(mkdir), SCMP_SYS(mkdirat), SCMP_SYS(mknod), SCMP_SYS(mknodat)}, EACCES);
        // It asks the memory file for the geometry of a disk.
        filter.refuse_if(SCMP_SYS(ioctl), {1, SCMP_CMP_NE, BLKGETSIZE64, 0}, ENOTTY);
    }
    filter.allow_sanitizers();
    return filter.install();
}

}  // namespace dray::confine
