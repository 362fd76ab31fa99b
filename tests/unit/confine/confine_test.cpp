// SPDX-License-Identifier: Apache-2.0
//
// Each box in a process of its own: what it must allow, and what must kill.
#include "daemon/confine/confine.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>

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
    std::string directory = "/var/tmp/dray-confine-XXXXXX";
    ASSERT_NE(mkdtemp(directory.data()), nullptr);
    const std::string readable = directory + "/readable";
    const std::string writable = directory + "/writable";
    std::filesystem::create_directories(readable);
    std::filesystem::create_directories(writable);
    EXPECT_TRUE(succeeds([&] {
        if (!drop_privileges() || !box_transfer({{readable}, {writable}}))
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
        const Result<std::string> boxed = box_transfer({{directory + "/none"}, {}});
        return !boxed && boxed.error().kind() == ErrorKind::NotFound;
    }));
    std::filesystem::remove_all(directory);
}

TEST(Privileges, AreGone) {
    EXPECT_TRUE(succeeds([] {
        return drop_privileges() && prctl(PR_GET_DUMPABLE) == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 &&
               chroot("/") != 0 && setuid(geteuid() + 1) != 0;
    }));
}

}  // namespace
}  // namespace dray::confine
