// SPDX-License-Identifier: Apache-2.0
#include "daemon/engine/transfer_process.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <sstream>

#include "tests/support/scratch_directory.hpp"

namespace dray {
namespace {

using namespace std::chrono_literals;

TEST(TransferProcess, AChildHasNoDescriptorButThoseItIsGiven) {
    const test::ScratchDirectory scratch;
    const std::string program = scratch / "dray-transfer";
    const std::string seen = scratch / "seen";
    std::ofstream(program) << "#!/bin/sh\nls -l /proc/$$/fd >" << seen << ".part\nmv " << seen << ".part " << seen
                           << '\n';
    ASSERT_EQ(chmod(program.c_str(), 0755), 0);
    // As from a shell that had a file open when it started drayd: it survives an exec.
    const FileDescriptor inherited(open((scratch / "inherited").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    const FileDescriptor low(fcntl(inherited.get(), F_DUPFD, transfer::kDriveFd));
    const FileDescriptor high(fcntl(inherited.get(), F_DUPFD, 100));
    ASSERT_TRUE(low);
    ASSERT_TRUE(high);

    // As in drayd: how the loop learns of a child's end.
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &child, nullptr), 0);
    auto loop = *EventLoop::create();
    TransferProcess::Start start;
    start.programs = scratch.path();
    auto process = TransferProcess::start(loop, std::move(start), {[](const auto&) {}, [&] { loop.quit(0); }});
    ASSERT_TRUE(process) << process.error().text();
    const EventSource limit = loop.after(20s, [&] { loop.quit(1); });
    ASSERT_EQ(loop.run().value_or(1), 0);
    std::stringstream listed;
    listed << std::ifstream(seen).rdbuf();
    EXPECT_NE(listed.str().find("socket"), std::string::npos) << listed.str();
    EXPECT_EQ(listed.str().find("inherited"), std::string::npos) << listed.str();
}

TEST(MessageAllowance, LetsABurstThroughAndThenSoManyASecond) {
    MessageAllowance allowance{10, 2};
    Microseconds now = 100s;
    for (int count = 0; count < 10; ++count)
        EXPECT_TRUE(allowance.take(1, now)) << count;
    EXPECT_FALSE(allowance.take(1, now));
    now += 499ms;
    EXPECT_FALSE(allowance.take(1, now));
    now += 2ms;
    EXPECT_TRUE(allowance.take(1, now));
    EXPECT_FALSE(allowance.take(1, now));
    // A long silence saves up no more than the burst.
    now += 1h;
    for (int count = 0; count < 10; ++count)
        EXPECT_TRUE(allowance.take(1, now)) << count;
    EXPECT_FALSE(allowance.take(1, now));
}

}  // namespace
}  // namespace dray
