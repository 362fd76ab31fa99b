// SPDX-License-Identifier: Apache-2.0
//
// Unlocking in a short-lived process of its own: whatever a crafted header does to the library that
// parses it, it does not do it to the process that reads the drive afterwards.
#pragma once

#include <functional>
#include <optional>
#include <utility>

#include "daemon/base/file_descriptor.hpp"
#include "drivers/volume/open_error.hpp"
#include "drivers/volume/unlock.hpp"

namespace dray::drive {

class UnlockChild {
public:
    /// Forks. `forget` runs in the child first and lets go of all that the child has no business with;
    /// the child then shuts itself in the unlocking box and reads the key from `key_fd`.
    static Result<UnlockChild> start(volume::BlockDevice& device, int key_fd,
                                     const volume::UnlockPolicy& policy,
                                     const std::function<void()>& forget);

    /// Waits for the answer; fit for the serving box. Nothing: the peer at `socket_fd` has gone meanwhile.
    std::optional<volume::OpenResult<volume::UnlockedVolume>> wait(int socket_fd);

private:
    explicit UnlockChild(FileDescriptor pipe) : pipe_(std::move(pipe)) {}
    FileDescriptor pipe_;
};

}  // namespace dray::drive
