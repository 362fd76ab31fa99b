// SPDX-License-Identifier: Apache-2.0
//
// A running drayd with a state directory, a store and an images directory under a scratch folder.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "daemon/base/file_descriptor.hpp"
#include "tests/support/scratch_directory.hpp"

namespace dray::test {

class DraydProcess {
public:
    DraydProcess();
    DraydProcess(const DraydProcess&) = delete;
    DraydProcess& operator=(const DraydProcess&) = delete;
    /// Kills it if it still runs, and removes the folder.
    ~DraydProcess();

    /// The configuration: what is needed to start, and `more` YAML lines.
    void configure(const std::string& more);
    /// Starts it with these arguments; without any, with --config and the configured file.
    void start(std::vector<std::string> arguments = {});
    /// The next message to the notify socket; nothing when the program ends first.
    std::optional<std::string> notified();
    /// Waits for a message that holds `word`. False when the program ends first.
    bool wait_for(const std::string& word);
    /// Listens no longer: what nobody reads would hold the sender up.
    void stop_listening() { notify_ = FileDescriptor(); }
    void signal(int number) const;
    /// Waits for its end: exit code, or minus the signal's number.
    int wait();
    /// Everything it wrote to both outputs so far.
    std::string output() const;
    /// A field of /proc/PID/status.
    std::string status(const std::string& field) const;
    const std::string& folder() const { return folder_; }

private:
    ScratchDirectory scratch_;
    std::string folder_ = scratch_.path().string();
    std::string notify_name_;
    FileDescriptor notify_;
    FileDescriptor process_;
    pid_t pid_ = -1;
};

}  // namespace dray::test
