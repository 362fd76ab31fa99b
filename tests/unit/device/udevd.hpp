// SPDX-License-Identifier: Apache-2.0
//
// A real udevd for the tests: the machine's own, or one of ours that ends with the tests.
#pragma once

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace dray {

/// Runs a shell line; its standard output without the last line break, and whether it exited with
/// 0.
inline std::pair<bool, std::string> shell(const std::string& line) {
    FILE* pipe = popen(line.c_str(), "re");  // NOLINT(cert-env33-c): tests know what they run
    if (pipe == nullptr)
        return {false, ""};
    std::string output;
    std::array<char, 4096> buffer;
    while (const std::size_t length = fread(buffer.data(), 1, buffer.size(), pipe))
        output.append(buffer.data(), length);
    const bool good = pclose(pipe) == 0;
    while (output.ends_with('\n'))
        output.pop_back();
    return {good, output};
}

class Udevd {
public:
    /// Empty when one runs now; otherwise why not.
    static std::string start() {
        static Udevd only;
        return only.problem_;
    }

private:
    static bool runs() { return shell("udevadm control --ping --timeout=10 2>/dev/null").first; }

    Udevd() {
        if (geteuid() != 0) {
            problem_ = "loop devices and udevd need root";
            return;
        }
        if (runs())
            return;
        const char* program = "/lib/systemd/systemd-udevd";
        if (access(program, X_OK) < 0) {
            problem_ = "there is no systemd-udevd here";
            return;
        }
        // A first line on its pipe's other end is not promised; its control socket is, so poll
        // that.
        child_ = fork();
        if (child_ == 0) {
            prctl(PR_SET_PDEATHSIG, SIGTERM);
            if (freopen("/dev/null", "w", stderr) != nullptr)
                execl(program, program, nullptr);
            _exit(127);
        }
        for (int i = 0; i < 100 && !runs(); ++i) {
            if (waitpid(child_, nullptr, WNOHANG) == child_) {
                child_ = -1;
                problem_ = "systemd-udevd does not run here";
                return;
            }
            usleep(50'000);
        }
        if (!runs())
            problem_ = "systemd-udevd does not answer";
    }
    ~Udevd() {
        if (child_ > 0) {
            kill(child_, SIGTERM);
            waitpid(child_, nullptr, 0);
        }
    }

    pid_t child_ = -1;
    std::string problem_;
};

}  // namespace dray
