// SPDX-License-Identifier: Apache-2.0
//
// dray-drive as a verb runs it: a child that has ended when this goes, and that a signal to drayctl ends as well.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"
#include "daemon/drive/client.hpp"

namespace dray::ctl {

class DriveProcess {
public:
    /// Starts it on an open device and a key (a sealed memfd) and sends `setup`. catch_interrupts() was called before.
    static Result<std::unique_ptr<DriveProcess>> start(int device, int key, const drive::Setup& setup);
    DriveProcess(const DriveProcess&) = delete;
    DriveProcess& operator=(const DriveProcess&) = delete;
    ~DriveProcess();

    /// Until end().
    drive::Client& client();
    /// Hangs up and waits: nobody else has the device open then. Internal: it ended otherwise than it should.
    Result<void> end();
    /// What is known about the end of dray-drive, for an error that says no more than that it came. Cancelled: a
    /// signal to the whole terminal came there first.
    Error explained(Error error);

private:
    explicit DriveProcess(pid_t pid);
    /// The status as of waitpid.
    int wait_for_end();

    pid_t pid_;
    std::optional<drive::Client> client_;
};

}  // namespace dray::ctl
