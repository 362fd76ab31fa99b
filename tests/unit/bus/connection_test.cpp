// SPDX-License-Identifier: Apache-2.0
#include "daemon/bus/connection.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/support/test_bus.hpp"

namespace dray::bus {
namespace {

using testing::HasSubstr;

TEST(Connection, SaysWhichBusIsNotThere) {
    setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/socket", 1);
    auto loop = EventLoop::create().value();
    const auto connection = Connection::open(loop, [] {});
    ASSERT_FALSE(connection);
    EXPECT_EQ(connection.error().kind(), ErrorKind::Unreachable);
    EXPECT_THAT(connection.error().text(), HasSubstr("the bus at unix:path=/nowhere/socket"));
    unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
}

TEST(Connection, SaysThatTheNameIsTaken) {
    const test::TestBus bus;
    auto loop = EventLoop::create().value();
    auto first = Connection::open(loop, [] {});
    auto second = Connection::open(loop, [] {});
    ASSERT_TRUE(first && second);
    EXPECT_TRUE(first->take_name());
    const auto taken = second->take_name();
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().kind(), ErrorKind::Exists);
    EXPECT_THAT(taken.error().text(), HasSubstr("another drayd is running"));
}

TEST(Connection, TellsWhenTheBusGoesAway) {
    test::TestBus bus;
    auto loop = EventLoop::create().value();
    auto connection = Connection::open(loop, [&] { loop.quit(7); });
    ASSERT_TRUE(connection);
    const EventSource stop = loop.soon([&] { bus.stop(); });
    EXPECT_EQ(loop.run().value(), 7);
}

}  // namespace
}  // namespace dray::bus
