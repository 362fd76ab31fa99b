// SPDX-License-Identifier: Apache-2.0
//
// A dray-transfer that was taken over: the objects of the shipped program with two of its inner calls led through here
// (--wrap). It is honest until it is to ask dray-drive for a file "malice/transfer-COMMAND". It is as patient with dray-drive
// as the shipped one, only that its minutes are half a second.
#include <poll.h>

#include <cstdint>
#include <span>
#include <utility>

#include "daemon/drive/client.hpp"
#include "daemon/transfer/import.hpp"
#include "daemon/transfer/protocol.hpp"
#include "tests/support/malice/forbidden_calls.hpp"

#define DRAY_REAL(symbol) asm("__real_" symbol)
#define DRAY_WRAP(symbol) asm("__wrap_" symbol)
#define DRAY_SUBMIT                                                                                                  \
    "_ZN4dray5drive6Client6submitESt4spanIKSt7variantIJNS0_4OpenENS0_5CloseENS0_4ReadENS0_13MakeDirectoryENS0_6" \
    "CreateENS0_5WriteENS0_6FinishENS0_10CheckpointENS0_6RemoveENS0_4FindEEELm18446744073709551615EE"
#define DRAY_PATIENCE "_ZN4dray5drive6Client12set_patienceENSt6chrono8durationIlSt5ratioILl1ELl1000000EEEE"
#define DRAY_IMPORT "_ZN4dray8transfer6ImportC1ENS1_5PartsE"

namespace dray {

Result<void> real_submit(drive::Client* client, std::span<const drive::Request> requests) DRAY_REAL(DRAY_SUBMIT);
Result<void> wrapped_submit(drive::Client* client, std::span<const drive::Request> requests) DRAY_WRAP(DRAY_SUBMIT);
void real_patience(drive::Client* client, Microseconds patience) DRAY_REAL(DRAY_PATIENCE);
void wrapped_patience(drive::Client* client, Microseconds patience) DRAY_WRAP(DRAY_PATIENCE);
void real_import(transfer::Import* import, transfer::Import::Parts* parts) DRAY_REAL(DRAY_IMPORT);
void wrapped_import(transfer::Import* import, transfer::Import::Parts* parts) DRAY_WRAP(DRAY_IMPORT);

namespace {

using malice::say;

constexpr int kHurry = 120;
constexpr std::string_view kCommand = "malice/transfer-";

void send_raw(std::span<const std::byte> bytes) {
    (void)send(transfer::kEngineFd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
}
void send_raw(const transfer::FromTransfer& message) { send_raw(transfer::encode(message)); }

void expect_refused(const std::string& what, long answer) {
    if (answer >= 0)
        say(what + " got through");
}

void open_quietly(const std::string& path, int flags) {
    expect_refused("opening " + path, syscall(SYS_openat, AT_FDCWD, path.c_str(), flags | O_CLOEXEC, 0600));
}

/// The state directory, by the lock that it holds in it.
std::string find_state_directory() {
    for (int fd = 3; fd < 64; ++fd) {
        std::array<char, 4096> target{};
        const ssize_t length = readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), target.data(), target.size());
        const std::string_view path(target.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
        if (const std::size_t place = path.rfind("/transfers/"); place != std::string_view::npos)
            return std::string(path.substr(0, place));
    }
    say("no state directory was found");
    return {};
}

/// Everything that its box refuses without ending it.
void try_walls() {
    const int drayd = getppid();
    for (const malice::ForbiddenCall& call : malice::forbidden_calls(drayd))
        expect_refused(std::string(call.name), call.make());
    const std::string state = find_state_directory();
    const std::string lab = state.substr(0, state.rfind('/'));
    for (const char* path : {"/etc/passwd", "/etc/shadow", "/proc/self/mem", "/dev/null", "/proc/1/environ"})
        open_quietly(path, O_RDONLY);
    for (const char* name : {"/catalog.sqlite", "/master.key", "/lock", "/transfers/job-other/secret"}) {
        open_quietly(state + name, O_RDONLY);
        open_quietly(state + name, O_RDWR);
    }
    open_quietly(state, O_RDONLY | O_DIRECTORY);
    open_quietly(state + "/owned", O_WRONLY | O_CREAT);
    open_quietly(lab + "/drives", O_RDONLY | O_DIRECTORY);
    open_quietly("/proc/" + std::to_string(drayd) + "/mem", O_RDWR);
    const std::string other = state + "/transfers/job-other/secret";
    expect_refused("unlink", syscall(SYS_unlinkat, AT_FDCWD, other.c_str(), 0));
    expect_refused("rename", syscall(SYS_renameat2, AT_FDCWD, other.c_str(), AT_FDCWD, (other + "2").c_str(), 0));
    expect_refused("mkdir", syscall(SYS_mkdirat, AT_FDCWD, (state + "/owned").c_str(), 0700));
    // Everybody of its group, its session, its user.
    expect_refused("kill everybody", syscall(SYS_kill, -1, SIGCONT));
    say("tried all walls");
}

std::string hostile_text() {
    std::string text = "\x1b[2Jowned\r\n\x7f\xc2\x9b" "31m\xff\xc3(";
    text.resize(4000, '\x1b');
    return text;
}

[[noreturn]] void fall_silent() {
    for (;;)
        (void)poll(nullptr, 0, -1);
}

void obey(std::string_view command) {
    if (command == "walls")
        try_walls();
    if (command == "flood")
        for (std::uint64_t number = 0;; ++number) {
            transfer::Progress progress;
            progress.phase = number % 2 == 0 ? hostile_text() : "Verifying";
            progress.counters.bytes_done = number;
            progress.counters.bytes_total = 1;
            send_raw(transfer::FromTransfer(progress));
        }
    if (command == "garbage") {
        send_raw(std::vector<std::byte>(100, std::byte{7}));
        fall_silent();
    }
    if (command == "turns") {
        // Others wait for theirs.
        for (int count = 0; count < 200; ++count) {
            send_raw(transfer::FromTransfer(transfer::UnlockWanted{hostile_text()}));
            send_raw(transfer::FromTransfer(transfer::Note{true, hostile_text()}));
        }
    }
    if (command == "report") {
        transfer::Report report;
        report.ending = transfer::Ending::Faulted;
        report.kind = ErrorKind::Denied;
        report.status = report.message = report.volume_id = report.error_log_uri = hostile_text();
        report.counters.bytes_total = report.counters.bytes_done = ~0ULL;
        send_raw(transfer::FromTransfer(transfer::Unlocked{hostile_text(), hostile_text(), hostile_text(), "gpt"}));
        send_raw(transfer::FromTransfer(report));
        _exit(0);
    }
}

}  // namespace

Result<void> wrapped_submit(drive::Client* client, std::span<const drive::Request> requests) {
    for (const drive::Request& request : requests)
        if (const auto* open = std::get_if<drive::Open>(&request))
            if (const std::size_t place = open->path.find(kCommand); place != std::string::npos)
                obey(std::string_view(open->path).substr(place + kCommand.size()));
    return real_submit(client, requests);
}

void wrapped_patience(drive::Client* client, Microseconds patience) { real_patience(client, patience / kHurry); }

void wrapped_import(transfer::Import* import, transfer::Import::Parts* parts) {
    parts->patience /= kHurry;
    real_import(import, parts);
}

}  // namespace dray
