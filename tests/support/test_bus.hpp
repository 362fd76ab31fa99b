// SPDX-License-Identifier: Apache-2.0
//
// A private dbus-daemon that lets everybody do everything, as the system bus of a test.
#pragma once

#include <sys/types.h>

#include <string>

#include "daemon/bus/handles.hpp"
#include "daemon/base/result.hpp"
#include "tests/support/scratch_directory.hpp"

namespace dray::test {

class TestBus {
public:
    /// Starts the daemon and sets DBUS_SYSTEM_BUS_ADDRESS for this process and its children. Ends the test
    /// program when there is no dbus-daemon.
    TestBus();
    TestBus(const TestBus&) = delete;
    TestBus& operator=(const TestBus&) = delete;
    ~TestBus();

    const std::string& address() const { return address_; }
    /// A client of its own.
    bus::Bus connect() const;
    /// A client that the bus knows as another user. Only root can make one.
    bus::Bus connect_as(uid_t uid) const;
    /// Ends the daemon, as when the bus crashes.
    void stop();

private:
    ScratchDirectory directory_;
    std::string address_;
    pid_t pid_ = -1;
};

}  // namespace dray::test
