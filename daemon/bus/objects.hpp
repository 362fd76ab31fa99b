// SPDX-License-Identifier: Apache-2.0
//
// The tree of objects at /org/dray1: shows what the engine has, announces its changes, and carries
// callers' wishes to it. Jobs, drives, devices and stores are not registered one by one: a fallback
// vtable per kind looks the object up in the engine when somebody asks. Loop thread only.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "daemon/bus/handles.hpp"
#include "daemon/bus/polkit.hpp"
#include "daemon/engine/engine_observer.hpp"
#include "daemon/engine/job_engine.hpp"

namespace dray::bus {

class Objects;

/// What a vtable's functions get: the object that was looked up for this call. Pointers hold for the
/// call alone.
struct Found {
    Objects* objects = nullptr;
    const Job* job = nullptr;
    const Drive* drive = nullptr;
    const DeviceEntry* device = nullptr;
    const StoreEntry* store = nullptr;
};

class Objects : public EngineObserver {
public:
    /// `bus` outlives it. Nothing is there but the Manager until an engine is shown.
    explicit Objects(sd_bus* bus);
    /// Registers the tree. Internal: sd-bus refused.
    Result<void> publish();
    /// The engine is made after its observer and goes before it; null hides it again.
    void show(JobEngine* engine) { engine_ = engine; }
    /// Called after the number of jobs or of running transfers changed.
    void on_overview(std::function<void()> changed) { overview_ = std::move(changed); }

    /// What Manager.Reload does.
    void on_reload(std::function<Result<void>()> reload) { reload_ = std::move(reload); }
    Result<void> reload() const {
        return reload_ ? reload_() : fail(ErrorKind::Unsupported, "there is no configuration to read anew");
    }

    /// The engine; only while one is shown, which is whenever calls arrive.
    JobEngine& engine() const { return *engine_; }
    Authority& authority() { return authority_; }
    /// By store: calls that wait for its check.
    std::map<std::string, std::vector<KeptCall>>& checks() { return checks_; }

    void job_added(const Job& job) override;
    void job_changed(const Job& job, Change change) override;
    void job_removed(const Job& job) override;
    void job_finished(const Job& job) override;
    void drive_added(const Job& job, const Drive& drive) override;
    void drive_changed(const Job& job, const Drive& drive, Change change) override;
    void drive_finished(const Job& job, const Drive& drive) override;
    void device_added(const DeviceEntry& device) override;
    void device_changed(const DeviceEntry& device) override;
    void device_removed(const DeviceEntry& device) override;
    void store_added(const StoreEntry& store) override;
    void store_changed(const StoreEntry& store) override;
    void store_removed(const StoreEntry& store) override;
    void transfers_changed() override;
    void settings_changed() override;
    void problems_changed() override;

private:
    static int find_job(sd_bus*, const char* path, const char*, void* self, void** found,
                        sd_bus_error*) noexcept;
    static int find_drive(sd_bus*, const char* path, const char*, void* self, void** found,
                          sd_bus_error*) noexcept;
    static int find_device(sd_bus*, const char* path, const char*, void* self, void** found,
                           sd_bus_error*) noexcept;
    static int find_store(sd_bus*, const char* path, const char*, void* self, void** found,
                          sd_bus_error*) noexcept;
    static int list_jobs(sd_bus*, const char* prefix, void* self, char*** nodes, sd_bus_error*) noexcept;
    static int list_devices(sd_bus*, const char* prefix, void* self, char*** nodes, sd_bus_error*) noexcept;
    static int list_stores(sd_bus*, const char* prefix, void* self, char*** nodes, sd_bus_error*) noexcept;

    Found* found(Found what);
    bool is_choked() const;
    void keep(int result, sd_bus_slot* slot, int& first_error);
    void announce(const std::string& path, const char* interface, const char* const* properties);
    void announce_removed(const std::string& path, const char* interface);
    void announce_finished(const std::string& path, const char* interface, const std::string& outcome);
    void announce_carried_drive(const DeviceEntry& device, bool is_present);

    sd_bus* bus_;
    JobEngine* engine_ = nullptr;
    std::function<void()> overview_;
    std::function<Result<void>()> reload_;
    Authority authority_;
    /// The Manager's.
    Found root_;
    /// The one that was looked up last.
    Found found_;
    /// By device id: job and serial of the drive it carried when it was last announced.
    std::map<std::string, std::pair<std::string, std::string>> carried_;
    std::map<std::string, std::vector<KeptCall>> checks_;
    std::vector<BusSlot> slots_;
};

// Each in its own file, at its end.
extern const sd_bus_vtable kManagerVtable[];
extern const sd_bus_vtable kJobVtable[];
extern const sd_bus_vtable kDriveVtable[];
extern const sd_bus_vtable kDeviceVtable[];
extern const sd_bus_vtable kStoreVtable[];

}  // namespace dray::bus
