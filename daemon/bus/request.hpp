// SPDX-License-Identifier: Apache-2.0
//
// A change that a caller asks for, read and checked as far as possible before anybody decides whether
// the caller may: what it is for the audit, which permissions it needs, and how to do it.
#pragma once

#include <systemd/sd-bus.h>

#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/result.hpp"
#include "daemon/bus/handles.hpp"

namespace dray::bus {

// The polkit actions (rules.md 25).
inline constexpr const char* kRunJobs = "org.dray1.run-jobs";
inline constexpr const char* kCancelJobs = "org.dray1.cancel-jobs";
inline constexpr const char* kDeleteJobs = "org.dray1.delete-jobs";
inline constexpr const char* kManage = "org.dray1.manage";
inline constexpr const char* kReadKeys = "org.dray1.read-keys";
inline constexpr const char* kOverwriteDrives = "org.dray1.overwrite-drives";

/// The call is answered with nothing.
struct Done {};
/// The call is answered with an object path.
struct Path {
    std::string path;
};
/// The call is answered with a descriptor, which stays ours.
struct Descriptor {
    std::shared_ptr<const FileDescriptor> fd;
};
/// Whoever did it answers later, through a KeptCall.
struct Later {};
using Reply = std::variant<Done, Path, Descriptor, Later>;

struct Request {
    /// The caller needs all of them.
    std::vector<const char*> actions;
    /// What it is about, for the audit: "job lyon-17", "job lyon-17 drive WD-1", "store vault".
    std::string subject;
    /// Runs at once or after polkit has answered. What it looks at may have gone meanwhile, so it
    /// carries names, not pointers.
    std::move_only_function<Result<Reply>()> run;
};

/// A call that is answered later. Copies share the call; it is answered once.
class KeptCall {
public:
    explicit KeptCall(sd_bus_message* call) : call_(sd_bus_message_ref(call), sd_bus_message_unref) {}

    sd_bus_message* get() const { return call_.get(); }
    void answer(const Result<Reply>& result) const;

private:
    // Shared: the store's check holds a std::function, which wants to be copied.
    std::shared_ptr<sd_bus_message> call_;
};

}  // namespace dray::bus
