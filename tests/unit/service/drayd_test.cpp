// SPDX-License-Identifier: Apache-2.0
//
// The program drayd as systemd and the command line see it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <map>
#include <string>

#include "daemon/bus/names.hpp"
#include "tests/support/test_bus.hpp"
#include "tests/unit/service/drayd_process.hpp"

namespace dray::test {
namespace {

using testing::HasSubstr;

class Drayd : public testing::Test {
protected:
    TestBus bus_;
    DraydProcess drayd_;
};

TEST_F(Drayd, RefusesWrongUsageWithStatusTwo) {
    const std::pair<std::vector<std::string>, const char*> rows[] = {
        {{"--frobnicate"}, "unknown argument \"--frobnicate\""},
        {{"--config"}, "--config needs a file"},
        {{"--config="}, "--config needs a file"},
        {{"extra"}, "unknown argument \"extra\""},
    };
    for (const auto& [arguments, sentence] : rows) {
        DraydProcess drayd;
        drayd.start(arguments);
        EXPECT_EQ(drayd.wait(), 2);
        EXPECT_THAT(drayd.output(), HasSubstr(sentence));
        EXPECT_THAT(drayd.output(), HasSubstr("try drayd --help"));
    }
}

TEST_F(Drayd, TellsItsVersionAndHelp) {
    drayd_.start({"--version"});
    EXPECT_EQ(drayd_.wait(), 0);
    EXPECT_THAT(drayd_.output(), testing::StartsWith("drayd 0."));
    DraydProcess other;
    other.start({"--help"});
    EXPECT_EQ(other.wait(), 0);
    EXPECT_THAT(other.output(), HasSubstr("--config FILE"));
}

TEST_F(Drayd, PrintsEveryMistakeOfTheConfigurationOnALineAndEndsWith78) {
    drayd_.configure("transfers: {max: many}\nfrobnicate: 1\n");
    drayd_.start();
    EXPECT_EQ(drayd_.wait(), 78);
    EXPECT_THAT(drayd_.output(), HasSubstr("/dray.yaml:5: transfers.max: \"many\""));
    EXPECT_THAT(drayd_.output(), HasSubstr("\n" + drayd_.folder() + "/dray.yaml:6:"));
}

TEST_F(Drayd, TellsSystemdWhenItIsReadyHowItIsAndWhenItStops) {
    drayd_.start();
    ASSERT_TRUE(drayd_.wait_for("READY=1")) << drayd_.output();
    EXPECT_EQ(drayd_.notified(), "STATUS=0 jobs, 0 copying");
    drayd_.signal(SIGTERM);
    EXPECT_TRUE(drayd_.wait_for("STOPPING=1"));
    EXPECT_EQ(drayd_.wait(), 0) << drayd_.output();
}

TEST_F(Drayd, LeavesRootAndTakesItsStateDirectoryAlong) {
    if (geteuid() != 0)
        GTEST_SKIP() << "only root can leave root";
    drayd_.start();
    ASSERT_TRUE(drayd_.wait_for("READY=1")) << drayd_.output();
    const std::string uids = drayd_.status("Uid");
    EXPECT_THAT(uids, testing::Not(HasSubstr("\t0")));
    // KILL, and for its children SETGID and SETUID.
    EXPECT_EQ(drayd_.status("CapEff"), "\t0000000000000020");
    for (const char* set : {"CapPrm", "CapInh", "CapAmb"})
        EXPECT_EQ(drayd_.status(set), "\t00000000000000e0") << set;
    EXPECT_EQ(drayd_.status("CapBnd"), "\t0000000000000000");
    struct stat state {};
    ASSERT_EQ(stat((drayd_.folder() + "/state").c_str(), &state), 0);
    EXPECT_NE(state.st_uid, 0U);
    EXPECT_EQ(state.st_mode & 07777U, 0700U);
}

TEST_F(Drayd, DoesNotTakeAFolderThatIsSomebodyElses) {
    if (geteuid() != 0)
        GTEST_SKIP() << "only root gives directories away";
    const std::string state = drayd_.folder() + "/state";
    ASSERT_EQ(mkdir(state.c_str(), 0755), 0);
    ASSERT_EQ(mkdir((state + "/letters").c_str(), 0755), 0);
    drayd_.start();
    EXPECT_EQ(drayd_.wait(), 1);
    EXPECT_THAT(drayd_.output(), HasSubstr("holds other things"));
    struct stat status {};
    ASSERT_EQ(stat(state.c_str(), &status), 0);
    EXPECT_EQ(status.st_uid, 0U);
}

TEST_F(Drayd, TwoOnOneBusAreOneTooMany) {
    drayd_.start();
    ASSERT_TRUE(drayd_.wait_for("READY=1")) << drayd_.output();
    DraydProcess second;
    second.start();
    EXPECT_EQ(second.wait(), 1);
    EXPECT_THAT(second.output(), HasSubstr("another drayd is running"));
}

TEST_F(Drayd, EndsWhenTheBusIsNotThereOrGoesAway) {
    drayd_.start();
    ASSERT_TRUE(drayd_.wait_for("READY=1")) << drayd_.output();
    bus_.stop();
    EXPECT_EQ(drayd_.wait(), 1);
    EXPECT_THAT(drayd_.output(), HasSubstr("the connection to the bus is lost"));
    DraydProcess second;
    second.start();
    EXPECT_EQ(second.wait(), 1);
    EXPECT_THAT(second.output(), HasSubstr("cannot reach the bus at"));
}

TEST_F(Drayd, TenThousandCreateJobsMakeAsManyJobsAsAreAllowedAndNoMemoryGrows) {
    constexpr int kCalls = 10'000;
    constexpr int kMostJobs = 2000;
    drayd_.start();
    ASSERT_TRUE(drayd_.wait_for("READY=1")) << drayd_.output();
    drayd_.stop_listening();
    const bus::Bus client = bus_.connect();
    std::map<std::string, int> outcomes;
    long resident_when_full = 0;
    for (int i = 0; i < kCalls; ++i) {
        bus::BusErrorBuffer error;
        sd_bus_message* reply = nullptr;
        (void)sd_bus_call_method(client.get(), bus::kService, bus::kRootPath, bus::kManagerInterface, "CreateJob",
                                 error.get(), &reply, "sssa{sv}", ("job-" + std::to_string(i)).c_str(), "import",
                                 "vault", 0);
        const bus::BusMessage owner(reply);
        ++outcomes[error.name()];
        if (i == kMostJobs + 100)
            resident_when_full = std::stol(drayd_.status("VmRSS"));
    }
    EXPECT_EQ(outcomes, (std::map<std::string, int>{{"", kMostJobs},
                                                    {"org.dray1.Error.LimitExceeded", kCalls - kMostJobs}}));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    // The sanitizers keep what was freed.
    const long resident_at_end = std::stol(drayd_.status("VmRSS"));
    RecordProperty("resident_kib", std::to_string(resident_at_end));
    EXPECT_LT(resident_at_end, resident_when_full + 1024) << "KiB";
    // drayd with its jobs stays under 32 MiB.
    EXPECT_LT(resident_at_end, 32 * 1024) << "KiB";
#else
    (void)resident_when_full;
#endif
}

}  // namespace
}  // namespace dray::test
