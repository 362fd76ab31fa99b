// SPDX-License-Identifier: Apache-2.0
//
// Stands in for the JobEngine in the tests of the bus: shows the jobs a test put there and writes down
// what it is asked for. Loop thread only, or while the loop stands still.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/engine/job_engine.hpp"

namespace dray::test {

struct RecordedEngine {
    Config config;
    std::vector<std::unique_ptr<Job>> jobs;
    std::vector<DeviceEntry> devices;
    std::vector<StoreEntry> stores;
    unsigned active_transfers = 0;
    std::vector<std::string> problems;
    /// One line a call, with everything it said.
    std::vector<std::string> calls;
    /// What every call answers, if set.
    std::optional<Error> refusal;
    /// Of the checks that run.
    std::vector<std::function<void(Result<void>)>> checks;
};

/// What every JobEngine in this program shows and writes to.
RecordedEngine& recorded_engine();

/// Makes an engine that is the record's face.
std::unique_ptr<JobEngine> make_recorded_engine(EventLoop& loop, EngineObserver& observer);

}  // namespace dray::test
