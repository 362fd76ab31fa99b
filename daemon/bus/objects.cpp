// SPDX-License-Identifier: Apache-2.0
#include "daemon/bus/objects.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "daemon/bus/names.hpp"
#include "daemon/bus/object_paths.hpp"

namespace dray::bus {
namespace {

/// An array as sd-bus wants it: strings and list from malloc, which sd-bus frees.
int to_strv(const std::vector<std::string>& paths, char*** nodes) {
    auto** list = static_cast<char**>(std::calloc(paths.size() + 1, sizeof(char*)));
    if (list == nullptr)
        return -ENOMEM;
    for (std::size_t i = 0; i < paths.size(); ++i) {
        list[i] = strdup(paths[i].c_str());
        if (list[i] == nullptr) {
            while (i > 0)
                std::free(list[--i]);
            std::free(static_cast<void*>(list));
            return -ENOMEM;
        }
    }
    *nodes = list;
    return 0;
}

}  // namespace

Objects::Objects(sd_bus* bus) : bus_(bus), authority_(bus) { root_.objects = this; }

void Objects::keep(int result, sd_bus_slot* slot, int& first_error) {
    slots_.emplace_back(slot);
    if (result < 0 && first_error >= 0)
        first_error = result;
}

Result<void> Objects::publish() {
    struct Kind {
        const char* prefix;
        const char* interface;
        const sd_bus_vtable* vtable;
        sd_bus_object_find_t find;
    };
    const Kind kinds[] = {{kJobPath, kJobInterface, kJobVtable, find_job},
                          {kJobPath, kDriveInterface, kDriveVtable, find_drive},
                          {kDevicePath, kDeviceInterface, kDeviceVtable, find_device},
                          {kStorePath, kStoreInterface, kStoreVtable, find_store}};
    const std::pair<const char*, sd_bus_node_enumerator_t> enumerators[] = {
        {kJobPath, list_jobs}, {kDevicePath, list_devices}, {kStorePath, list_stores}};
    int error = 0;
    sd_bus_slot* slot = nullptr;
    int result = sd_bus_add_object_manager(bus_, &slot, kRootPath);
    keep(result, std::exchange(slot, nullptr), error);
    result = sd_bus_add_object_vtable(bus_, &slot, kRootPath, kManagerInterface, kManagerVtable, &root_);
    keep(result, std::exchange(slot, nullptr), error);
    for (const Kind& kind : kinds) {
        result = sd_bus_add_fallback_vtable(bus_, &slot, kind.prefix, kind.interface, kind.vtable, kind.find,
                                            this);
        keep(result, std::exchange(slot, nullptr), error);
    }
    for (const auto& [prefix, list] : enumerators) {
        result = sd_bus_add_node_enumerator(bus_, &slot, prefix, list, this);
        keep(result, std::exchange(slot, nullptr), error);
    }
    if (error < 0)
        return fail(ErrorKind::Internal, "cannot publish objects on the bus: {}", errno_text(-error));
    return {};
}

Found* Objects::found(Found what) {
    found_ = what;
    found_.objects = this;
    return &found_;
}

int Objects::find_job(sd_bus* /*bus*/, const char* path, const char* /*interface*/, void* self, void** found,
                      sd_bus_error* /*error*/) noexcept {
    auto& objects = *static_cast<Objects*>(self);
    const auto name = job_of_path(path);
    if (objects.engine_ == nullptr || !name)
        return 0;
    const Job* job = objects.engine_->find_job(*name);
    // Names compare without regard to case, but an object has one path.
    if (job == nullptr || job->name != *name)
        return 0;
    *found = objects.found({.job = job});
    return 1;
}

int Objects::find_drive(sd_bus* /*bus*/, const char* path, const char* /*interface*/, void* self,
                        void** found, sd_bus_error* /*error*/) noexcept {
    auto& objects = *static_cast<Objects*>(self);
    const auto name = drive_of_path(path);
    if (objects.engine_ == nullptr || !name)
        return 0;
    const Job* job = objects.engine_->find_job(name->job);
    if (job == nullptr || job->name != name->job)
        return 0;
    const Drive* drive = job->find_drive(name->serial);
    if (drive == nullptr || drive->serial != name->serial)
        return 0;
    *found = objects.found({.job = job, .drive = drive});
    return 1;
}

int Objects::find_device(sd_bus* /*bus*/, const char* path, const char* /*interface*/, void* self,
                         void** found, sd_bus_error* /*error*/) noexcept {
    auto& objects = *static_cast<Objects*>(self);
    const auto id = device_of_path(path);
    if (objects.engine_ == nullptr || !id)
        return 0;
    const DeviceEntry* device = objects.engine_->find_device(*id);
    if (device == nullptr)
        return 0;
    *found = objects.found({.device = device});
    return 1;
}

int Objects::find_store(sd_bus* /*bus*/, const char* path, const char* /*interface*/, void* self, void** found,
                        sd_bus_error* /*error*/) noexcept {
    auto& objects = *static_cast<Objects*>(self);
    const auto name = store_of_path(path);
    if (objects.engine_ == nullptr || !name)
        return 0;
    const StoreEntry* store = objects.engine_->find_store(*name);
    if (store == nullptr)
        return 0;
    *found = objects.found({.store = store});
    return 1;
}

int Objects::list_jobs(sd_bus* /*bus*/, const char* /*prefix*/, void* self, char*** nodes,
                       sd_bus_error* /*error*/) noexcept {
    const auto& objects = *static_cast<Objects*>(self);
    std::vector<std::string> paths;
    if (objects.engine_ != nullptr) {
        for (const Job* job : objects.engine_->jobs()) {
            paths.push_back(job_path(job->name));
            for (const Drive& drive : job->drives)
                paths.push_back(drive_path(job->name, drive.serial));
        }
    }
    return to_strv(paths, nodes);
}

int Objects::list_devices(sd_bus* /*bus*/, const char* /*prefix*/, void* self, char*** nodes,
                          sd_bus_error* /*error*/) noexcept {
    const auto& objects = *static_cast<Objects*>(self);
    std::vector<std::string> paths;
    if (objects.engine_ != nullptr) {
        for (const DeviceEntry* entry : objects.engine_->devices())
            paths.push_back(device_path(entry->device.id));
    }
    return to_strv(paths, nodes);
}

int Objects::list_stores(sd_bus* /*bus*/, const char* /*prefix*/, void* self, char*** nodes,
                         sd_bus_error* /*error*/) noexcept {
    const auto& objects = *static_cast<Objects*>(self);
    std::vector<std::string> paths;
    if (objects.engine_ != nullptr) {
        for (const StoreEntry* store : objects.engine_->stores())
            paths.push_back(store_path(store->name));
    }
    return to_strv(paths, nodes);
}

}  // namespace dray::bus
