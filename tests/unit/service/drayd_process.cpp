// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/service/drayd_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace dray::test {
namespace {

[[noreturn]] void give_up(const char* what) {
    std::perror(what);
    std::exit(1);
}

std::string read_text(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
}

/// In the abstract name space, where also a program that has left root may send.
FileDescriptor listen_for_notes(const std::string& name) {
    FileDescriptor made(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path + 1, name.data(), name.size());
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    if (bind(made.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0)
        give_up("a notify socket");
    return made;
}

}  // namespace

DraydProcess::DraydProcess() {
    // drayd may leave root.
    if (chmod(folder_.c_str(), 0755) != 0)
        give_up("a scratch folder");
    for (const char* name : {"/images", "/vault"})
        std::filesystem::create_directory(folder_ + name);
    notify_name_ = "dray-test-" + folder_.substr(folder_.size() - 6);
    notify_ = listen_for_notes(notify_name_);
    configure("");
}

DraydProcess::~DraydProcess() {
    if (pid_ > 0) {
        kill(pid_, SIGKILL);
        (void)wait();
    }
}

void DraydProcess::configure(const std::string& more) {
    std::ofstream(folder_ + "/dray.yaml") << "state-directory: " << folder_ << "/state\n"
                                          << "devices: {sources: [images], images: " << folder_ << "/images}\n"
                                          << "stores: {vault: {type: directory, path: " << folder_ << "/vault}}\n"
                                          << "clock: {require-sync: false}\n"
                                          << more;
}

void DraydProcess::start(std::vector<std::string> arguments) {
    if (arguments.empty())
        arguments = {"--config", folder_ + "/dray.yaml"};
    arguments.insert(arguments.begin(), DRAYD_PROGRAM);
    std::vector<char*> words;
    for (std::string& argument : arguments)
        words.push_back(argument.data());
    words.push_back(nullptr);
    const std::string log = folder_ + "/output";
    setenv("NOTIFY_SOCKET", ("@" + notify_name_).c_str(), 1);
    pid_ = fork();
    if (pid_ == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        const int file = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2(file, STDOUT_FILENO);
        dup2(file, STDERR_FILENO);
        execv(words[0], words.data());
        _exit(127);
    }
    unsetenv("NOTIFY_SOCKET");
    process_ = FileDescriptor(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
    if (pid_ < 0 || !process_)
        give_up(DRAYD_PROGRAM);
}

std::optional<std::string> DraydProcess::notified() {
    std::array<pollfd, 2> ends{{{notify_.get(), POLLIN, 0}, {process_.get(), POLLIN, 0}}};
    if (poll(ends.data(), ends.size(), -1) < 0 || (ends[0].revents & POLLIN) == 0)
        return std::nullopt;
    std::string note(4096, '\0');
    const ssize_t length = recv(notify_.get(), note.data(), note.size(), 0);
    note.resize(length < 0 ? 0 : static_cast<std::size_t>(length));
    return note;
}

bool DraydProcess::wait_for(const std::string& word) {
    while (const auto note = notified()) {
        if (note->find(word) != std::string::npos)
            return true;
    }
    return false;
}

void DraydProcess::signal(int number) const { kill(pid_, number); }

int DraydProcess::wait() {
    int status = 0;
    if (waitpid(pid_, &status, 0) != pid_)
        give_up("the end of drayd");
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

std::string DraydProcess::output() const { return read_text(folder_ + "/output"); }

std::string DraydProcess::status(const std::string& field) const {
    std::istringstream lines(read_text("/proc/" + std::to_string(pid_) + "/status"));
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with(field + ":"))
            return line.substr(field.size() + 1);
    }
    return "";
}

}  // namespace dray::test
