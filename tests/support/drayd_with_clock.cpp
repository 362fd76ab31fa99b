// SPDX-License-Identifier: Apache-2.0
//
// drayd around a clock that a test moves (rules.md 21): drayd_with_clock --config FILE --clock DIRECTORY. The file
// `clock` in the directory has three words: by how many seconds the wall clock is ahead of the machine's, by how many
// the time since boot is, and whether the clock counts as synchronised (1 or 0). A test puts another file in its place
// (rename), and the clock has jumped. Both numbers alike are time that has passed; one alone is somebody who sets the
// clock.
#include <pthread.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "config/loader.hpp"
#include "daemon/base/log.hpp"
#include "daemon/service.hpp"

namespace {

using namespace dray;

class MovedClock : public Clock {
public:
    explicit MovedClock(std::string directory)
        : directory_(std::move(directory)), changes_(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
        if (inotify_add_watch(changes_.get(), directory_.c_str(), IN_MOVED_TO) < 0) {
            std::perror(directory_.c_str());
            std::exit(2);
        }
        read_file();
    }

    TimePoint now() const override { return machine_.now() + wall_ahead_; }
    Microseconds since_boot() const override { return machine_.since_boot() + boot_ahead_; }
    bool is_synchronised() const override { return is_synchronised_; }
    int jump_descriptor() const override { return changes_.get(); }
    void heed_jump() const override {
        char events[4096];
        while (read(changes_.get(), events, sizeof events) > 0) {
        }
        read_file();
        // The test waits for it.
        log::info("test clock: {} {} {}", wall_ahead_.count() / 1'000'000, boot_ahead_.count() / 1'000'000,
                  is_synchronised_ ? 1 : 0);
    }

private:
    void read_file() const {
        long long wall = 0;
        long long boot = 0;
        int is_synced = 0;
        std::ifstream(directory_ + "/clock") >> wall >> boot >> is_synced;
        wall_ahead_ = std::chrono::seconds(wall);
        boot_ahead_ = std::chrono::seconds(boot);
        is_synchronised_ = is_synced == 1;
    }

    std::string directory_;
    FileDescriptor changes_;
    SystemClock machine_;
    mutable Microseconds wall_ahead_{0};
    mutable Microseconds boot_ahead_{0};
    mutable bool is_synchronised_ = false;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 5 || std::string(argv[1]) != "--config" || std::string(argv[3]) != "--clock")
        return 2;
    sigset_t signals;
    sigemptyset(&signals);
    for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGCHLD})
        sigaddset(&signals, number);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    (void)std::signal(SIGPIPE, SIG_IGN);
    auto config = load_config(argv[2]);
    if (!config) {
        std::fprintf(stderr, "%s\n", config.error().text().c_str());
        return 78;
    }
    log::start("drayd", config->log_level);
    const MovedClock clock(argv[4]);
    auto service = Service::create(std::move(*config), clock, {},
                                   [file = std::string(argv[2])] { return load_config(file); });
    if (!service) {
        log::error("{}", service.error().text());
        return 1;
    }
    const auto status = (*service)->run();
    return status ? *status : 1;
}
