// SPDX-License-Identifier: Apache-2.0
//
// drayd: arguments, signal mask, configuration, privileges, Service, exit status.
#include <pthread.h>
#include <systemd/sd-daemon.h>

#include <csignal>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

#include "config/loader.hpp"
#include "daemon/base/log.hpp"
#include "daemon/privileges.hpp"
#include "daemon/service.hpp"

namespace {

using namespace dray;

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
/// EX_CONFIG: systemd is told not to start us again until somebody has changed something.
constexpr int kExitConfig = 78;

constexpr std::string_view kHelp =
    "drayd [--config FILE]\n\n"
    "Imports plugged-in drives into blob stores; drayctl(1) talks to it over D-Bus.\n\n"
    "  --config FILE   read FILE alone, not /etc/dray/dray.yaml and dray.yaml.d\n"
    "  --version       show the version\n"
    "  --help          show this help\n\n"
    "It takes the bus that DBUS_SYSTEM_BUS_ADDRESS names, or the system bus.\n";

struct Arguments {
    std::string config_file;
    /// The program ends at once with this.
    std::optional<int> exit_status;
};

void print(std::FILE* file, std::string_view text) {
    // Where standard output is closed there is nobody to tell.
    (void)std::fwrite(text.data(), 1, text.size(), file);
}

Arguments wrong_usage(const std::string& sentence) {
    print(stderr, "drayd: " + sentence + "; try drayd --help\n");
    return {.config_file = "", .exit_status = kExitUsage};
}

Arguments read_arguments(int argc, char** argv) {
    Arguments arguments;
    for (int i = 1; i < argc; ++i) {
        const std::string_view word = argv[i];
        if (word == "--help" || word == "-h") {
            print(stdout, kHelp);
            return {.config_file = "", .exit_status = 0};
        }
        if (word == "--version") {
            print(stdout, "drayd " DRAY_VERSION "\n");
            return {.config_file = "", .exit_status = 0};
        }
        if (word.starts_with("--config="))
            arguments.config_file = word.substr(word.find('=') + 1);
        else if (word != "--config")
            return wrong_usage("unknown argument \"" + std::string(word) + "\"");
        else if (++i < argc)
            arguments.config_file = argv[i];
        if (arguments.config_file.empty())
            return wrong_usage("--config needs a file");
    }
    return arguments;
}

/// Before the first thread, so that all of them inherit it: these signals reach the loop alone.
void block_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGCHLD})
        sigaddset(&signals, number);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    // A reader that has gone shows as an error of the write.
    (void)std::signal(SIGPIPE, SIG_IGN);
}

int failed(const Error& error, int status) {
    log::error("{}", error.text());
    (void)sd_notifyf(0, "STATUS=%s", error.text().c_str());
    return status;
}

int serve(Config config, const std::string& config_file) {
    // Changing the uid makes a process dumpable again, so root goes first.
    const auto become_harmless = [state = config.state_directory]() -> Result<std::optional<ChildUsers>> {
        DRAY_LET(const std::optional<ChildUsers> users, settle_users(state));
        DRAY_TRY(harden_process());
        return users;
    };
    const SystemClock clock;
    auto service = Service::create(std::move(config), clock, become_harmless,
                                   [config_file] { return load_config(config_file); });
    if (!service)
        return failed(service.error(),
                      service.error().kind() == ErrorKind::Unsupported ? kExitConfig : kExitFailed);
    const auto status = (*service)->run();
    return status ? *status : failed(status.error(), kExitFailed);
}

}  // namespace

int main(int argc, char** argv) {
    const Arguments arguments = read_arguments(argc, argv);
    if (arguments.exit_status)
        return *arguments.exit_status;
    block_signals();
    auto config = load_config(arguments.config_file);
    if (!config) {
        // Every mistake on a line of its own, as a compiler would show them.
        print(stderr, config.error().text() + "\n");
        return kExitConfig;
    }
    log::start("drayd", config->log_level);
    config->state_directory = state_directory_of(config->state_directory);
    return serve(std::move(*config), arguments.config_file);
}
