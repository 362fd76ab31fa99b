// SPDX-License-Identifier: Apache-2.0
//
// A JobEngine with a real catalog and loop, whose pairs are the test's: what they are told is written down, and they
// say and end as the test wants.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "daemon/engine/job_engine.hpp"
#include "tests/support/scratch_directory.hpp"

namespace dray::test {

/// One pair, or one dray-transfer alone.
struct Pair {
    transfer::Task task;
    /// What came in memfds, "" for none.
    std::string credential;
    std::string encryption_key;
    std::vector<std::string> renewals;
    std::vector<transfer::ToTransfer> sent;
    TransferProcess::Callbacks callbacks;
    bool is_killed = false;
    bool has_device = false;
    /// False once the engine has let go of it.
    bool is_alive = true;

    template <typename Message>
    bool was_sent() const {
        for (const transfer::ToTransfer& message : sent)
            if (std::holds_alternative<Message>(message))
                return true;
        return false;
    }
    void say(const transfer::FromTransfer& message) const { callbacks.message(message); }
    /// Its processes are gone. With a report, that was its last word.
    void end();
    void end(const transfer::Report& report) {
        say(report);
        end();
    }
};

transfer::Report report_of(transfer::Ending ending, const std::string& status = "");
transfer::Report fault_of(ErrorKind kind, const std::string& message);

class EngineTest : public testing::Test, public EngineObserver {
protected:
    EngineTest();

    /// With `pace` and `config_` as they are now.
    void start();
    /// drayd has died and is there again.
    void restart();
    void make_unshipped_job(const std::string& name, const std::string& serial);
    /// A shipped job with one drive "SER".
    void make_job(const std::string& name = "job", const std::string& serial = "SER");
    /// An image of the serial is plugged in under the id "SER_1" or so.
    Device plug(const std::string& serial = "SER", int number = 1);
    /// Runs the loop until the claim holds.
    testing::AssertionResult wait(const std::function<bool()>& claim);
    /// The pair that was started as the n-th (from 1), once it is.
    Pair& pair(std::size_t number);
    /// Lets the loop do all that it would do at once.
    void run_idle();

    const Job& job(const std::string& name = "job") const { return *engine_->find_job(name); }
    const Drive& drive(const std::string& serial = "SER", const std::string& name = "job") const {
        return *job(name).find_drive(serial);
    }

    void job_added(const Job& /*job*/) override {}
    void job_changed(const Job& /*job*/, Change /*change*/) override {}
    void job_removed(const Job& /*job*/) override {}
    void job_finished(const Job& /*job*/) override {}
    void drive_added(const Job& /*job*/, const Drive& /*drive*/) override {}
    void drive_changed(const Job& /*job*/, const Drive& /*drive*/, Change /*change*/) override {}
    void drive_finished(const Job& /*job*/, const Drive& /*drive*/) override {}
    void device_added(const DeviceEntry& /*device*/) override {}
    void device_changed(const DeviceEntry& /*device*/) override {}
    void device_removed(const DeviceEntry& /*device*/) override {}
    void store_added(const StoreEntry& /*store*/) override {}
    void store_changed(const StoreEntry& /*store*/) override {}
    void store_removed(const StoreEntry& /*store*/) override {}
    void transfers_changed() override {}
    void settings_changed() override {}
    void problems_changed() override {}

    static constexpr Microseconds kNever = std::chrono::hours(24);
    static constexpr Microseconds kShort = std::chrono::milliseconds(20);

    ScratchDirectory scratch_;
    Config config_;
    EnginePace pace_{kShort, kNever, kNever, kShort, kNever};
    SystemClock clock_;
    EventLoop loop_;
    std::unique_ptr<Catalog> catalog_;
    std::vector<std::shared_ptr<Pair>> pairs_;
    std::unique_ptr<JobEngine> engine_;
};

}  // namespace dray::test
