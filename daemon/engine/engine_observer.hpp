// SPDX-License-Identifier: Apache-2.0
//
// What the engine tells whoever watches it: the bus. Called on the loop thread, after the change is in the
// catalog. Observers look and tell; they do not call the engine back.
#pragma once

#include <string>

#include "daemon/device/device.hpp"
#include "daemon/model/job.hpp"

namespace dray {

/// State changes go out at once; progress at most once a second per object (rules.md 24).
enum class Change { State, Progress };

/// A device and what the engine thinks of it.
struct DeviceEntry {
    Device device;
    /// Name of the job it belongs to, and that job's serial for it; "" unassigned.
    std::string job;
    std::string serial;
    /// Why nothing is done with it, as a sentence; "" when all is well.
    std::string problem;
    /// How often it was opened since it was plugged in.
    std::uint64_t opens = 0;
};

struct StoreEntry {
    std::string name;
    std::string type;
    /// Where it is, without a secret.
    std::string url;
    bool is_reachable = true;
    bool is_encrypted = false;
    std::string problem;
};

class EngineObserver {
public:
    EngineObserver() = default;
    EngineObserver(const EngineObserver&) = delete;
    EngineObserver& operator=(const EngineObserver&) = delete;
    virtual ~EngineObserver() = default;

    virtual void job_added(const Job& job) = 0;
    virtual void job_changed(const Job& job, Change change) = 0;
    /// The job and its drives are gone from the catalog; `job` is the last that was known.
    virtual void job_removed(const Job& job) = 0;
    /// After the last job_changed: its outcome is set.
    virtual void job_finished(const Job& job) = 0;
    virtual void drive_added(const Job& job, const Drive& drive) = 0;
    virtual void drive_changed(const Job& job, const Drive& drive, Change change) = 0;
    virtual void drive_finished(const Job& job, const Drive& drive) = 0;
    virtual void device_added(const DeviceEntry& device) = 0;
    virtual void device_changed(const DeviceEntry& device) = 0;
    virtual void device_removed(const DeviceEntry& device) = 0;
    virtual void store_added(const StoreEntry& store) = 0;
    virtual void store_changed(const StoreEntry& store) = 0;
    virtual void store_removed(const StoreEntry& store) = 0;
    /// The number of running transfers.
    virtual void transfers_changed() = 0;
    /// config() is another one.
    virtual void settings_changed() = 0;
    /// JobEngine::problems().
    virtual void problems_changed() = 0;
};

}  // namespace dray
