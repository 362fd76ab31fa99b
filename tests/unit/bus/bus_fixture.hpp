// SPDX-License-Identifier: Apache-2.0
//
// The bus objects on a private bus, served by a thread of their own, around a recorded engine.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/bus/connection.hpp"
#include "daemon/bus/names.hpp"
#include "daemon/bus/objects.hpp"
#include "tests/support/loop_thread.hpp"
#include "tests/support/test_bus.hpp"
#include "tests/unit/bus/recorded_engine.hpp"

namespace dray::test {

/// What a call came back with: an error's name and sentence, or a reply.
struct Answer {
    std::string error;
    std::string sentence;
    bus::BusMessage reply;
};

class BusFixture : public testing::Test {
protected:
    static constexpr const char* kJob = "/org/dray1/job/lyon_2d17";
    static constexpr const char* kDrive = "/org/dray1/job/lyon_2d17/drive/WD_2d1";
    static constexpr const char* kDevice = "/org/dray1/device/sdb_5f17";
    static constexpr const char* kStore = "/org/dray1/store/vault";
    static constexpr uid_t kStranger = 65534;

    BusFixture();
    ~BusFixture() override;

    /// Calls org.dray1 as `client`; `types` and the rest as for sd_bus_message_append.
    template <typename... Args>
    Answer call_as(sd_bus* client, const char* path, const char* interface, const char* member,
                   const char* types, Args... args) {
        sd_bus_message* raw = nullptr;
        EXPECT_GE(sd_bus_message_new_method_call(client, &raw, bus::kService, path, interface, member), 0);
        bus::BusMessage message(raw);
        EXPECT_GE(sd_bus_message_append(raw, types, args...), 0);
        return send(client, raw);
    }
    template <typename... Args>
    Answer call(const char* path, const char* interface, const char* member, const char* types, Args... args) {
        return call_as(client_.get(), path, interface, member, types, args...);
    }
    static Answer send(sd_bus* client, sd_bus_message* message);

    /// The engine's calls so far; empties the list.
    std::vector<std::string> calls();
    void with_engine(const std::function<void(RecordedEngine&)>& change);
    void with_objects(const std::function<void(bus::Objects&)>& act);
    /// Tests of strangers need root, who alone can be somebody else.
    static bool can_be_stranger() { return geteuid() == 0; }

    TestBus bus_;
    LoopThread thread_;
    std::optional<bus::Connection> connection_;
    std::optional<bus::Objects> objects_;
    std::unique_ptr<JobEngine> engine_;
    bus::Bus client_;
};

}  // namespace dray::test
