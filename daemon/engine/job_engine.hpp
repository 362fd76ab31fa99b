// SPDX-License-Identifier: Apache-2.0
//
// Jobs, drives, devices and the transfers between them: every decision of drayd. Loop thread only. Each
// change is in the catalog before it is acted on or announced. Calls answer at once; what takes long goes
// on in processes of its own and shows in the observer.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "daemon/base/clock.hpp"
#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/secret.hpp"
#include "daemon/catalog/catalog.hpp"
#include "daemon/device/device.hpp"
#include "daemon/engine/engine_observer.hpp"
#include "daemon/engine/transfer_process.hpp"
#include "daemon/format/blob_list.hpp"
#include "daemon/loop/event_loop.hpp"
#include "daemon/model/job.hpp"
#include "daemon/model/job_state.hpp"

namespace dray {

struct CreateJobRequest {
    std::string name;
    JobType type = JobType::Import;
    std::string store;
    std::optional<std::string> diagnostics_path;
    LogLevel log_level = LogLevel::Error;
    bool backup_manifest = false;
    std::map<std::string, std::string> tags;
    std::uint32_t expected_drives = 0;
    /// Of an export, one of both: what it takes, or the blob that lists it.
    format::BlobSelection selection;
    std::string list_blob;
};

struct AddDriveRequest {
    std::string serial;
    std::optional<SecretBytes> key;
    std::string manifest;
    std::string manifest_hash;
    std::string header_hash;
    std::string volume_id;
    std::uint32_t partition = 0;
    /// Of an export: what the disk holds may be lost. It takes nothing else: the key is made here.
    bool may_overwrite = false;
};

struct PreviewRequest {
    std::string store;
    /// Either what it would take, or the blob that lists it.
    format::BlobSelection selection;
    std::string list_blob;
    /// How large each drive would be.
    Bytes drive_size = 0;
};

struct ShipRequest {
    std::string carrier;
    std::string tracking;
    /// Name, street and so on; kept as tags with kReturnAddress in front.
    std::optional<std::map<std::string, std::string>> return_address;
};

/// Return addresses are tags: they belong to the job, can be seen, and go with it.
inline constexpr const char* kReturnAddress = "return-address.";

struct RetryRequest {
    std::optional<SecretBytes> key;
    std::optional<std::string> manifest;
    std::optional<std::string> manifest_hash;
    std::optional<std::uint32_t> partition;
    bool may_overwrite = false;
};

struct UpdateJobRequest {
    std::optional<std::map<std::string, std::string>> tags;
    std::optional<LogLevel> log_level;
    std::optional<bool> backup_manifest;
    std::optional<std::string> carrier;
    std::optional<std::string> tracking;
    /// Only true is legal; the same as cancel().
    std::optional<bool> cancel_requested;
};

/// Bytes a second and time left; 0 when not known.
struct Rate {
    std::uint64_t bytes_per_second = 0;
    Microseconds remaining{0};
};

/// How long things wait. Tests are in more of a hurry.
struct EnginePace {
    /// Device sources announce what is there when they start; udev may still be busy with a cold boot.
    Microseconds sources_settle = std::chrono::seconds(5);
    /// Between looks whether a fault has gone away by itself (rules.md 2).
    Microseconds probe = std::chrono::minutes(5);
    /// EIO comes before udev's `remove`; a pair gets this long to end by itself (rules.md 1).
    Microseconds gone = std::chrono::seconds(3);
    /// Before a device that somebody else has open is tried again.
    Microseconds busy = std::chrono::seconds(1);
    Microseconds unlock = std::chrono::seconds(60);
};

class JobEngine {
public:
    /// All references outlive the engine.
    JobEngine(const Config& config, Catalog& catalog, const Clock& clock, EventLoop& loop,
              EngineObserver& observer, TransferStarter start = {}, const EnginePace& pace = {});
    ~JobEngine();
    JobEngine(const JobEngine&) = delete;
    JobEngine& operator=(const JobEngine&) = delete;

    /// Before start(): the processes that it starts get uids of their own.
    void run_children_as(const ChildUsers& users);
    /// Loads the catalog and sets right what a crash left: drives that were Transferring are Received
    /// again. Devices are announced to device_present afterwards.
    Result<void> start();
    /// Starts nothing new, asks every transfer to checkpoint, calls `stopped` when the last has ended
    /// (those that have not after 5 s are killed).
    void stop(std::function<void()> stopped);

    // What callers may ask. Every error is a sentence for them; none changes anything.
    Result<const Job*> create_job(CreateJobRequest request);
    Result<const Drive*> add_drive(const std::string& job, AddDriveRequest request);
    Result<void> update(const std::string& job, const UpdateJobRequest& request);
    Result<void> ship(const std::string& job, const ShipRequest& request);
    Result<void> cancel(const std::string& job, std::optional<DrainMode> drain);
    Result<void> close(const std::string& job);
    Result<void> remove(const std::string& job, bool force);
    Result<void> retry(const std::string& job, const std::string& serial, RetryRequest request);
    Result<void> release(const std::string& job, const std::string& serial);
    /// `serial` may be empty when the job has just one drive that waits for a device.
    /// `may_overwrite`: for a drive of an export.
    Result<void> assign(const std::string& device_id, const std::string& job, const std::string& serial,
                        bool may_overwrite = false);
    /// The key that was made for a drive of an export; that it was read is remembered. Unsupported: a drive of an import.
    Result<SecretBytes> read_key(const std::string& job, const std::string& serial);
    /// `done` is called once, later, with what the check said.
    Result<void> check_store(const std::string& store, std::function<void(Result<void>)> done);
    /// What an export would take and need, as JSON in a sealed memfd: `done` is called once, later. NotFound: no such store.
    /// InvalidArgument: nothing selected, or twice; no drive could be so small. LimitReached: as many as may be are under way.
    using PreviewDone = std::function<void(Result<FileDescriptor>)>;
    Result<void> preview_export(const PreviewRequest& request, PreviewDone done);

    // The configuration is the caller's, who puts another one in its place between these two.
    /// Why `next` cannot be, as sentences: stores that unfinished jobs need.
    std::vector<std::string> obstacles_to(const Config& next) const;
    /// Acts by what is in `config` now; `before` is what was in it.
    void reconfigured(const Config& before);

    // Device sources report here.
    void device_present(const Device& device);
    void device_removed(const std::string& id);

    // What can be seen. Pointers hold until the loop goes on. Names compare without regard to case.
    const Job* find_job(const std::string& name) const;
    std::vector<const Job*> jobs() const;
    const DeviceEntry* find_device(const std::string& id) const;
    /// The device that carries this drive now, or null.
    const DeviceEntry* device_of(const Job& job, const Drive& drive) const;
    std::vector<const DeviceEntry*> devices() const;
    const StoreEntry* find_store(const std::string& name) const;
    std::vector<const StoreEntry*> stores() const;
    Rate rate_of(const Job& job, const Drive& drive) const;
    Rate rate_of(const Job& job) const;
    /// Drives of the job whose device is plugged in.
    unsigned drives_here(const Job& job) const;
    unsigned active_transfers() const;
    const Config& config() const;
    /// What is wrong with drayd itself and needs a hand, as sentences: a clock that is not trusted, a master key that
    /// is missing.
    std::vector<std::string> problems() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace dray
