// SPDX-License-Identifier: Apache-2.0
#include "tests/support/test_bus.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string_view>

namespace dray::test {
namespace {

[[noreturn]] void give_up(const char* what) {
    std::perror(what);
    std::exit(1);
}

constexpr std::string_view kConfig = R"(<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path=@/socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="false"/>
    <allow send_type="signal"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
  </policy>
</busconfig>
)";

/// One line that the daemon prints once it listens.
std::string read_line(int fd) {
    std::string line;
    char character = 0;
    while (read(fd, &character, 1) == 1 && character != '\n')
        line += character;
    return line;
}

}  // namespace

TestBus::TestBus() {
    // Other users connect, too.
    if (chmod(directory_.path().c_str(), 0755) != 0)
        give_up("a directory for the test's bus");
    std::string config(kConfig);
    config.replace(config.find('@'), 1, directory_.path().string());
    const std::string file = directory_ / "bus.conf";
    std::ofstream(file) << config;
    std::array<int, 2> channel{};
    if (pipe(channel.data()) != 0)
        give_up("a pipe for the test's bus");
    pid_ = fork();
    if (pid_ == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, nullptr);
        // It complains about limits that a container does not let it raise.
        const int log = open((directory_ / "bus.log").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (log >= 0)
            dup2(log, STDERR_FILENO);
        const std::string config_argument = "--config-file=" + file;
        const std::string address_argument = "--print-address=" + std::to_string(channel[1]);
        execlp("dbus-daemon", "dbus-daemon", "--nofork", "--nopidfile", config_argument.c_str(),
               address_argument.c_str(), nullptr);
        _exit(127);
    }
    close(channel[1]);
    address_ = read_line(channel[0]);
    close(channel[0]);
    if (pid_ < 0 || address_.empty())
        give_up("the test's dbus-daemon");
    setenv("DBUS_SYSTEM_BUS_ADDRESS", address_.c_str(), 1);
}

TestBus::~TestBus() { stop(); }

void TestBus::stop() {
    if (pid_ <= 0)
        return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
}

bus::Bus TestBus::connect() const {
    sd_bus* raw = nullptr;
    const char* name = nullptr;
    if (sd_bus_open_system(&raw) < 0 || sd_bus_get_unique_name(raw, &name) < 0)
        give_up("a connection to the test's bus");
    return bus::Bus(raw);
}

bus::Bus TestBus::connect_as(uid_t uid) const {
    // The raw system call changes this thread alone; the bus looks at who connects.
    constexpr auto kKeep = static_cast<uid_t>(-1);
    const uid_t before = geteuid();
    if (syscall(SYS_setresuid, kKeep, uid, kKeep) != 0)
        give_up("another user for the test");
    bus::Bus made = connect();
    if (syscall(SYS_setresuid, kKeep, before, kKeep) != 0)
        give_up("the way back to the test's user");
    return made;
}

}  // namespace dray::test
