// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "daemon/confine/confine.hpp"
#include "daemon/confine/landlock.hpp"
#include "daemon/confine/syscall_filter.hpp"

namespace dray::confine {
namespace {

constexpr std::uint16_t kDnsPort = 53;

/// Where the C library finds out how names are looked up. Directories, because resolv.conf is replaced by renaming and
/// is often a link into one of the others.
constexpr const char* kResolverDirectories[] = {"/etc", "/run/systemd/resolve", "/run/NetworkManager",
                                                "/run/resolvconf"};

/// Sockets that connect. None of them can be bound or listened on.
void allow_connecting(SyscallFilter& filter) {
    // Compared as 64 bits: whoever puts something into the upper half gets nothing.
    for (const int family : {AF_UNIX, AF_INET, AF_INET6})
        filter.allow_if(SCMP_SYS(socket), {0, SCMP_CMP_EQ, static_cast<scmp_datum_t>(family), 0});
    for (const int family : {0, 3, 4, 5, 6, 7, 8, 9})
        filter.refuse_if(SCMP_SYS(socket), {0, SCMP_CMP_EQ, static_cast<scmp_datum_t>(family), 0}, EAFNOSUPPORT);
    filter.refuse_if(SCMP_SYS(socket), {0, SCMP_CMP_GT, AF_INET6, 0}, EAFNOSUPPORT);
    filter.allow({SCMP_SYS(connect)});
    filter.allow_if(SCMP_SYS(ioctl), {1, SCMP_CMP_EQ, FIONREAD, 0});
}

Result<void> install_list(bool may_connect) {
    SyscallFilter filter(SCMP_ACT_ERRNO(EPERM));
    filter.allow_threads();
    filter.allow_memory(true);
    filter.allow({SCMP_SYS(mlock), SCMP_SYS(munlock), SCMP_SYS(memfd_create), SCMP_SYS(membarrier)});
    // Open files: the journal, the spool, a store's files.
    filter.allow({SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(pread64), SCMP_SYS(preadv), SCMP_SYS(write),
                  SCMP_SYS(writev), SCMP_SYS(pwrite64), SCMP_SYS(pwritev), SCMP_SYS(pwritev2),
                  SCMP_SYS(lseek), SCMP_SYS(close), SCMP_SYS(close_range), SCMP_SYS(dup),
                  SCMP_SYS(flock), SCMP_SYS(fstat), SCMP_SYS(fstatfs), SCMP_SYS(ftruncate),
                  SCMP_SYS(fallocate), SCMP_SYS(fadvise64), SCMP_SYS(copy_file_range), SCMP_SYS(sendfile),
                  SCMP_SYS(splice), SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(syncfs),
                  SCMP_SYS(sync_file_range), SCMP_SYS(fchmod), SCMP_SYS(fchown), SCMP_SYS(getdents64)});
    // Not those by which signals are sent (F_SETOWN).
    for (const int command : {F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW,
                              F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_GET_SEALS, F_ADD_SEALS})
        filter.allow_if(SCMP_SYS(fcntl), {1, SCMP_CMP_EQ, static_cast<scmp_datum_t>(command), 0});
    // drayd may run as the same user: limits and signals reach this process alone.
    filter.allow_if(SCMP_SYS(prlimit64), {0, SCMP_CMP_EQ, 0, 0});
    filter.allow_if(SCMP_SYS(tgkill), {0, SCMP_CMP_EQ, static_cast<scmp_datum_t>(getpid()), 0});
    // Names; which of them, Landlock decides.
    filter.allow({SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(open), SCMP_SYS(newfstatat), SCMP_SYS(stat),
                  SCMP_SYS(lstat), SCMP_SYS(statx), SCMP_SYS(statfs), SCMP_SYS(access), SCMP_SYS(faccessat),
                  SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(link),
                  SCMP_SYS(linkat), SCMP_SYS(rename), SCMP_SYS(renameat), SCMP_SYS(renameat2),
                  SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(mkdir), SCMP_SYS(mkdirat), SCMP_SYS(rmdir),
                  SCMP_SYS(utimensat), SCMP_SYS(getcwd), SCMP_SYS(umask)});
    // Waiting and talking over sockets that exist already.
    filter.allow({SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(select), SCMP_SYS(pselect6),
                  SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait),
                  SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(eventfd2),
                  SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime), SCMP_SYS(timerfd_gettime),
                  SCMP_SYS(signalfd4), SCMP_SYS(pipe2), SCMP_SYS(sendmsg), SCMP_SYS(recvmsg),
                  SCMP_SYS(sendto), SCMP_SYS(recvfrom), SCMP_SYS(sendmmsg), SCMP_SYS(recvmmsg),
                  SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(getsockname), SCMP_SYS(getpeername),
                  SCMP_SYS(shutdown), SCMP_SYS(socketpair)});
    if (may_connect)
        allow_connecting(filter);
    // The process itself, and the time.
    filter.allow({SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigtimedwait),
                  SCMP_SYS(sigaltstack), SCMP_SYS(exit_group), SCMP_SYS(getpid),
                  SCMP_SYS(getppid), SCMP_SYS(gettid), SCMP_SYS(getuid), SCMP_SYS(geteuid),
                  SCMP_SYS(getgid), SCMP_SYS(getegid),
                  SCMP_SYS(getrlimit), SCMP_SYS(getrusage), SCMP_SYS(sched_yield), SCMP_SYS(getrandom),
                  SCMP_SYS(sysinfo), SCMP_SYS(uname), SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres),
                  SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday),
                  SCMP_SYS(restart_syscall), SCMP_SYS(getcpu)});
    // Names of threads. Nothing by which it would outlive drayd or could be looked into (PR_SET_PDEATHSIG, PR_SET_DUMPABLE).
    filter.allow_if(SCMP_SYS(prctl), {0, SCMP_CMP_EQ, PR_SET_NAME, 0});
    filter.allow_sanitizers();
    return filter.install();
}

}  // namespace

Result<std::string> box_transfer(const TransferBox& box) {
    std::vector<LandlockRule> rules;
    rules.reserve(box.read_directories.size() + box.write_directories.size());
    for (const std::string& directory : box.read_directories)
        rules.push_back({directory, LandlockAccess::Read});
    for (const std::string& directory : box.write_directories)
        rules.push_back({directory, LandlockAccess::ReadWrite});
    std::vector<std::uint16_t> ports = box.connect_ports;
    const bool may_connect = !ports.empty();
    if (may_connect) {
        ports.push_back(kDnsPort);  // for answers that are too long for UDP
        for (const char* directory : kResolverDirectories)
            if (access(directory, X_OK) == 0)
                rules.push_back({directory, LandlockAccess::ReadFiles});
    }
    DRAY_LET(std::string warning, restrict_file_system(rules, ports));
    DRAY_TRY(install_list(may_connect));
    return warning;
}

}  // namespace dray::confine
