// SPDX-License-Identifier: Apache-2.0
//
// Who may change what: root and drayd's own user always, strangers as polkit says.
#include <gmock/gmock.h>

#include "tests/support/fake_polkit.hpp"
#include "tests/unit/bus/bus_fixture.hpp"

namespace dray::test {
namespace {

using bus::kJobInterface;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr const char* kDenied = "org.dray1.Error.AccessDenied";

#define SKIP_UNLESS_ROOT()                                                                      \
    if (!can_be_stranger())                                                                     \
    GTEST_SKIP() << "only root can call as another user"

class Polkit : public BusFixture {
protected:
    struct Method {
        const char* path;
        const char* interface;
        const char* member;
        const char* argument;
        std::vector<std::string> actions;
    };

    static std::vector<Method> methods() {
        return {{kJob, kJobInterface, "AddDrive", "S1", {"org.dray1.run-jobs"}},
                {kJob, kJobInterface, "Update", nullptr, {"org.dray1.run-jobs"}},
                {kJob, kJobInterface, "Ship", nullptr, {"org.dray1.run-jobs"}},
                {kJob, kJobInterface, "Cancel", nullptr, {"org.dray1.cancel-jobs"}},
                {kJob, kJobInterface, "Close", nullptr, {"org.dray1.run-jobs"}},
                {kJob, kJobInterface, "Delete", nullptr, {"org.dray1.delete-jobs"}},
                {kDrive, bus::kDriveInterface, "Release", nullptr, {"org.dray1.run-jobs"}},
                {kDrive, bus::kDriveInterface, "Retry", nullptr, {"org.dray1.run-jobs"}},
                {kDrive, bus::kDriveInterface, "Repair", nullptr, {"org.dray1.run-jobs"}},
                {kDrive, bus::kDriveInterface, "GetKey", nullptr, {"org.dray1.read-keys"}},
                {kDevice, bus::kDeviceInterface, "Assign", "lyon-17", {"org.dray1.run-jobs"}},
                {kStore, bus::kStoreInterface, "Check", nullptr, {"org.dray1.run-jobs"}}};
    }

    Answer call_method(sd_bus* client, const Method& method) {
        if (method.argument != nullptr)
            return call_as(client, method.path, method.interface, method.member, "sa{sv}", method.argument, 0);
        return call_as(client, method.path, method.interface, method.member, "a{sv}", 0);
    }

    static std::vector<std::string> actions_of(const FakePolkit& polkit) {
        std::vector<std::string> actions;
        for (const auto& question : polkit.questions())
            actions.push_back(question.action);
        return actions;
    }
};

TEST_F(Polkit, WithoutItStrangersMayChangeNothingAndAreToldWhy) {
    SKIP_UNLESS_ROOT();
    const bus::Bus stranger = bus_.connect_as(kStranger);
    for (const Method& method : methods()) {
        const Answer answer = call_method(stranger.get(), method);
        EXPECT_EQ(answer.error, kDenied) << method.member;
        EXPECT_THAT(answer.sentence, HasSubstr("polkit is not running")) << method.member;
    }
    EXPECT_EQ(call_as(stranger.get(), bus::kRootPath, bus::kManagerInterface, "CreateJob", "sssa{sv}", "a2",
                      "import", "vault", 0)
                  .error,
              kDenied);
    EXPECT_EQ(call_as(stranger.get(), bus::kRootPath, bus::kManagerInterface, "Reload", "").error, kDenied);
    EXPECT_THAT(calls(), IsEmpty());
}

TEST_F(Polkit, StrangersMayRead) {
    SKIP_UNLESS_ROOT();
    const bus::Bus stranger = bus_.connect_as(kStranger);
    EXPECT_EQ(call_as(stranger.get(), bus::kRootPath, bus::kManagerInterface, "ListJobs", "").error, "");
    EXPECT_EQ(call_as(stranger.get(), kJob, "org.freedesktop.DBus.Properties", "GetAll", "s", kJobInterface).error,
              "");
    EXPECT_EQ(call_as(stranger.get(), bus::kRootPath, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", "")
                  .error,
              "");
}

TEST_F(Polkit, IsAskedForTheActionOfTheMember) {
    SKIP_UNLESS_ROOT();
    const bus::Bus stranger = bus_.connect_as(kStranger);
    const char* stranger_name = nullptr;
    ASSERT_GE(sd_bus_get_unique_name(stranger.get(), &stranger_name), 0);
    const FakePolkit polkit(bus_, FakePolkit::Answer::Denied);
    std::vector<std::string> expected;
    for (const Method& method : methods()) {
        const Answer answer = call_method(stranger.get(), method);
        EXPECT_EQ(answer.error, kDenied) << method.member;
        EXPECT_THAT(answer.sentence, HasSubstr(method.actions[0])) << method.member;
        expected.insert(expected.end(), method.actions.begin(), method.actions.end());
    }
    call_as(stranger.get(), bus::kRootPath, bus::kManagerInterface, "CreateJob", "sssa{sv}", "a2", "import", "vault",
            0);
    expected.emplace_back("org.dray1.run-jobs");
    call_as(stranger.get(), bus::kRootPath, bus::kManagerInterface, "Reload", "");
    expected.emplace_back("org.dray1.manage");
    EXPECT_EQ(actions_of(polkit), expected);
    for (const auto& question : polkit.questions()) {
        EXPECT_EQ(question.subject, stranger_name);
        EXPECT_FALSE(question.may_prompt);
        EXPECT_FALSE(question.has_details);
    }
    EXPECT_THAT(calls(), IsEmpty());
}

TEST_F(Polkit, LetsStrangersDoWhatItAllows) {
    SKIP_UNLESS_ROOT();
    const bus::Bus stranger = bus_.connect_as(kStranger);
    const FakePolkit polkit(bus_, FakePolkit::Answer::Allowed);
    EXPECT_EQ(call_as(stranger.get(), kJob, kJobInterface, "Cancel", "a{sv}", 1, "drain", "s", "blob").error, "");
    EXPECT_THAT(calls(), testing::ElementsAre("cancel lyon-17 blob"));
}

TEST_F(Polkit, IsNotAskedAboutRoot) {
    SKIP_UNLESS_ROOT();
    const FakePolkit polkit(bus_, FakePolkit::Answer::Denied);
    EXPECT_EQ(call(kJob, kJobInterface, "Close", "a{sv}", 0).error, "");
    EXPECT_THAT(polkit.questions(), IsEmpty());
}

TEST_F(Polkit, MayPromptOnlyWhenTheCallerSaysSo) {
    SKIP_UNLESS_ROOT();
    const bus::Bus stranger = bus_.connect_as(kStranger);
    FakePolkit polkit(bus_, FakePolkit::Answer::Challenge);
    const Answer silent = call_as(stranger.get(), kJob, kJobInterface, "Close", "a{sv}", 0);
    EXPECT_EQ(silent.error, kDenied);
    EXPECT_THAT(silent.sentence, HasSubstr("needs authentication"));
    polkit.set_answer(FakePolkit::Answer::Allowed);
    sd_bus_message* raw = nullptr;
    ASSERT_GE(sd_bus_message_new_method_call(stranger.get(), &raw, bus::kService, kJob, kJobInterface, "Close"), 0);
    const bus::BusMessage message(raw);
    ASSERT_GE(sd_bus_message_append(raw, "a{sv}", 0), 0);
    ASSERT_GE(sd_bus_message_set_allow_interactive_authorization(raw, 1), 0);
    EXPECT_EQ(send(stranger.get(), raw).error, "");
    const auto questions = polkit.questions();
    ASSERT_THAT(questions, SizeIs(2));
    EXPECT_FALSE(questions[0].may_prompt);
    EXPECT_TRUE(questions[1].may_prompt);
}

TEST_F(Polkit, ACallThatDoesTwoThingsNeedsBothPermissions) {
    SKIP_UNLESS_ROOT();
    const bus::Bus stranger = bus_.connect_as(kStranger);
    FakePolkit polkit(bus_, FakePolkit::Answer::Allowed);
    polkit.deny("org.dray1.cancel-jobs");
    EXPECT_EQ(call_as(stranger.get(), kJob, kJobInterface, "Update", "a{sv}", 1, "carrier", "s", "Post").error, "");
    EXPECT_EQ(call_as(stranger.get(), kJob, kJobInterface, "Update", "a{sv}", 1, "cancel-requested", "b", 1).error,
              kDenied);
    EXPECT_EQ(call_as(stranger.get(), kJob, kJobInterface, "Update", "a{sv}", 2, "cancel-requested", "b", 1,
                      "carrier", "s", "x")
                  .error,
              kDenied);
    polkit.deny("org.dray1.overwrite-drives");
    EXPECT_EQ(call_as(stranger.get(), kDevice, bus::kDeviceInterface, "Assign", "sa{sv}", "lyon-17", 1, "overwrite",
                      "b", 1)
                  .error,
              kDenied);
    EXPECT_THAT(calls(), SizeIs(1));
    EXPECT_THAT(actions_of(polkit),
                testing::ElementsAre("org.dray1.run-jobs", "org.dray1.cancel-jobs", "org.dray1.run-jobs",
                                     "org.dray1.cancel-jobs", "org.dray1.run-jobs", "org.dray1.overwrite-drives"));
}

TEST_F(Polkit, ItsFailureIsARefusal) {
    SKIP_UNLESS_ROOT();
    const bus::Bus stranger = bus_.connect_as(kStranger);
    const FakePolkit polkit(bus_, FakePolkit::Answer::Broken);
    const Answer answer = call_as(stranger.get(), kJob, kJobInterface, "Close", "a{sv}", 0);
    EXPECT_EQ(answer.error, kDenied);
    EXPECT_THAT(answer.sentence, HasSubstr("the rules are broken"));
    EXPECT_THAT(calls(), IsEmpty());
}

TEST_F(Polkit, OneUserCannotPileUpCallsThatWaitForIt) {
    SKIP_UNLESS_ROOT();
    constexpr std::size_t kMost = 32;
    const bus::Bus stranger = bus_.connect_as(kStranger);
    const FakePolkit polkit(bus_, FakePolkit::Answer::Silence);
    for (std::size_t i = 0; i < kMost; ++i) {
        sd_bus_message* raw = nullptr;
        ASSERT_GE(sd_bus_message_new_method_call(stranger.get(), &raw, bus::kService, kJob, kJobInterface, "Close"),
                  0);
        const bus::BusMessage message(raw);
        ASSERT_GE(sd_bus_message_append(raw, "a{sv}", 0), 0);
        ASSERT_GE(sd_bus_send(stranger.get(), raw, nullptr), 0);
    }
    EXPECT_EQ(call_as(stranger.get(), kJob, kJobInterface, "Close", "a{sv}", 0).error,
              "org.dray1.Error.LimitExceeded");
    // Others are not held up: neither root nor another user.
    EXPECT_EQ(call(kJob, kJobInterface, "Close", "a{sv}", 0).error, "");
    EXPECT_THAT(calls(), SizeIs(1));
}

}  // namespace
}  // namespace dray::test
