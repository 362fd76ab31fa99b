// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/drive_process.hpp"

#include <signal.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "daemon/ctl/interrupt.hpp"

namespace dray::ctl {

DriveProcess::DriveProcess(pid_t pid) : pid_(pid) {
    end_on_interrupt(pid);
}

Result<std::unique_ptr<DriveProcess>> DriveProcess::start(int device, int key, const drive::Setup& setup) {
    DRAY_LET(drive::Child child, drive::spawn(device, key));
    std::unique_ptr<DriveProcess> process(new DriveProcess(child.pid));
    DRAY_LET(process->client_, drive::Client::connect(std::move(child.socket), setup));
    return process;
}

DriveProcess::~DriveProcess() {
    if (pid_ > 0)
        (void)kill(pid_, SIGKILL);  // what it was doing is worth nothing any more
    (void)wait_for_end();
}

drive::Client& DriveProcess::client() {
    return *client_;  // NOLINT(bugprone-unchecked-optional-access): start() has filled it
}

Result<void> DriveProcess::end() {
    client_.reset();
    if (wait_for_end() != 0)
        return fail(ErrorKind::Internal, "dray-drive has ended unexpectedly");
    return {};
}

Error DriveProcess::explained(Error error) {
    // An error of kind Gone may also be the device's.
    if (error.kind() != ErrorKind::Gone || !client_ || !client_->is_broken())
        return error;
    client_.reset();
    const int status = wait_for_end();
    if (!WIFSIGNALED(status))
        return error;
    // Ctrl-C goes to all that the terminal runs, and may have come there first.
    if (const int number = WTERMSIG(status); number == SIGINT || number == SIGTERM || number == SIGHUP)
        return {ErrorKind::Cancelled, "stopped by a signal"};
    return {ErrorKind::Internal, fmt::format("dray-drive was ended by signal {} ({})", WTERMSIG(status),
                                             strsignal(WTERMSIG(status)))};
}

int DriveProcess::wait_for_end() {
    int status = 0;
    if (pid_ <= 0)
        return status;
    // A signal must find no number in our hands that may be somebody else's: first look, then let go of it, then reap.
    siginfo_t found{};
    while (waitid(P_PID, static_cast<id_t>(pid_), &found, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
    }
    end_on_interrupt(0);
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status;
}

}  // namespace dray::ctl
