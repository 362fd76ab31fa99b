// SPDX-License-Identifier: Apache-2.0
//
// Tells when the file of a credential is another one: written anew, replaced by renaming, there again, or readable now.
// Loop thread only.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/loop/event_loop.hpp"

namespace dray {

class CredentialWatch {
public:
    /// `changed` gets the reference as it was given to watch(). The file is there then; whether it can be used, reading
    /// tells.
    CredentialWatch(EventLoop& loop, std::function<void(const std::string& reference)> changed);

    /// These from now on and no others. What changed in those that stay is still told.
    void watch(const std::set<std::string>& references);
    /// Looks at all of them, watched directory or not: for the case that one could not be watched, because it was not
    /// there yet.
    void look();

private:
    /// What another file or other content is another one of.
    struct Identity {
        unsigned long device = 0;
        unsigned long inode = 0;
        long size = 0;
        long modified_seconds = 0;
        long modified_nanoseconds = 0;
        long changed_seconds = 0;
        long changed_nanoseconds = 0;
        bool operator==(const Identity&) const = default;
    };
    struct Watched {
        std::string path;
        std::optional<Identity> known;
    };

    static std::optional<Identity> identity_of(const std::string& path);
    void watch_directories();
    void read_events();
    /// Whether a look is due.
    bool take_event(int watch, unsigned mask, const std::string& name);

    EventLoop& loop_;
    std::function<void(const std::string&)> changed_;
    std::map<std::string, Watched> watched_;
    FileDescriptor inotify_;
    /// By watch; one directory may have several names.
    std::map<int, std::set<std::string>> directories_;
    EventSource readable_;
    EventSource looking_;
};

}  // namespace dray
