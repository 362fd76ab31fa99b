// SPDX-License-Identifier: Apache-2.0
//
// org.dray1.Device at /org/dray1/device/<id>.
#include <array>

#include "daemon/bus/object_paths.hpp"
#include "daemon/bus/objects.hpp"
#include "daemon/bus/options.hpp"
#include "daemon/bus/property.hpp"

namespace dray::bus {
namespace {

constexpr std::array kAssignOptions{OptionSpec{"drive", OptionType::Text},
                                    OptionSpec{"overwrite", OptionType::Flag}};

Result<Request> assign(sd_bus_message* call, const Found& found) {
    DRAY_LET(const std::string job, read_text(call, "job"));
    DRAY_LET(const Options options, Options::read(call, kAssignOptions));
    const std::string serial = options.text("drive").value_or("");
    const bool overwrite = options.flag("overwrite").value_or(false);
    std::vector<const char*> actions{kRunJobs};
    if (overwrite)
        actions.push_back(kOverwriteDrives);
    std::string subject = "job " + job + " device " + found.device->device.id;
    auto run = [objects = found.objects, id = found.device->device.id, job, serial,
                overwrite]() -> Result<Reply> {
        DRAY_TRY(objects->engine().assign(id, job, serial, overwrite));
        return Done();
    };
    return Request{std::move(actions), std::move(subject), std::move(run)};
}

constexpr auto serial = property<[](const Found& f) { return f.device->device.serial; }>;
constexpr auto model = property<[](const Found& f) { return f.device->device.model; }>;
constexpr auto node = property<[](const Found& f) { return f.device->device.node; }>;
constexpr auto bus = property<[](const Found& f) { return f.device->device.bus; }>;
constexpr auto bay = property<[](const Found& f) { return f.device->device.bay; }>;
constexpr auto size = property<[](const Found& f) { return f.device->device.size; }>;
constexpr auto signature = property<[](const Found& f) { return f.device->device.signature; }>;
constexpr auto job = property<[](const Found& f) {
    return ObjectPath{f.device->job.empty() ? "" : job_path(f.device->job)};
}>;
constexpr auto opens = property<[](const Found& f) { return f.device->opens; }>;
constexpr auto problem = property<[](const Found& f) { return f.device->problem; }>;

constexpr auto kChanges = SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE;

}  // namespace

const sd_bus_vtable kDeviceVtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD_WITH_NAMES("Assign", "sa{sv}", SD_BUS_PARAM(job) SD_BUS_PARAM(options), "", "",
                             change<assign>, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_PROPERTY("Serial", "s", serial, 0, kChanges),
    SD_BUS_PROPERTY("Model", "s", model, 0, kChanges),
    SD_BUS_PROPERTY("Node", "s", node, 0, kChanges),
    SD_BUS_PROPERTY("Bus", "s", bus, 0, kChanges),
    SD_BUS_PROPERTY("Bay", "s", bay, 0, kChanges),
    SD_BUS_PROPERTY("Size", "t", size, 0, kChanges),
    SD_BUS_PROPERTY("Signature", "s", signature, 0, kChanges),
    SD_BUS_PROPERTY("Job", "o", job, 0, kChanges),
    SD_BUS_PROPERTY("Opens", "t", opens, 0, kChanges),
    SD_BUS_PROPERTY("Problem", "s", problem, 0, kChanges),
    SD_BUS_VTABLE_END};

}  // namespace dray::bus
