// SPDX-License-Identifier: Apache-2.0
#include "daemon/base/message_socket.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include "daemon/base/memfd.hpp"

namespace dray {
namespace {

std::vector<std::byte> filled(std::size_t size) { return std::vector<std::byte>(size, std::byte{42}); }

TEST(MessageSocket, KeepsMessagesApartAndCarriesDescriptors) {
    auto [here, there] = MessageSocket::make_pair().value();
    const FileDescriptor secret = make_sealed_memfd("test", filled(3)).value();
    const int fd = secret.get();
    ASSERT_TRUE(here.send(filled(10)));
    ASSERT_TRUE(here.send(filled(20), std::span(&fd, 1)));
    EXPECT_EQ(there.receive().value().bytes.size(), 10U);
    const Message second = there.receive().value();
    EXPECT_EQ(second.bytes.size(), 20U);
    ASSERT_EQ(second.descriptors.size(), 1U);
    EXPECT_EQ(read_sealed_memfd(second.descriptors[0].get(), 10).value().size(), 3U);
    EXPECT_FALSE(there.try_receive().value().has_value());
}

TEST(MessageSocket, HasALimitWithTwoSides) {
    auto [here, there] = MessageSocket::make_pair().value();
    ASSERT_TRUE(here.send(filled(kMaxMessage)));
    EXPECT_EQ(there.receive().value().bytes.size(), kMaxMessage);
    EXPECT_EQ(here.send(filled(kMaxMessage + 1)).error().kind(), ErrorKind::LimitReached);
    EXPECT_EQ(here.send({}).error().kind(), ErrorKind::LimitReached);
}

TEST(MessageSocket, TellsThatTheOtherSideHasClosed) {
    auto [here, there] = MessageSocket::make_pair().value();
    ASSERT_TRUE(here.send(filled(1)));
    here = MessageSocket();
    EXPECT_TRUE(there.receive()) << "what was sent before arrives";
    EXPECT_EQ(there.receive().error().kind(), ErrorKind::Gone);
    EXPECT_EQ(there.send(filled(1)).error().kind(), ErrorKind::Gone);
}

TEST(MessageSocket, IsBusyRatherThanStuckWhenNobodyReads) {
    auto [here, there] = MessageSocket::make_pair().value();
    Result<void> sent;
    for (int i = 0; i < 1000 && sent; ++i)
        sent = here.try_send(filled(kMaxMessage));
    ASSERT_FALSE(sent);
    EXPECT_EQ(sent.error().kind(), ErrorKind::Busy);
}

}  // namespace
}  // namespace dray
