// SPDX-License-Identifier: Apache-2.0
//
// dray-transfer: takes one drive's content from dray-drive, verifies it, and puts it into the store. It holds
// the store's credentials and never sees the drive itself. Started by drayd only; protocol.hpp says with
// which descriptors. It ends when its socket to drayd closes.
#include <malloc.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <ctime>
#include <optional>
#include <span>
#include <thread>
#include <utility>

#include "daemon/base/file.hpp"
#include "daemon/base/log.hpp"
#include "daemon/base/memfd.hpp"
#include "daemon/base/overloaded.hpp"
#include "daemon/confine/confine.hpp"
#include "daemon/transfer/group_access.hpp"
#include "daemon/transfer/network.hpp"
#include "daemon/transfer/tasks.hpp"

#if defined(__SANITIZE_ADDRESS__)
// Looking for leaks at the end takes ptrace, which the box refuses.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }
#endif

namespace dray::transfer {
namespace {

/// Progress goes up at most four times a second.
constexpr int kProgressMilliseconds = 250;

/// What needs no right and must come before there are threads.
void prepare() {
    // Lanes come and go with few allocations; an arena each would be most of the memory there is.
    (void)mallopt(M_ARENA_MAX, 2);
    tzset();
    (void)std::signal(SIGPIPE, SIG_IGN);
}

/// The last that is done with drayd's uid, for the user that comes next.
void hand_files_over(const Task& task, EngineLink& engine) {
    // Not without drayd; the change of the uid takes this back.
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    Result<void> opened;
    for (const std::string& directory : {task.directory, task.plan_directory})
        if (opened && !directory.empty())
            opened = open_to_group(directory, [] {});
    if (opened && !task.store.path.empty())
        opened = open_to_group(task.store.path, [&] {
            engine.note("what is in " + task.store.path +
                        " is opened to its group, because dray-transfer has a user of its own now; this happens once");
        });
    // Whatever needs what stayed shut says so then.
    if (!opened)
        engine.warn(opened.error().text());
}

/// While files can still be opened.
Result<std::string> read_boot_id() {
    DRAY_LET(std::string boot_id, read_file("/proc/sys/kernel/random/boot_id", 64));
    boot_id.resize(boot_id.find_last_not_of('\n') + 1);
    return boot_id;
}

/// From the memfds beside the task.
Result<store::StoreAccess> read_secrets(const Task& task, std::span<const FileDescriptor> memfds) {
    store::StoreAccess access;
    if (task.has_credential) {
        DRAY_LET(SecretBytes secret, read_sealed_memfd(memfds.front().get(), kMaxKeyBytes));
        access.credential = std::make_shared<store::Credential>(std::move(secret));
    }
    if (task.has_encryption_key) {
        DRAY_LET(SecretBytes secret, read_sealed_memfd(memfds.back().get(), kMaxKeyBytes));
        access.encryption_key = std::make_shared<const SecretBytes>(std::move(secret));
    }
    return access;
}

Result<std::string> shut_in(const Task& task, const std::optional<Peer>& peer) {
    confine::TransferBox box;
    if (peer)
        box.connect_ports.push_back(peer->port);
    struct stat status {};
    // A directory that is not there is the store's to complain about.
    for (const std::string& directory : {task.directory, task.plan_directory, task.store.path})
        if (!directory.empty() && stat(directory.c_str(), &status) == 0 && S_ISDIR(status.st_mode))
            box.write_directories.push_back(directory);
    return confine::box_transfer(box);
}

/// The task on its thread, and the main thread's talk with drayd until it is done.
class Conversation {
public:
    Conversation(const Task& task, EngineLink& engine, std::string boot_id, store::StoreAccess access,
                 std::optional<drive::Client> drive)
        : task_(task),
          engine_(engine),
          drive_(std::move(drive)),
          done_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
          around_{task_, engine_, control_, progress_, clock_, std::move(boot_id), std::move(access)} {
        if (task_.is_draining)
            control_.drain(task_.drain);
    }

    Result<void> run() {
        const std::jthread worker([this] {
            report_ = perform();
            is_done_ = true;
            const std::uint64_t one = 1;
            (void)!write(done_.get(), &one, sizeof one);  // the only write there is
        });
        while (!is_done_)
            talk();
        tell_progress();
        engine_.send(report_);
        return {};
    }

private:
    Report perform() {
        switch (task_.kind) {
            case TaskKind::Import: return run_import(around_, *drive_);
            case TaskKind::Abandon: return run_abandon(around_);
            case TaskKind::CheckStore: return run_check(around_);
            case TaskKind::Export: return run_export(around_, *drive_);
            case TaskKind::PreviewExport: return run_preview(around_);
        }
        return {};
    }

    void talk() {
        pollfd waiting[] = {{engine_.fd(), POLLIN, 0}, {done_.get(), POLLIN, 0}};
        if (poll(waiting, 2, kProgressMilliseconds) < 0 && errno != EINTR)
            give_up();
        if (waiting[0].revents != 0)
            listen();
        const Microseconds now = clock_.since_boot();
        if (now - told_ >= std::chrono::milliseconds(kProgressMilliseconds)) {
            told_ = now;
            tell_progress();
        }
    }

    void listen() {
        const Result<Received> received = engine_.receive();
        // Without drayd nobody may go on writing (rules.md 9). The journal stands any end.
        if (!received)
            give_up();
        std::visit(Overloaded{[](const Task&) { give_up(); },
                              [&](const UnlockGranted&) { control_.grant_unlock(); },
                              [&](const Drain& drain) { control_.drain(drain.mode); },
                              [&](const Stop&) { stop(); },
                              [&](const Logs& logs) { control_.set_logs(logs); },
                              [&](const Credential&) { renew(received->descriptors.front()); }},
                   received->message);
    }

    void renew(const FileDescriptor& memfd) {
        Result<SecretBytes> secret = read_sealed_memfd(memfd.get(), kMaxKeyBytes);
        if (!secret || !around_.access.credential)
            give_up();
        around_.access.credential->renew(*std::move(secret));
    }

    void stop() {
        control_.request_stop();
        // Nothing has been copied yet: what the thread waits for (another process, a key derivation) need not
        // be waited for.
        if (!control_.is_copying() && has_drive(task_.kind)) {
            Report report;
            report.ending = Ending::Stopped;
            engine_.send(report);
            _exit(0);
        }
    }

    [[noreturn]] static void give_up() { _exit(1); }

    void tell_progress() {
        Progress progress;
        progress.phase = progress_.shown_phase();
        progress.counters = progress_.counters();
        progress.pieces_journaled = progress_.pieces_journaled;
        progress.file = progress_.file();
        engine_.send(progress);
    }

    const Task& task_;
    EngineLink& engine_;
    std::optional<drive::Client> drive_;
    SystemClock clock_;
    Control control_;
    ProgressCounters progress_;
    FileDescriptor done_;
    std::atomic<bool> is_done_ = false;
    Report report_;
    Microseconds told_{0};
    Surroundings around_;
};

Result<void> run(std::span<char* const> arguments) {
    DRAY_LET(const std::optional<confine::User> user, confine::read_user_argument(arguments));
    prepare();
    // All of this is drayd's own; nothing of a drive is read before the rights are gone.
    EngineLink engine{MessageSocket(FileDescriptor(kEngineFd))};
    DRAY_LET(const Received first, engine.receive());
    const auto* task = std::get_if<Task>(&first.message);
    if (task == nullptr)
        return fail(ErrorKind::Corrupt, "drayd did not begin with a task");
    DRAY_LET(store::StoreAccess access, read_secrets(*task, first.descriptors));
    const Result<std::optional<Peer>> peer = peer_of(task->store);
    const Result<void> network = peer ? check_network(task->store) : fail(peer.error());
    Result<std::string> certificates = network ? read_certificates(task->store) : fail(network.error());
    if (!certificates) {
        engine.send(faulted(certificates.error()));
        return {};
    }
    access.certificates = *std::move(certificates);
    if (user)
        hand_files_over(*task, engine);
    DRAY_TRY(confine::drop_privileges(user));
    DRAY_TRY(warm_up(*peer));
    set_file_mode_mask(user.has_value(), {task->directory, task->store.path});
    DRAY_LET(std::string boot_id, read_boot_id());
    std::optional<drive::Client> drive;
    if (has_drive(task->kind)) {
        drive::Setup setup;
        setup.ring_size = task->ring;
        setup.unlock_memory = task->unlock_memory;
        setup.allow_plain = task->allow_plain;
        setup.strict_header_hash = task->strict_header_hash;
        DRAY_LET(drive, drive::Client::connect(MessageSocket(FileDescriptor(kDriveFd)), setup));
    }
    // What the kernel cannot do, drayd has said once for all of us.
    const std::string known = confine::file_system_problem();
    DRAY_LET(const std::string warning, shut_in(*task, *peer));
    if (warning != known)
        engine.warn(warning);
    return Conversation(*task, engine, std::move(boot_id), std::move(access), std::move(drive)).run();
}

}  // namespace
}  // namespace dray::transfer

// What is thrown here is lack of memory, and that may end the program.
// NOLINTNEXTLINE(bugprone-exception-escape)
int main(int argc, char** argv) {
    dray::log::start("dray-transfer", dray::log::Level::Info);
    const dray::Result<void> result = dray::transfer::run({argv, static_cast<std::size_t>(argc)});
    if (!result && result.error().kind() != dray::ErrorKind::Gone)
        dray::log::error("{}", result.error().text());
    return result ? 0 : 1;
}
