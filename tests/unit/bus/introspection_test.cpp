// SPDX-License-Identifier: Apache-2.0
//
// The members of each interface as the design's table has them, compared with what the bus says.
#include <pugixml.hpp>

#include <algorithm>
#include <map>

#include "tests/unit/bus/bus_fixture.hpp"

namespace dray::test {
namespace {

using Members = std::map<std::string, std::string>;

class Introspection : public BusFixture {
protected:
    /// "method in -> out [names]", "property type flag", "signal types", by name.
    Members members(const char* path, const char* interface) {
        const Answer answer = call(path, "org.freedesktop.DBus.Introspectable", "Introspect", "");
        const char* text = "";
        EXPECT_GT(sd_bus_message_read(answer.reply.get(), "s", &text), 0) << answer.sentence;
        pugi::xml_document document;
        EXPECT_TRUE(document.load_string(text));
        Members result;
        for (const auto node : document.child("node").children("interface")) {
            if (std::string(node.attribute("name").value()) != interface)
                continue;
            for (const auto member : node.children())
                result[member.attribute("name").value()] = describe(member);
        }
        return result;
    }

private:
    static std::string describe(const pugi::xml_node& member) {
        const std::string kind = member.name();
        if (kind == "property") {
            std::string flag;
            for (const auto note : member.children("annotation"))
                flag += std::string(" ") + note.attribute("value").value();
            EXPECT_STREQ(member.attribute("access").value(), "read");
            return "property " + std::string(member.attribute("type").value()) + flag;
        }
        std::string in;
        std::string out;
        for (const auto argument : member.children("arg")) {
            EXPECT_STRNE(argument.attribute("name").value(), "") << member.attribute("name").value();
            const bool is_out = std::string(argument.attribute("direction").value()) == "out";
            (is_out ? out : in) += argument.attribute("type").value();
        }
        return kind + " " + in + (out.empty() ? "" : " -> " + out);
    }
};

TEST_F(Introspection, ManagerIsAsDesigned) {
    EXPECT_EQ(members(bus::kRootPath, bus::kManagerInterface),
              (Members{{"CreateJob", "method sssa{sv} -> o"},
                       {"GetJob", "method s -> o"},
                       {"ListJobs", "method  -> a(sssbdo)"},
                       {"ListDevices", "method  -> a(ssstso)"},
                       {"PreviewExport", "method sa{sv} -> h"},
                       {"Reload", "method "},
                       {"Version", "property s const"},
                       {"ActiveTransfers", "property u"},
                       {"MaxTransfers", "property u"},
                       {"RetentionUSec", "property t"},
                       {"Stores", "property ao"},
                       {"Drain", "property s"},
                       {"Problems", "property as"}}));
}

TEST_F(Introspection, JobIsAsDesigned) {
    EXPECT_EQ(members(kJob, bus::kJobInterface),
              (Members{{"AddDrive", "method sa{sv} -> o"}, {"Update", "method a{sv}"},
                       {"Ship", "method a{sv}"},           {"Cancel", "method a{sv}"},
                       {"Close", "method a{sv}"},          {"Delete", "method a{sv}"},
                       {"Finished", "signal s"},           {"Name", "property s const"},
                       {"Type", "property s const"},       {"Store", "property s const"},
                       {"State", "property s"},            {"CancelRequested", "property b"},
                       {"Drain", "property s"},            {"Outcome", "property s"},
                       {"Percent", "property d"},          {"BytesDone", "property t"},
                       {"BytesTotal", "property t"},       {"BlobsDone", "property t"},
                       {"BlobsTotal", "property t"},       {"BlobsFailed", "property t"},
                       {"BytesPerSecond", "property t"},   {"RemainingUSec", "property t"},
                       {"Drives", "property ao"},          {"DrivesTotal", "property u"},      {"DrivesHere", "property u"},
                       {"DiagnosticsPath", "property s const"}, {"LogLevel", "property s"},
                       {"BackupManifest", "property b"},   {"IncompleteListUri", "property s"},
                       {"CreatedUSec", "property t const"}, {"CompletedUSec", "property t"},
                       {"ExpiresUSec", "property t"},      {"Expiry", "property s"},
                       {"Notice", "property s"},           {"Faulted", "property b"},
                       {"FaultReason", "property s"}}));
}

TEST_F(Introspection, DriveIsAsDesigned) {
    EXPECT_EQ(members(kDrive, bus::kDriveInterface),
              (Members{{"Release", "method a{sv}"},      {"Retry", "method a{sv}"},
                       {"Repair", "method a{sv}"},       {"GetKey", "method a{sv} -> h"},
                       {"Finished", "signal s"},         {"Serial", "property s const"},
                       {"State", "property s"},          {"Outcome", "property s"},
                       {"Faulted", "property b"},        {"FaultReason", "property s"},
                       {"Manifest", "property s"},       {"ManifestHash", "property s"},
                       {"VolumeId", "property s"},       {"Partition", "property u"},       {"CopyStatus", "property s"},
                       {"Device", "property o"},         {"Percent", "property d"},
                       {"BytesDone", "property t"},      {"BytesTotal", "property t"},
                       {"BlobsDone", "property t"},      {"BlobsTotal", "property t"},
                       {"BlobsFailed", "property t"},    {"BytesPerSecond", "property t"},
                       {"RemainingUSec", "property t"},  {"ErrorLogUri", "property s"},
                       {"VerboseLogUri", "property s"},  {"ManifestUri", "property s"},
                       {"Draining", "property b"},       {"OverdueUSec", "property t"}}));
}

TEST_F(Introspection, DeviceAndStoreAreAsDesigned) {
    EXPECT_EQ(members(kDevice, bus::kDeviceInterface),
              (Members{{"Assign", "method sa{sv}"}, {"Serial", "property s"}, {"Model", "property s"},
                       {"Node", "property s"},      {"Bus", "property s"},    {"Bay", "property s"},
                       {"Size", "property t"},      {"Signature", "property s"}, {"Job", "property o"},
                       {"Opens", "property t"},     {"Problem", "property s"}}));
    EXPECT_EQ(members(kStore, bus::kStoreInterface),
              (Members{{"Check", "method a{sv}"}, {"Name", "property s const"}, {"Type", "property s const"},
                       {"Url", "property s"},     {"Reachable", "property b"},  {"Encrypted", "property b"},
                       {"Problem", "property s"}}));
}

TEST_F(Introspection, EveryPropertyCanBeReadAlsoWithForeignBytesInIt) {
    const std::pair<const char*, const char*> objects[] = {{bus::kRootPath, bus::kManagerInterface},
                                                           {kJob, bus::kJobInterface},
                                                           {kDrive, bus::kDriveInterface},
                                                           {kDevice, bus::kDeviceInterface},
                                                           {kStore, bus::kStoreInterface}};
    for (const auto& [path, interface] : objects) {
        const Answer answer = call(path, "org.freedesktop.DBus.Properties", "GetAll", "s", interface);
        EXPECT_EQ(answer.error, "") << interface << ": " << answer.sentence;
    }
}

TEST_F(Introspection, TheObjectManagerShowsEverything) {
    const Answer answer = call(bus::kRootPath, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", "");
    std::vector<std::string> paths;
    ASSERT_GT(sd_bus_message_enter_container(answer.reply.get(), 'a', "{oa{sa{sv}}}"), 0);
    while (sd_bus_message_enter_container(answer.reply.get(), 'e', "oa{sa{sv}}") > 0) {
        const char* path = nullptr;
        ASSERT_GT(sd_bus_message_read(answer.reply.get(), "o", &path), 0);
        ASSERT_GT(sd_bus_message_skip(answer.reply.get(), "a{sa{sv}}"), 0);
        ASSERT_GT(sd_bus_message_exit_container(answer.reply.get()), 0);
        paths.emplace_back(path);
    }
    std::ranges::sort(paths);
    EXPECT_EQ(paths, (std::vector<std::string>{kDevice, kJob, kDrive, kStore}));
}

TEST_F(Introspection, CountersComeFromTheModel) {
    const auto number = [&](const char* path, const char* interface, const char* name) {
        std::uint64_t value = 0;
        EXPECT_GE(sd_bus_get_property_trivial(client_.get(), bus::kService, path, interface, name, nullptr, 't', &value),
                  0)
            << name;
        return value;
    };
    EXPECT_EQ(number(kJob, bus::kJobInterface, "BytesDone"), 25U);
    EXPECT_EQ(number(kJob, bus::kJobInterface, "BytesTotal"), 100U);
    EXPECT_EQ(number(kJob, bus::kJobInterface, "BlobsFailed"), 1U);
    EXPECT_EQ(number(kJob, bus::kJobInterface, "BytesPerSecond"), 3000U);
    EXPECT_EQ(number(kJob, bus::kJobInterface, "CreatedUSec"), 1764000000000000U);
    EXPECT_EQ(number(kJob, bus::kJobInterface, "CompletedUSec"), 0U);
    EXPECT_EQ(number(kDrive, bus::kDriveInterface, "BlobsTotal"), 4U);
    EXPECT_EQ(number(kDrive, bus::kDriveInterface, "RemainingUSec"), 2000U);
    EXPECT_EQ(number(bus::kRootPath, bus::kManagerInterface, "RetentionUSec"), 90ULL * 86400 * 1000000);
    double percent = 0;
    EXPECT_GE(sd_bus_get_property_trivial(client_.get(), bus::kService, kDrive, bus::kDriveInterface, "Percent",
                                          nullptr, 'd', &percent),
              0);
    EXPECT_DOUBLE_EQ(percent, 25);
}

TEST_F(Introspection, PathsLeadFromOneObjectToTheOtherAndToNoneBySlash) {
    const auto text = [&](const char* path, const char* interface, const char* name) {
        const Answer answer = call(path, "org.freedesktop.DBus.Properties", "Get", "ss", interface, name);
        const char* value = "";
        EXPECT_GT(sd_bus_message_read(answer.reply.get(), "v", "o", &value), 0);
        return std::string(value);
    };
    EXPECT_EQ(text(kDrive, bus::kDriveInterface, "Device"), kDevice);
    EXPECT_EQ(text(kDevice, bus::kDeviceInterface, "Job"), kJob);
    with_engine([](RecordedEngine& engine) { engine.devices[0].job = ""; });
    EXPECT_EQ(text(kDrive, bus::kDriveInterface, "Device"), "/");
    EXPECT_EQ(text(kDevice, bus::kDeviceInterface, "Job"), "/");
}

}  // namespace
}  // namespace dray::test
