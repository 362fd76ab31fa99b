// SPDX-License-Identifier: Apache-2.0
//
// The daemon as a whole: owns every part in order, starts it, drains it, stops it. The clock comes from
// outside, so that tests can run the same service around a clock of their own.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "config/config.hpp"
#include "daemon/base/clock.hpp"
#include "daemon/base/result.hpp"
#include "daemon/engine/transfer_process.hpp"

namespace dray {

/// `configured`, else the first of $STATE_DIRECTORY, else /var/lib/dray.
std::string state_directory_of(const std::string& configured);

class Service {
public:
    using SettleUsers = std::function<Result<std::optional<ChildUsers>>()>;

    using ReadConfig = std::function<Result<Config>()>;

    /// Takes the bus name first: what comes after touches the catalog, and two daemons must not. SIGTERM,
    /// SIGINT, SIGHUP and SIGCHLD must be blocked in every thread. `config.state_directory` is set; `clock`
    /// outlives the service.
    ///
    /// `settle_users` is called once the bus is reached: the place to leave root. Not earlier, because
    /// dbus-daemon turns away every uid that is in no user database, and drayd may become such a one. It
    /// answers as whom the transfers' processes run.
    ///
    /// `read_config` is how the configuration is read anew, for SIGHUP and Manager.Reload.
    ///
    /// Unsupported: the catalog is of a newer dray (exit status 78). Exists: another drayd has the name or
    /// the state directory. Unreachable, Denied: the bus, the catalog or a device source.
    static Result<std::unique_ptr<Service>> create(Config config, const Clock& clock,
                                                   const SettleUsers& settle_users, ReadConfig read_config);
    ~Service();
    Service(const Service&) = delete;
    Service& operator=(const Service&) = delete;

    /// Runs until SIGTERM or SIGINT (0) or until the bus is lost (1), and stops the transfers.
    Result<int> run();

private:
    struct State;
    explicit Service(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace dray
