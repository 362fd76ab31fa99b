// SPDX-License-Identifier: Apache-2.0
//
// drayd as its clients see it: methods and properties over the bus. One thread.
#pragma once

#include <systemd/sd-bus.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/handle.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"

namespace dray::ctl {

using Bus = Handle<sd_bus, sd_bus_flush_close_unref>;
using BusMessage = Handle<sd_bus_message, sd_bus_message_unref>;

using Texts = std::map<std::string, std::string>;
using Lists = std::map<std::string, std::vector<std::string>>;
/// A property's value; object paths are texts, all whole numbers are 64 bits wide.
using Value =
    std::variant<std::monostate, bool, std::uint64_t, double, std::string, std::vector<std::string>, Texts>;

/// Properties of one object, by name. The getters answer "" or 0 for what is not there.
class Properties {
public:
    std::string text(const std::string& name) const;
    std::uint64_t number(const std::string& name) const;
    double real(const std::string& name) const;
    bool flag(const std::string& name) const;
    std::vector<std::string> list(const std::string& name) const;

    std::map<std::string, Value> values;
};

/// A member of an option dictionary. An int is a file descriptor and stays the caller's.
struct Option {
    std::string name;
    std::variant<bool, std::uint32_t, std::string, int, Texts, Lists> value;
};
using Options = std::vector<Option>;

class Client {
public:
    /// Unreachable: no bus.
    static Result<Client> connect();

    /// Calls a method with text arguments and, unless `options` is null, the dictionary after them.
    /// NotFound, Denied and the other kinds as drayd named them; Unreachable: drayd is not running. `patience`: for what
    /// takes longer than calls do.
    Result<BusMessage> call(const std::string& path, const char* interface, const char* member,
                            const std::vector<std::string>& arguments, const Options* options,
                            Microseconds patience = {}) const;
    /// Properties of one interface of one object.
    Result<Properties> properties(const std::string& path, const char* interface) const;

    /// The object path of a job, by name without regard to case.
    Result<std::string> job_path(const std::string& job) const;
    /// The object path of a job's drive.
    Result<std::string> drive_path(const std::string& job, const std::string& serial) const;
    /// The object path of the one device whose id, node or serial this is. Conflict: two have it.
    Result<std::string> device_path(const std::string& device) const;
    /// Paths of all jobs, devices, stores.
    Result<std::vector<std::string>> job_paths() const;
    Result<std::vector<std::string>> device_paths() const;
    Result<std::vector<std::string>> store_paths() const;

    /// From now on wait_for_change() wakes for anything that dray says, and for its coming and going.
    Result<void> subscribe();
    /// True: something was said. False: the time is over or a signal came.
    Result<bool> wait_for_change(Microseconds most);

private:
    explicit Client(Bus bus) : bus_(std::move(bus)) {}
    Result<std::vector<std::string>> last_members(const char* member, const char* signature,
                                                  const char* row) const;
    Bus bus_;
    std::vector<Handle<sd_bus_slot, sd_bus_slot_unref>> matches_;
};

}  // namespace dray::ctl
