// SPDX-License-Identifier: Apache-2.0
//
// What dray-transfer is started for: each task from its first step to the Report. They run on a thread of
// their own, in the box; the main thread talks to drayd meanwhile.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "daemon/base/clock.hpp"
#include "daemon/drive/client.hpp"
#include "daemon/format/blob_list.hpp"
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
/// Fills the drive behind `drive`; export_task.cpp.
Report run_export(const Surroundings& around, drive::Client& drive);
/// Gives a drive of an export up: what it was to get is for others again. Part of run_abandon().
Result<Report> abandon_export(const Surroundings& around);
/// Leaves what it has found as preview.json in the task's directory; export_preview.cpp.
Report run_preview(const Surroundings& around);

/// With what the task knows of it. A credential that is none of its kind is Denied, like one that is refused.
Result<std::unique_ptr<store::BlobStore>> open_store_of(const Surroundings& around);
/// What an export is to take, from the store's list blob or what drayd has put into the directory. Corrupt: no such list.
Result<format::BlobSelection> selection_of(const Task& task, const std::string& directory, store::BlobStore& store);

/// How long dray-drive may think about one request: longer than a dying disk's own retries.
inline constexpr Microseconds kDrivePatience = std::chrono::minutes(10);
/// Held all the process's life: never two writers (rules.md 9).
Result<FileDescriptor> lock_directory(const Surroundings& around);
/// For failures between the two programs: no mending helps, the pair is started anew.
Report broken(const Error& error);
/// Stop was obeyed.
Report stopped();


/// Nothing uncommitted stays behind in the store (rules.md 19).
Result<void> throw_away(const std::vector<Upload>& uploads, store::BlobStore& store);

}  // namespace dray::transfer
