// SPDX-License-Identifier: Apache-2.0
//
// systemd/org.dray1.conf under a real dbus-daemon: what a stranger may send, and what root may.
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "daemon/base/handle.hpp"
#include "tests/support/scratch_directory.hpp"

namespace dray {
namespace {

namespace fs = std::filesystem;
using Bus = Handle<sd_bus, sd_bus_flush_close_unref>;
using Call = Handle<sd_bus_message, sd_bus_message_unref>;

constexpr uid_t kStranger = 65534;

/// A bus with the system bus's own rules in front of ours.
constexpr const char* kBusConfig = R"(<busconfig>
<type>custom</type><listen>unix:path=%</listen><auth>EXTERNAL</auth>
<policy context="default">
  <allow user="*"/><deny own="*"/><deny send_type="method_call"/>
  <allow send_type="signal"/><allow send_requested_reply="true" send_type="method_return"/>
  <allow send_requested_reply="true" send_type="error"/>
  <allow receive_type="method_call"/><allow receive_type="method_return"/>
  <allow receive_type="error"/><allow receive_type="signal"/>
  <allow send_destination="org.freedesktop.DBus"/>
</policy>
<include>@</include>
</busconfig>
)";

int answer_anything(sd_bus_message* call, void* /*userdata*/, sd_bus_error* /*error*/) noexcept {
    return sd_bus_reply_method_return(call, "");
}

class BusPolicy : public testing::Test {
protected:
    void SetUp() override {
        if (geteuid() != 0)
            GTEST_SKIP() << "calling as other users needs root";
        fs::permissions(root_.path(), fs::perms::all);
        address_ = "unix:path=" + root_ / "bus";
        std::string text = kBusConfig;
        text.replace(text.find('%'), 1, root_ / "bus");
        text.replace(text.find('@'), 1, DRAY_SYSTEMD_DIR "/org.dray1.conf");
        std::ofstream(root_ / "bus.conf") << text;
        start_bus();
        start_service();
    }
    void TearDown() override {
        for (const pid_t pid : {service_, bus_}) {
            if (pid > 0) {
                kill(pid, SIGKILL);
                waitpid(pid, nullptr, 0);
            }
        }
    }

    /// Returns when it listens: it closes its end of the pipe after printing the address.
    void start_bus() {
        int ends[2];
        ASSERT_EQ(pipe(ends), 0);
        bus_ = fork();
        if (bus_ == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            close(ends[0]);
            const std::string config = "--config-file=" + root_ / "bus.conf";
            const std::string print = "--print-address=" + std::to_string(ends[1]);
            execlp("dbus-daemon", "dbus-daemon", "--nofork", config.c_str(), print.c_str(),
                   nullptr);
            _exit(127);
        }
        close(ends[1]);
        char byte = 0;
        ASSERT_EQ(read(ends[0], &byte, 1), 1) << "dbus-daemon does not start";
        close(ends[0]);
    }
    /// org.dray1, answering every call with nothing.
    void start_service() {
        int ends[2];
        ASSERT_EQ(pipe(ends), 0);
        service_ = fork();
        if (service_ == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            const Bus bus = connect();
            if (!bus || sd_bus_add_filter(bus.get(), nullptr, answer_calls, nullptr) < 0 ||
                sd_bus_request_name(bus.get(), "org.dray1", 0) < 0)
                _exit(1);
            (void)!write(ends[1], "x", 1);
            while (sd_bus_process(bus.get(), nullptr) >= 0)
                sd_bus_wait(bus.get(), UINT64_MAX);
            _exit(0);
        }
        close(ends[1]);
        char byte = 0;
        ASSERT_EQ(read(ends[0], &byte, 1), 1) << "org.dray1 cannot be had";
        close(ends[0]);
    }
    static int answer_calls(sd_bus_message* message, void* userdata, sd_bus_error* error) noexcept {
        std::uint8_t type = 0;
        if (sd_bus_message_get_type(message, &type) < 0 || type != SD_BUS_MESSAGE_METHOD_CALL)
            return 0;
        const int result = answer_anything(message, userdata, error);
        return result < 0 ? result : 1;
    }

    Bus connect() const {
        sd_bus* bus = nullptr;
        if (sd_bus_new(&bus) < 0)
            return nullptr;
        Bus owned(bus);
        if (sd_bus_set_address(bus, address_.c_str()) < 0 || sd_bus_set_bus_client(bus, 1) < 0 ||
            sd_bus_start(bus) < 0)
            return nullptr;
        return owned;
    }
    /// Empty if the call was answered, otherwise the error's name.
    std::string call(uid_t uid, const char* interface, const char* member) const {
        EXPECT_EQ(seteuid(uid), 0);
        std::string result = "no bus";
        if (const Bus bus = connect()) {
            sd_bus_error error = SD_BUS_ERROR_NULL;
            sd_bus_message* reply = nullptr;
            const int called = sd_bus_call_method(bus.get(), "org.dray1", "/org/dray1", interface,
                                                  member, &error, &reply, "");
            const Call owned(reply);
            result = called >= 0 ? "" : error.name != nullptr ? error.name : "failed";
            sd_bus_error_free(&error);
        }
        EXPECT_EQ(seteuid(0), 0);
        return result;
    }

    test::ScratchDirectory root_;
    std::string address_;
    pid_t bus_ = -1;
    pid_t service_ = -1;
};

constexpr const char* kRefused = "org.freedesktop.DBus.Error.AccessDenied";
constexpr const char* kProperties = "org.freedesktop.DBus.Properties";

TEST_F(BusPolicy, AStrangerMayReadAndCallWhatIsNamedAndNothingElse) {
    const struct {
        const char* interface;
        const char* member;
        bool is_allowed;
    } rows[] = {
        {"org.dray1.Manager", "ListJobs", true},
        {"org.dray1.Manager", "CreateJob", true},
        {"org.dray1.Job", "Cancel", true},
        {"org.dray1.Drive", "GetKey", true},
        {"org.dray1.Device", "Assign", true},
        {"org.dray1.Store", "Check", true},
        {"org.dray1.Manager", "Unheard", false},
        {"org.dray1.Unheard", "ListJobs", false},
        {"org.dray1.Job", "ListJobs", false},
        {kProperties, "Get", true},
        {kProperties, "GetAll", true},
        {kProperties, "Set", false},
        {"org.freedesktop.DBus.Introspectable", "Introspect", true},
        {"org.freedesktop.DBus.ObjectManager", "GetManagedObjects", true},
        {"org.freedesktop.LogControl1", "Unheard", false},
    };
    for (const auto& row : rows)
        EXPECT_EQ(call(kStranger, row.interface, row.member), row.is_allowed ? "" : kRefused)
            << row.interface << "." << row.member;
}

TEST_F(BusPolicy, RootMaySendEverything) {
    EXPECT_EQ(call(0, "org.dray1.Manager", "Unheard"), "");
    EXPECT_EQ(call(0, kProperties, "Set"), "");
}

TEST_F(BusPolicy, AStrangerCannotTakeTheName) {
    kill(service_, SIGKILL);
    waitpid(service_, nullptr, 0);
    service_ = -1;
    ASSERT_EQ(seteuid(kStranger), 0);
    {
        const Bus bus = connect();
        ASSERT_TRUE(bus);
        EXPECT_EQ(sd_bus_request_name(bus.get(), "org.dray1", 0), -EACCES);
    }
    ASSERT_EQ(seteuid(0), 0);
}

}  // namespace
}  // namespace dray
