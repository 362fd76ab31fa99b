// SPDX-License-Identifier: Apache-2.0
//
// Each box in a process of its own: what it must allow, and what must kill.
#include "daemon/confine/confine.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "daemon/confine/capabilities.hpp"
#include "tests/support/scratch_directory.hpp"

namespace dray::confine {
namespace {

constexpr int kDone = 42;
constexpr int kFailed = 43;

/// Runs `body` in a child; true becomes kDone.
int status_of(const std::function<bool()>& body) {
    const pid_t child = fork();
    if (child == 0)
        _exit(body() ? kDone : kFailed);
    int status = 0;
    waitpid(child, &status, 0);
    return status;
}

bool succeeds(const std::function<bool()>& body) {
    const int status = status_of(body);
    return WIFEXITED(status) && WEXITSTATUS(status) == kDone;
}

bool is_killed(const std::function<bool()>& body) {
    const int status = status_of(body);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

bool enter_serving(bool may_write = false) {
    return drop_privileges() && box_serving(may_write);
}

bool enter_unlocking(bool may_format = false) {
    return drop_privileges() && shut_file_system().empty() && box_unlocking(may_format);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kIsSanitized = true;
#else
constexpr bool kIsSanitized = false;
#endif

// A stop that meets a waiting call makes the kernel go on with it by restart_syscall.
TEST(Boxes, LetAWaitingCallGoOnAfterAStop) {
    for (const bool is_serving : {true, false}) {
        int ends[2];
        ASSERT_EQ(pipe(ends), 0);
        const pid_t child = fork();
        if (child == 0) {
            if (!(is_serving ? enter_serving() : enter_unlocking()))
                _exit(kFailed);
            pollfd waiting{ends[0], POLLIN, 0};
            _exit(poll(&waiting, 1, -1) == 1 ? kDone : kFailed);
        }
        // Until it waits in poll.
        std::string call;
        while (!call.starts_with("7 "))
            std::getline(std::ifstream("/proc/" + std::to_string(child) + "/syscall"), call);
        int status = 0;
        kill(child, SIGSTOP);
        ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
        ASSERT_TRUE(WIFSTOPPED(status));
        kill(child, SIGCONT);
        ASSERT_EQ(write(ends[1], "x", 1), 1);
        ASSERT_EQ(waitpid(child, &status, 0), child);
        EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == kDone) << status;
        close(ends[0]);
        close(ends[1]);
    }
}

TEST(ServingBox, LetsServe) {
    EXPECT_TRUE(succeeds([] {
        const int memory = memfd_create("test", 0);
        if (!enter_serving())
            return false;
        char byte = 0;
        return pread(memory, &byte, 1, 0) == 0 && lseek(memory, 0, SEEK_END) == 0;
    }));
}

TEST(ServingBox, KillsWhoOpensConnectsStartsOrWrites) {
    if (kIsSanitized)
        GTEST_SKIP() << "the sanitizers' own calls widen the box";
    EXPECT_TRUE(is_killed([] { return enter_serving() && open("/dev/null", O_RDONLY) >= 0; }));
    EXPECT_TRUE(is_killed([] { return enter_serving() && socket(AF_UNIX, SOCK_STREAM, 0) >= 0; }));
    EXPECT_TRUE(is_killed([] { return enter_serving() && fork() >= 0; }));
    EXPECT_TRUE(is_killed([] { return enter_serving() && execl("/bin/true", "true", nullptr) == 0; }));
    EXPECT_TRUE(is_killed([] {
        const int memory = memfd_create("test", 0);
        return enter_serving() && pwrite(memory, "x", 1, 0) == 1;
    }));
}

void* map_code() {
    return mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

TEST(ServingBox, SaysThingsButHandsNothingOver) {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    EXPECT_TRUE(succeeds([&] { return enter_serving() && send(ends[0], "x", 1, MSG_NOSIGNAL) == 1; }));
    if (kIsSanitized)
        GTEST_SKIP() << "the sanitizers' own calls widen the box";
    EXPECT_TRUE(is_killed([&] {
        iovec vector{const_cast<char*>("x"), 1};
        msghdr message{};
        message.msg_iov = &vector;
        message.msg_iovlen = 1;
        return enter_serving() && sendmsg(ends[0], &message, MSG_NOSIGNAL) == 1;
    }));
    const sockaddr_in address{AF_INET, 0, {}, {}};
    EXPECT_TRUE(is_killed([&] {
        return enter_serving() &&
               sendto(ends[0], "x", 1, 0, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 1;
    }));
    close(ends[0]);
    close(ends[1]);
}

TEST(Boxes, LetNoMemoryBecomeCode) {
    if (kIsSanitized)
        GTEST_SKIP() << "the sanitizers' own calls widen the box";
    EXPECT_TRUE(is_killed([] { return enter_serving() && map_code() != MAP_FAILED; }));
    for (const bool is_protecting : {true, false})
        EXPECT_TRUE(is_killed([&] {
            void* const memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            return enter_unlocking() && (is_protecting ? mprotect(memory, 4096, PROT_READ | PROT_EXEC) == 0
                                                       : map_code() != MAP_FAILED);
        }));
    EXPECT_TRUE(succeeds([] {
        void* const memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return drop_privileges() && box_transfer({}) && map_code() == MAP_FAILED && errno == EPERM &&
               mprotect(memory, 4096, PROT_READ) == 0 && mprotect(memory, 4096, PROT_EXEC) == -1 && errno == EPERM;
    }));
}

TEST(UnlockingBox, SendsNoSignalsByDescriptors) {
    if (kIsSanitized)
        GTEST_SKIP() << "the sanitizers' own calls widen the box";
    EXPECT_TRUE(succeeds([] { return enter_unlocking() && fcntl(0, F_GETFD) >= 0; }));
    EXPECT_TRUE(is_killed([] { return enter_unlocking() && fcntl(0, F_SETOWN, getppid()) == 0; }));
}

TEST(TransferBox, DiesWithDraydAndShowsNobodyItsMemory) {
    if (kIsSanitized)
        GTEST_SKIP() << "the sanitizers' own calls widen the box";
    EXPECT_TRUE(succeeds([] {
        return drop_privileges() && box_transfer({}) && prctl(PR_SET_NAME, "a") == 0 &&
               prctl(PR_SET_PDEATHSIG, 0) == -1 && errno == EPERM && prctl(PR_SET_DUMPABLE, 1) == -1 && errno == EPERM;
    }));
}

TEST(ServingBox, LetsWriteWhereThatWasAskedFor) {
    EXPECT_TRUE(succeeds([] {
        const int memory = memfd_create("test", 0);
        return enter_serving(true) && pwrite(memory, "x", 1, 0) == 1 && fdatasync(memory) == 0;
    }));
}

TEST(UnlockingBox, OpensNothingButItsOwnMemoryFiles) {
    EXPECT_TRUE(succeeds([] {
        if (!enter_unlocking())
            return false;
        const int memory = memfd_create("test", 0);
        const std::string path = "/proc/self/fd/" + std::to_string(memory);
        return open(path.c_str(), O_RDONLY) >= 0 && open("/etc/passwd", O_RDONLY) == -1 && errno == EACCES;
    }));
}

TEST(UnlockingBox, StartsThreadsButNoProcesses) {
    EXPECT_TRUE(succeeds([] {
        if (!enter_unlocking())
            return false;
        bool has_run = false;
        std::thread([&] { has_run = true; }).join();
        return has_run;
    }));
    EXPECT_TRUE(is_killed([] { return enter_unlocking() && fork() >= 0; }));
}

TEST(UnlockingBox, KillsWhoCreatesOrWrites) {
    EXPECT_TRUE(is_killed([] { return enter_unlocking() && open("/tmp/x", O_RDWR | O_CREAT, 0600) >= 0; }));
    EXPECT_TRUE(is_killed([] {
        const int memory = memfd_create("test", 0);
        const std::string path = "/proc/self/fd/" + std::to_string(memory);
        return enter_unlocking() && open(path.c_str(), O_RDWR) >= 0;
    }));
    EXPECT_TRUE(succeeds([] {
        const int memory = memfd_create("test", 0);
        const std::string path = "/proc/self/fd/" + std::to_string(memory);
        return enter_unlocking(true) && open(path.c_str(), O_RDWR) >= 0;
    }));
}

TEST(Boxes, TheServingBoxFollowsTheUnlockingBox) {
    if (kIsSanitized)
        GTEST_SKIP() << "the sanitizers' own calls widen the box";
    EXPECT_TRUE(succeeds([] { return enter_unlocking(true) && box_serving(true).has_value(); }));
    EXPECT_TRUE(is_killed([] {
        return enter_unlocking(true) && box_serving(true) && open("/proc/self/fd/0", O_RDONLY) >= 0;
    }));
}

TEST(TransferBox, ReachesItsDirectoriesAndNothingElse) {
    const test::ScratchDirectory directory;
    const std::string readable = directory / "readable";
    const std::string writable = directory / "writable";
    std::filesystem::create_directories(readable);
    std::filesystem::create_directories(writable);
    EXPECT_TRUE(succeeds([&] {
        if (!drop_privileges() || !box_transfer({{readable}, {writable}, {}}))
            return false;
        const int made = open((writable + "/new").c_str(), O_RDWR | O_CREAT, 0600);
        return made >= 0 && write(made, "x", 1) == 1 && fsync(made) == 0 &&
               rename((writable + "/new").c_str(), (writable + "/newer").c_str()) == 0 &&
               open((readable + "/new").c_str(), O_RDWR | O_CREAT, 0600) < 0 && errno == EACCES &&
               open("/etc/passwd", O_RDONLY) < 0 && errno == EACCES &&
               socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM &&
               execl("/bin/true", "true", nullptr) < 0 && errno == EPERM;
    }));
    EXPECT_TRUE(succeeds([&] {
        const Result<std::string> boxed = box_transfer({{directory / "none"}, {}, {}});
        return !boxed && boxed.error().kind() == ErrorKind::NotFound;
    }));
}

/// A server on a loopback port that takes connections by itself.
class Listener {
public:
    Listener() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in address = at(0);
        socklen_t size = sizeof address;
        if (bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 && listen(fd_, 4) == 0 &&
            getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) == 0)
            port_ = ntohs(address.sin_port);
    }
    ~Listener() { close(fd_); }
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;
    std::uint16_t port() const { return port_; }

    static sockaddr_in at(std::uint16_t port) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return address;
    }

private:
    int fd_;
    std::uint16_t port_ = 0;
};

bool connects_to(std::uint16_t port) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = Listener::at(port);
    return fd >= 0 && connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

long landlock_version() { return syscall(SYS_landlock_create_ruleset, nullptr, 0, 1U); }

TEST(TransferBox, ConnectsToItsStoresPortAndToNoOther) {
    const Listener store;
    const Listener other;
    ASSERT_NE(store.port(), 0);
    ASSERT_NE(other.port(), 0);
    EXPECT_TRUE(succeeds([&] {
        return drop_privileges() && box_transfer({{}, {}, {store.port()}}) && connects_to(store.port());
    }));
    if (landlock_version() < 4) {
        EXPECT_NE(port_problem(), "");
        GTEST_SKIP() << "this kernel's Landlock knows no ports";
    }
    EXPECT_EQ(port_problem(), "");
    EXPECT_TRUE(succeeds([&] {
        return drop_privileges() && box_transfer({{}, {}, {store.port()}}) && !connects_to(other.port()) &&
               errno == EACCES;
    }));
}

TEST(TransferBox, WithoutANetworkNothingIsConnected) {
    const Listener store;
    EXPECT_TRUE(succeeds([&] {
        return drop_privileges() && box_transfer({{}, {}, {}}) && !connects_to(store.port()) && errno == EPERM;
    }));
    // A socket that it had before does not help.
    EXPECT_TRUE(succeeds([&] {
        const int fd = socket(AF_INET, SOCK_STREAM, 0);
        const sockaddr_in address = Listener::at(store.port());
        return drop_privileges() && box_transfer({{}, {}, {}}) &&
               connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 && errno == EPERM;
    }));
}

TEST(TransferBox, ItsSocketsAreOfThreeFamiliesAndServeNobody) {
    const auto boxed = [] { return drop_privileges() && box_transfer({{}, {}, {443}}); };
    EXPECT_TRUE(succeeds([&] {
        return boxed() && socket(AF_INET, SOCK_DGRAM, 0) >= 0 && socket(AF_UNIX, SOCK_STREAM, 0) >= 0 &&
               (socket(AF_INET6, SOCK_STREAM, 0) >= 0 || errno == EAFNOSUPPORT);
    }));
    EXPECT_TRUE(succeeds([&] {
        if (!boxed())
            return false;
        for (const int family : {0, AF_X25, AF_NETLINK, AF_PACKET, AF_ALG, AF_VSOCK, AF_BLUETOOTH, 255, -1})
            if (socket(family, SOCK_RAW, 0) >= 0 || errno != EAFNOSUPPORT)
                return false;
        // The same numbers with something in the upper half, which the kernel does not look at.
        return syscall(SYS_socket, (1L << 32) | AF_NETLINK, SOCK_RAW, 0L) < 0 && errno == EAFNOSUPPORT &&
               syscall(SYS_socket, (1L << 32) | AF_INET, SOCK_STREAM, 0L) < 0 && errno == EAFNOSUPPORT;
    }));
    EXPECT_TRUE(succeeds([&] {
        const Listener before;
        if (!boxed())
            return false;
        const int fd = socket(AF_INET, SOCK_STREAM, 0);
        const sockaddr_in address = Listener::at(0);
        return bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 && errno == EPERM &&
               listen(fd, 1) < 0 && errno == EPERM && accept4(fd, nullptr, nullptr, 0) < 0 && errno == EPERM;
    }));
}

TEST(TransferBox, NamesAreLookedUpInIt) {
    EXPECT_TRUE(succeeds([] {
        addrinfo* found = nullptr;
        return drop_privileges() && box_transfer({{}, {}, {443}}) && open("/etc/hosts", O_RDONLY) >= 0 &&
               getaddrinfo("localhost", nullptr, nullptr, &found) == 0 && open("/etc/hosts", O_RDWR) < 0 &&
               open("/usr/bin/env", O_RDONLY) < 0 && errno == EACCES;
    }));
}

TEST(UserArgument, SaysAsWhomAndNothingElse) {
    const auto read = [](std::vector<std::string> words) {
        words.insert(words.begin(), "dray-drive");
        std::vector<char*> arguments;
        for (std::string& word : words)
            arguments.push_back(word.data());
        return read_user_argument(arguments);
    };
    const auto user = read({user_argument({4294967294, 1})});
    ASSERT_TRUE(user && *user);
    EXPECT_EQ((**user).uid, 4294967294U);
    EXPECT_EQ((**user).gid, 1U);
    EXPECT_EQ(read({}).value(), std::nullopt);
    for (const char* word : {"", "--user=", "--user=1", "--user=1:", "--user=1:2:3", "--user=1:2 ", "--user= 1:2", "--user=0:1",
                             "--user=1:0", "--user=4294967295:1", "--user=1:4294967295", "--user=4294967296:1",
                             "--user=-1:1", "--user=+1:1", "-user=1:1"})
        EXPECT_EQ(read({word}).error().kind(), ErrorKind::InvalidArgument) << word;
    EXPECT_FALSE(read({"--user=1:1", "--user=1:1"}));
}

TEST(Privileges, AUserIsTakenOnForGood) {
    if (geteuid() != 0)
        GTEST_SKIP() << "only root becomes others";
    EXPECT_TRUE(succeeds([] {
        uid_t uids[3] = {};
        gid_t gids[3] = {};
        rlimit core{1, 1};
        if (!drop_privileges(User{60001, 60002}) || getresuid(&uids[0], &uids[1], &uids[2]) != 0 ||
            getresgid(&gids[0], &gids[1], &gids[2]) != 0 || getrlimit(RLIMIT_CORE, &core) != 0)
            return false;
        for (int i = 0; i < 3; ++i)
            if (uids[i] != 60001 || gids[i] != 60002)
                return false;
        for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; ++capability)
            if (prctl(PR_CAPBSET_READ, capability) != 0)
                return false;
        const auto left = read_capabilities();
        return left && left->effective == 0 && left->permitted == 0 && left->inheritable == 0 &&
               prctl(PR_GET_DUMPABLE) == 0 && core.rlim_max == 0 && getgroups(0, nullptr) == 0 && setuid(0) != 0 &&
               setgid(0) != 0;
    }));
}

TEST(Privileges, AreGone) {
    EXPECT_TRUE(succeeds([] {
        return drop_privileges() && prctl(PR_GET_DUMPABLE) == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 &&
               chroot("/") != 0 && setuid(geteuid() + 1) != 0;
    }));
}

}  // namespace
}  // namespace dray::confine
