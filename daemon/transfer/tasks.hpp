// SPDX-License-Identifier: Apache-2.0
//
// What dray-transfer is started for: each task from its first step to the Report. They run on a thread of
// their own, in the box; the main thread talks to drayd meanwhile.
#pragma once

#include <string>
#include <vector>

#include "daemon/base/clock.hpp"
#include "daemon/drive/client.hpp"
#include "daemon/transfer/control.hpp"
#include "daemon/transfer/engine_link.hpp"
#include "daemon/transfer/journal.hpp"
#include "daemon/transfer/protocol.hpp"
#include "drivers/store/blob_store.hpp"
#include "drivers/store/store_list.hpp"

namespace dray::transfer {

/// Everything must outlive the task.
struct Surroundings {
    const Task& task;
    EngineLink& engine;
    Control& control;
    ProgressCounters& progress;
    const Clock& clock;
    /// Of the running kernel; journals are bound to it.
    std::string boot_id;
    /// Secrets and certificates; the rest of it is the tasks' own.
    store::StoreAccess access;
};

/// The site can mend it.
Report faulted(const Error& error);

/// Copies the drive behind `drive`, whose ring is set up.
Report run_import(const Surroundings& around, drive::Client& drive);
Report run_abandon(const Surroundings& around);
Report run_check(const Surroundings& around);

/// Nothing uncommitted stays behind in the store (rules.md 19).
Result<void> throw_away(const std::vector<Upload>& uploads, store::BlobStore& store);

}  // namespace dray::transfer
