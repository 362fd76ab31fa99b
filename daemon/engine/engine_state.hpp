// SPDX-License-Identifier: Apache-2.0
//
// What a JobEngine consists of, for its own files alone: job_engine.cpp answers callers, transfers.cpp runs
// copies, life.cpp moves drives and jobs on, timers.cpp does what is due for its age.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/credentials/credential_watch.hpp"
#include "daemon/engine/clock_guard.hpp"
#include "daemon/engine/device_book.hpp"
#include "daemon/engine/job_engine.hpp"
#include "daemon/engine/rate_meter.hpp"
#include "daemon/engine/store_memory.hpp"
#include "daemon/engine/transfer_process.hpp"
#include "daemon/model/deadline.hpp"

namespace dray {

struct JobEngine::State {
    /// A pair at work for one drive, or a dray-transfer that clears up after one.
    struct Copy {
        std::string job;
        std::string serial;
        std::string device_id;
        transfer::TaskKind kind = transfer::TaskKind::Import;
        /// As it was configured when the copy began.
        StoreConfig store;
        std::unique_ptr<TransferLink> process;
        std::optional<transfer::Report> report;
        /// Abandon: nobody waits for its log; whatever comes of it, the drive ends.
        bool is_given_up = false;
        /// What the drive ends with after an Abandon.
        std::string final_status;
        std::string final_outcome;
        RateMeter rate;
        std::uint64_t pieces_journaled = 0;
        std::string file;
        bool wants_unlock = false;
        bool has_unlocked = false;
        bool is_unlocking = false;
        bool is_unlock_late = false;
        bool is_device_gone = false;
        EventSource unlock_limit;
        EventSource gone_limit;
        Microseconds announced{0};
        Microseconds saved{0};
    };

    struct Check {
        /// As it was configured when the check began.
        StoreConfig store;
        std::unique_ptr<TransferLink> process;
        std::optional<transfer::Report> report;
        bool is_late = false;
        /// Of all who have asked since it began.
        std::vector<std::function<void(Result<void>)>> done;
        EventSource limit;
    };

    struct Preview {
        std::string directory;
        std::unique_ptr<TransferLink> process;
        std::optional<transfer::Report> report;
        PreviewDone done;
        EventSource limit;
    };

    State(const Config& config_, Catalog& catalog_, const Clock& clock_, EventLoop& loop_,
          EngineObserver& observer_, TransferStarter start_, const EnginePace& pace_)
        : config(config_),
          catalog(catalog_),
          clock(clock_),
          loop(loop_),
          observer(observer_),
          start_transfer(std::move(start_)),
          pace(pace_) {}

    // Looking things up. Names compare folded; a missing job or drive is NotFound with a sentence.
    Job* find(const std::string& name);
    const Job* find(const std::string& name) const;
    Result<Job*> need(const std::string& name);
    Result<Drive*> need_drive(Job& job, const std::string& serial);
    std::vector<const Job*> all_jobs() const;
    Copy* copy_of(const Job& job, const Drive& drive);
    const Copy* copy_of(const Job& job, const Drive& drive) const;
    bool has_running(const Job& job) const;
    unsigned active() const;
    /// Whether the device's bus can take one more copy (transfers.per-bus).
    bool has_slot_on_bus(const Device& device) const;
    static std::string copy_key(const Job& job, const Drive& drive);
    std::string directory_of(const Job& job) const;
    std::string directory_of(const Job& job, const Drive& drive) const;

    /// Every text of the job is within its limit.
    static Result<void> check_texts(const Job& job);

    // life.cpp: what follows from what. Changes are saved before anybody is told.
    Result<void> save(const Job& job);
    /// Saves, and where that fails logs it and goes on: the next save writes the whole job again.
    void save_or_log(const Job& job);
    void set_state(Job& job, Drive& drive, DriveState state);
    void tell(const Job& job, const Drive& drive, Change change);
    void finish(Job& job, Drive& drive, DriveState state, const std::string& status, const std::string& outcome);
    void hand_back(Job& job, Drive& drive);
    void hand_back_if_due(Job& job, Drive& drive);
    void fault(Job& job, Drive& drive, ErrorKind kind, const std::string& reason);
    void enter(Job& job, JobState state);
    void advance(Job& job);
    Result<void> ship(Job& job, const ShipRequest& request);
    Result<void> cancel(Job& job, std::optional<DrainMode> drain);
    /// No further drive will come. settle() is the caller's.
    Result<void> close(Job& job);
    /// The job with all that belongs to it; `job` is gone afterwards. settle() is the caller's.
    Result<void> remove(Job& job);
    /// Which device is which drive, what has arrived, and what can start now.
    void settle();
    bool receive_arrivals();
    void turn_cancelled_away(Job& job);
    void sources_settled();
    void probe_faults();
    void mend(Job& job, Drive& drive);
    void mend_drives_of(const std::string& store);
    /// Asks the store now, or once more when the check that runs has ended.
    void probe_store(const std::string& store);
    void ask_store(const std::string& store);
    Result<void> check_store(const std::string& store, std::function<void(Result<void>)> done);

    // timers.cpp: what happens for its age.
    Result<void> start_timers();
    void look_at_clock();
    void remember_clock();
    void set_alarm();
    /// The job's next one that may be served now.
    Deadline deadline_of(const Job& job) const;
    void serve_deadlines();
    void serve_deadline(Job& job, Expiry expiry, TimePoint now);
    Result<void> delete_for_age(Job& job);
    Result<void> say_overdue(Job& job, TimePoint now);
    void fault_absent(Job& job, TimePoint now);
    Result<void> give_up(Job& job);
    void watch_absences(Job& job);

    // store_secrets.cpp
    /// From the files that they are in now. NotFound, Denied: the store cannot be used without.
    Result<void> add_secrets(TransferProcess::Start& start);
    /// The stores' credentials and keys, from now on; warns of those that cannot be used.
    void watch_secrets();
    void secret_changed(const std::string& reference);
    /// Sends what is in the file now to those that are at work with the store. To how many.
    Result<std::size_t> renew_credential(const StoreConfig& store);

    // previews.cpp
    Result<void> start_preview(const PreviewRequest& request, PreviewDone done);
    void preview_ended(std::uint64_t number);

    // reconfigure.cpp
    /// Another place, or another key there: what was begun with the one cannot go on with the other (rules.md 22).
    static bool is_repointed(const StoreConfig& before, const StoreConfig& after);
    static StoreEntry entry_of(const StoreConfig& store);
    /// Their names, ready to be read; "" for none.
    std::string unfinished_jobs_of(const std::string& store) const;

    // transfers.cpp: copies.
    void schedule();
    void schedule_soon();
    Result<void> start_copy(Job& job, Drive& drive, const DeviceEntry& device);
    Result<std::unique_ptr<TransferLink>> start_process(const Job& job, Drive& drive, Copy& copy,
                                                           const DeviceEntry* device);
    Result<transfer::Task> task_for(const Job& job, const Drive& drive, transfer::TaskKind kind);
    /// Clears up after a drive that will not go on, then ends it so. Its log is waited for, whatever the store says,
    /// unless somebody has given the drive up.
    void abandon(Job& job, Drive& drive, const std::string& status, const std::string& outcome,
                 bool is_given_up = false);
    void heard(const std::string& key, const transfer::FromTransfer& message);
    void heard_progress(Job& job, Drive& drive, Copy& copy, const transfer::Progress& progress);
    void ended(const std::string& key);
    void copy_ended(Job& job, Drive& drive, const Copy& copy);
    void abandon_ended(Job& job, Drive& drive, const Copy& copy);
    /// What is told of a pair that died, and what counts.
    struct Crash {
        std::string device_id;
        std::string file;
        std::uint64_t pieces_journaled = 0;
    };
    static Crash crash_of(const Copy& copy);
    void crashed(Job& job, Drive& drive, const Crash& crash, const std::string& how);
    void pause(const Job& job, const Drive& drive, Microseconds length, const std::optional<Crash>& crash);
    void device_went(Job& job, Drive& drive);
    void grant_unlock();
    void check_ended(const std::string& store);
    void set_reachable(const std::string& store, const Result<void>& result);

    const Config& config;
    Catalog& catalog;
    const Clock& clock;
    EventLoop& loop;
    EngineObserver& observer;
    TransferStarter start_transfer;
    EnginePace pace;
    std::string programs = find_programs();
    std::optional<ChildUsers> child_users;
    /// By folded name.
    std::map<std::string, std::unique_ptr<Job>> jobs;
    std::map<std::string, StoreEntry> stores;
    StoreMemory store_memory{config.state_directory};
    DeviceBook devices;
    std::map<std::string, std::unique_ptr<Copy>> copies;
    std::map<std::string, std::unique_ptr<Check>> checks;
    std::map<std::uint64_t, std::unique_ptr<Preview>> previews;
    std::uint64_t next_preview = 1;
    /// Stores to be checked once more when the check that runs has ended: something was renewed meanwhile.
    std::set<std::string> checks_again;
    CredentialWatch credentials{loop, [this](const std::string& reference) { secret_changed(reference); }};
    /// The device sources have had their time to announce what is plugged in.
    bool is_settled = false;
    bool is_stopping = false;
    bool is_settling = false;
    std::function<void()> stopped;
    EventSource scheduling;
    EventSource settling;
    /// Drives that are left alone for a moment, by copy_key.
    std::map<std::string, EventSource> pausing;
    /// Drives that have come to their end but for the log, which the store would not take, by copy_key. Tried again when
    /// the fault is mended.
    std::set<std::string> owing_logs;
    /// How often a drive's device was in use elsewhere, by copy_key.
    std::map<std::string, unsigned> busy;
    EventSource sources_settling;
    EventSource probing;
    EventSource stop_limit;
    EventSource stopping;
    /// From start_timers() on.
    std::optional<ClockGuard> guard;
    /// What the catalog knows of the clock.
    ClockRecord remembered;
    /// By folded name: when (since boot) what could not be done for a job's age is tried again.
    std::map<std::string, Microseconds> postponed;
    EventSource looking;
    EventSource jumping;
    EventSource alarm;
};

}  // namespace dray
