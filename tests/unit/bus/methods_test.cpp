// SPDX-License-Identifier: Apache-2.0
//
// Each method as a caller sees it: what reaches the engine, what comes back, what is refused.
#include <gmock/gmock.h>

#include <thread>

#include "daemon/base/memfd.hpp"
#include "tests/unit/bus/bus_fixture.hpp"

namespace dray::test {
namespace {

using bus::kDeviceInterface;
using bus::kDriveInterface;
using bus::kJobInterface;
using bus::kManagerInterface;
using bus::kRootPath;
using bus::kStoreInterface;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kInvalid = "org.dray1.Error.InvalidArgument";
constexpr const char* kUnsupported = "org.dray1.Error.Unsupported";

class Methods : public BusFixture {};

std::string path_in(const Answer& answer) {
    const char* path = nullptr;
    if (!answer.reply || sd_bus_message_read(answer.reply.get(), "o", &path) < 0)
        return "no path: " + answer.error + " " + answer.sentence;
    return path;
}

FileDescriptor key_of(std::string_view text) {
    return make_sealed_memfd("key", std::as_bytes(std::span(text))).value();
}

TEST_F(Methods, CreateJobHandsEveryOptionOn) {
    EXPECT_EQ(path_in(call(kRootPath, kManagerInterface, "CreateJob", "sssa{sv}", "oslo-3", "import", "vault", 5,
                           "diagnostics-path", "s", "logs", "log-level", "s", "Verbose", "backup-manifest", "b", 1,
                           "tags", "a{ss}", 1, "site", "north", "expected-drives", "u", 3U)),
              "/org/dray1/job/oslo_2d3");
    EXPECT_EQ(path_in(call(kRootPath, kManagerInterface, "CreateJob", "sssa{sv}", "bern", "import", "vault", 0)),
              "/org/dray1/job/bern");
    EXPECT_THAT(calls(), ElementsAre("create oslo-3 import vault diagnostics=logs level=Verbose backup=true "
                                     "tags=site=north; drives=3",
                                     "create bern import vault diagnostics=default level=Error backup=false tags= "
                                     "drives=0"));
}

TEST_F(Methods, CreateJobRefusesWhatItCannotMake) {
    struct Row {
        const char* what;
        const char* name;
        const char* type;
        const char* error;
        const char* sentence;
    };
    const Row rows[] = {
        {"name", "1lyon", "import", kInvalid, "1lyon"},
        {"line break in the name", "a\nb", "import", kInvalid, ""},
        {"type", "lyon", "copy", kInvalid, "\"copy\" is no type of job; it is import or export"},
    };
    for (const Row& row : rows) {
        const Answer answer =
            call(kRootPath, kManagerInterface, "CreateJob", "sssa{sv}", row.name, row.type, "vault", 0);
        EXPECT_EQ(answer.error, row.error) << row.what;
        EXPECT_THAT(answer.sentence, HasSubstr(row.sentence)) << row.what;
    }
    const Answer level = call(kRootPath, kManagerInterface, "CreateJob", "sssa{sv}", "lyon", "import", "vault", 1,
                              "log-level", "s", "loud");
    EXPECT_EQ(level.error, kInvalid);
    EXPECT_THAT(level.sentence, HasSubstr("option log-level: \"loud\" is not known"));
    EXPECT_THAT(calls(), IsEmpty());
}

TEST_F(Methods, AnExportIsMadeWithWhatItTakes) {
    EXPECT_EQ(path_in(call(kRootPath, kManagerInterface, "CreateJob", "sssa{sv}", "out", "export", "vault", 1, "selection", "a{sas}", 1,
                           "prefixes", 1, "/a/")), "/org/dray1/job/out");
    EXPECT_THAT(calls(), ElementsAre("export list= selection=" + format::write_blob_list({{"/a/"}}),
                                     HasSubstr("create out export vault")));
    call(kRootPath, kManagerInterface, "CreateJob", "sssa{sv}", "list", "export", "vault", 1, "list-blob", "s", "c/list");
    EXPECT_THAT(calls(), ElementsAre("export list=c/list selection=" + format::write_blob_list({}), HasSubstr("create list export")));
    call(kJob, kJobInterface, "AddDrive", "sa{sv}", "WD-9", 1, "overwrite", "b", 1);
    EXPECT_THAT(calls(), ElementsAre(HasSubstr("add-drive lyon-17 WD-9 key=none"), "overwrite"));
}

TEST_F(Methods, EveryMethodRefusesUnknownOptionsByName) {
    struct Row {
        const char* path;
        const char* interface;
        const char* member;
        const char* argument;
    };
    const Row rows[] = {
        {kJob, kJobInterface, "AddDrive", "S1"},   {kJob, kJobInterface, "Update", nullptr},
        {kJob, kJobInterface, "Ship", nullptr},    {kJob, kJobInterface, "Cancel", nullptr},
        {kJob, kJobInterface, "Close", nullptr},   {kJob, kJobInterface, "Delete", nullptr},
        {kDrive, kDriveInterface, "Release", nullptr}, {kDrive, kDriveInterface, "Retry", nullptr},
        {kDrive, kDriveInterface, "Repair", nullptr},  {kDrive, kDriveInterface, "GetKey", nullptr},
        {kDevice, kDeviceInterface, "Assign", "lyon-17"}, {kStore, kStoreInterface, "Check", nullptr},
    };
    for (const Row& row : rows) {
        const Answer answer =
            row.argument != nullptr
                ? call(row.path, row.interface, row.member, "sa{sv}", row.argument, 1, "frobnicate", "b", 1)
                : call(row.path, row.interface, row.member, "a{sv}", 1, "frobnicate", "b", 1);
        EXPECT_EQ(answer.error, kInvalid) << row.member;
        EXPECT_THAT(answer.sentence, HasSubstr("unknown option \"frobnicate\"")) << row.member;
    }
    const Answer create = call(kRootPath, kManagerInterface, "CreateJob", "sssa{sv}", "lyon", "import", "vault", 1,
                               "frobnicate", "b", 1);
    EXPECT_THAT(create.sentence, HasSubstr("known are selection, list-blob, diagnostics-path, log-level, "
                                           "backup-manifest, tags, expected-drives"));
    EXPECT_THAT(calls(), IsEmpty());
}

TEST_F(Methods, EveryMethodRefusesWrongTypes) {
    struct Row {
        const char* path;
        const char* interface;
        const char* member;
    };
    const Row rows[] = {
        {kRootPath, kManagerInterface, "CreateJob"}, {kRootPath, kManagerInterface, "GetJob"},
        {kRootPath, kManagerInterface, "ListJobs"},  {kRootPath, kManagerInterface, "ListDevices"},
        {kRootPath, kManagerInterface, "PreviewExport"}, {kRootPath, kManagerInterface, "Reload"},
        {kJob, kJobInterface, "AddDrive"},   {kJob, kJobInterface, "Update"}, {kJob, kJobInterface, "Ship"},
        {kJob, kJobInterface, "Cancel"},     {kJob, kJobInterface, "Close"},  {kJob, kJobInterface, "Delete"},
        {kDrive, kDriveInterface, "Release"}, {kDrive, kDriveInterface, "Retry"},
        {kDrive, kDriveInterface, "Repair"}, {kDrive, kDriveInterface, "GetKey"},
        {kDevice, kDeviceInterface, "Assign"}, {kStore, kStoreInterface, "Check"},
    };
    for (const Row& row : rows) {
        EXPECT_EQ(call(row.path, row.interface, row.member, "du", 1.5, 3U).error, SD_BUS_ERROR_INVALID_ARGS)
            << row.member;
        EXPECT_EQ(call(row.path, row.interface, row.member, "a{ss}", 0).error, SD_BUS_ERROR_INVALID_ARGS)
            << row.member;
    }
    EXPECT_THAT(calls(), IsEmpty());
}

TEST_F(Methods, JobMethodsReachTheEngineWithTheirOptions) {
    const FileDescriptor key = key_of("sesame\n");
    EXPECT_EQ(path_in(call(kJob, kJobInterface, "AddDrive", "sa{sv}", "WD-2", 6, "key", "h", key.get(), "manifest",
                           "s", "\\m.xml", "manifest-hash", "s", "AA", "header-hash", "s", "BB", "volume-id", "s",
                           "v1", "partition", "u", 2)),
              "/org/dray1/job/lyon_2d17/drive/WD_2d2");
    call(kJob, kJobInterface, "Update", "a{sv}", 6, "tags", "a{ss}", 1, "a", "b", "log-level", "s", "Error",
         "backup-manifest", "b", 0, "carrier", "s", "Post", "tracking", "s", "1Z", "cancel-requested", "b", 1);
    call(kJob, kJobInterface, "Update", "a{sv}", 0);
    call(kJob, kJobInterface, "Ship", "a{sv}", 2, "carrier", "s", "Post", "tracking", "s", "1Z");
    call(kJob, kJobInterface, "Cancel", "a{sv}", 0);
    call(kJob, kJobInterface, "Cancel", "a{sv}", 1, "drain", "s", "piece");
    call(kJob, kJobInterface, "Close", "a{sv}", 0);
    call(kJob, kJobInterface, "Delete", "a{sv}", 0);
    call(kJob, kJobInterface, "Delete", "a{sv}", 1, "force", "b", 1);
    EXPECT_THAT(calls(),
                ElementsAre("add-drive lyon-17 WD-2 key=sesame\n manifest=\\m.xml hash=AA header=BB volume=v1 partition=2",
                            "update lyon-17 tags=a=b; level=Error backup=false carrier=Post tracking=1Z cancel=true",
                            "update lyon-17 tags=- level=- backup=- carrier=- tracking=- cancel=-",
                            "ship lyon-17 carrier=Post tracking=1Z address=-", "cancel lyon-17 default",
                            "cancel lyon-17 piece", "close lyon-17", "delete lyon-17 false", "delete lyon-17 true"));
}

TEST_F(Methods, ShipHandsTheReturnAddressOn) {
    const Answer answer = call(kJob, kJobInterface, "Ship", "a{sv}", 1, "return-address", "a{ss}", 1, "city", "Oslo");
    EXPECT_EQ(answer.error, "");
    EXPECT_THAT(calls(), ElementsAre("ship lyon-17 carrier= tracking= address=city=Oslo;"));
}

TEST_F(Methods, WordsThatAreNotKnownAreRefusedWithTheOnesThatAre) {
    const Answer drain = call(kJob, kJobInterface, "Cancel", "a{sv}", 1, "drain", "s", "file");
    EXPECT_EQ(drain.error, kInvalid);
    EXPECT_EQ(drain.sentence, "option drain: \"file\" is not known; it is drive, blob or piece");
    EXPECT_THAT(calls(), IsEmpty());
    // Whether false changes nothing or comes too late is the engine's to say.
    call(kJob, kJobInterface, "Update", "a{sv}", 1, "cancel-requested", "b", 0);
    EXPECT_THAT(calls(), ElementsAre("update lyon-17 tags=- level=- backup=- carrier=- tracking=- cancel=false"));
}

TEST_F(Methods, DriveDeviceAndStoreMethodsReachTheEngine) {
    const FileDescriptor key = key_of("k");
    call(kDrive, kDriveInterface, "Release", "a{sv}", 0);
    call(kDrive, kDriveInterface, "Retry", "a{sv}", 0);
    call(kDrive, kDriveInterface, "Retry", "a{sv}", 3, "key", "h", key.get(), "manifest", "s", "m", "manifest-hash",
         "s", "h");
    call(kDevice, kDeviceInterface, "Assign", "sa{sv}", "lyon-17", 1, "drive", "s", "WD-1");
    call(kDevice, kDeviceInterface, "Assign", "sa{sv}", "lyon-17", 0);
    EXPECT_THAT(calls(), ElementsAre("release lyon-17 WD-1", "retry lyon-17 WD-1 key=none manifest=- hash=-",
                                     "retry lyon-17 WD-1 key=k manifest=m hash=h", "assign sdb_17 lyon-17 WD-1",
                                     "assign sdb_17 lyon-17 "));
    call(kDevice, kDeviceInterface, "Assign", "sa{sv}", "lyon-17", 1, "overwrite", "b", 1);
    call(kDrive, kDriveInterface, "Retry", "a{sv}", 1, "overwrite", "b", 1);
    EXPECT_THAT(calls(), ElementsAre("assign sdb_17 lyon-17  overwrite", "retry lyon-17 WD-1 key=none manifest=- hash=- overwrite"));
    const Answer key_of_drive = call(kDrive, kDriveInterface, "GetKey", "a{sv}", 0);
    EXPECT_STREQ(sd_bus_message_get_signature(key_of_drive.reply.get(), 1), "h");
    EXPECT_THAT(calls(), ElementsAre("read-key lyon-17 WD-1"));
}

TEST_F(Methods, APreviewIsAskedForWithItsSelectionAndAnsweredWithADescriptor) {
    const Answer answer = call(kRootPath, kManagerInterface, "PreviewExport", "sa{sv}", "vault", 2, "drive-size", "s", "500GB",
                               "selection", "a{sas}", 4, "prefixes", 1, "/a/", "paths", 2, "b/x", "/", "base-paths", 1, "/b/y",
                               "snapshots", 1, "2026-01-01T00:00:00.0000000Z c/with blank");
    EXPECT_EQ(answer.error, "") << answer.sentence;
    EXPECT_STREQ(sd_bus_message_get_signature(answer.reply.get(), 1), "h");
    const format::BlobSelection wanted{{"/a/"}, {"b/x"}, {"/"}, {"b/y", false}, {"c/with blank", false, "2026-01-01T00:00:00.0000000Z"}};
    EXPECT_THAT(calls(), ElementsAre("preview vault size=500000000000 list= selection=" + format::write_blob_list(wanted)));
    EXPECT_EQ(call(kRootPath, kManagerInterface, "PreviewExport", "sa{sv}", "vault", 0).error, kInvalid);
}

TEST_F(Methods, WhatThisVersionLacksIsUnsupportedInOneSentence) {
    EXPECT_EQ(call(kRootPath, kManagerInterface, "Reload", "").error, kUnsupported);
    EXPECT_EQ(call(kDrive, kDriveInterface, "Repair", "a{sv}", 0).error, kUnsupported);
}

TEST_F(Methods, TheEnginesRefusalIsTheCallersError) {
    with_engine([](RecordedEngine& engine) {
        engine.refusal = Error(ErrorKind::Conflict, "cannot cancel job lyon-17: it is Packaging");
    });
    const Answer answer = call(kJob, kJobInterface, "Cancel", "a{sv}", 0);
    EXPECT_EQ(answer.error, "org.dray1.Error.StateConflict");
    EXPECT_EQ(answer.sentence, "cannot cancel job lyon-17: it is Packaging");
}

TEST_F(Methods, ObjectsThatAreNotThereAreUnknown) {
    for (const char* path : {"/org/dray1/job/other", "/org/dray1/job/LYON_2d17", "/org/dray1/job/lyon_2d17/x"})
        EXPECT_EQ(call(path, kJobInterface, "Cancel", "a{sv}", 0).error, SD_BUS_ERROR_UNKNOWN_OBJECT) << path;
    EXPECT_EQ(call("/org/dray1/job/lyon_2d17/drive/wd_2d1", kDriveInterface, "Release", "a{sv}", 0).error,
              SD_BUS_ERROR_UNKNOWN_OBJECT);
    EXPECT_EQ(call("/org/dray1/device/sdc", kDeviceInterface, "Assign", "sa{sv}", "x", 0).error,
              SD_BUS_ERROR_UNKNOWN_OBJECT);
    EXPECT_EQ(call("/org/dray1/store/other", kStoreInterface, "Check", "a{sv}", 0).error,
              SD_BUS_ERROR_UNKNOWN_OBJECT);
    EXPECT_THAT(calls(), IsEmpty());
}

TEST_F(Methods, GetJobFindsWithoutRegardToCase) {
    EXPECT_EQ(path_in(call(kRootPath, kManagerInterface, "GetJob", "s", "LYON-17")), kJob);
    const Answer none = call(kRootPath, kManagerInterface, "GetJob", "s", "oslo");
    EXPECT_EQ(none.error, "org.dray1.Error.NotFound");
    EXPECT_EQ(none.sentence, "there is no job oslo");
}

TEST_F(Methods, ListsShowOneRowEach) {
    const Answer jobs = call(kRootPath, kManagerInterface, "ListJobs", "");
    const char* name = nullptr;
    const char* type = nullptr;
    const char* state = nullptr;
    const char* path = nullptr;
    int is_cancelled = -1;
    double percent = 0;
    ASSERT_GT(sd_bus_message_enter_container(jobs.reply.get(), 'a', "(sssbdo)"), 0);
    ASSERT_GT(sd_bus_message_read(jobs.reply.get(), "(sssbdo)", &name, &type, &state, &is_cancelled, &percent, &path),
              0);
    EXPECT_THAT((std::vector<std::string>{name, type, state, path}),
                ElementsAre("lyon-17", "import", "Transferring", kJob));
    EXPECT_EQ(is_cancelled, 0);
    EXPECT_DOUBLE_EQ(percent, 25);
    EXPECT_EQ(sd_bus_message_at_end(jobs.reply.get(), 0), 1);

    const Answer devices = call(kRootPath, kManagerInterface, "ListDevices", "");
    const char* id = nullptr;
    const char* serial = nullptr;
    const char* node = nullptr;
    const char* job = nullptr;
    std::uint64_t size = 0;
    ASSERT_GT(sd_bus_message_enter_container(devices.reply.get(), 'a', "(ssstso)"), 0);
    ASSERT_GT(sd_bus_message_read(devices.reply.get(), "(ssstso)", &id, &serial, &node, &size, &job, &path), 0);
    EXPECT_THAT((std::vector<std::string>{id, serial, node, job, path}),
                ElementsAre("sdb_17", "WD-1", "/dev/sdb", "lyon-17", kDevice));
    EXPECT_EQ(size, 1000U);
}

TEST_F(Methods, CheckAnswersWhenTheStoreHasAndRunsOnceForAllWhoAsk) {
    Answer answers[2];
    std::vector<std::thread> callers;
    for (Answer& answer : answers) {
        callers.emplace_back([&] {
            const bus::Bus client = bus_.connect();
            answer = call_as(client.get(), kStore, kStoreInterface, "Check", "a{sv}", 0);
        });
    }
    // Both wait in one check before it is told how the store was.
    std::size_t waiting = 0;
    while (waiting < 2)
        with_objects([&](bus::Objects& objects) { waiting = objects.checks()["vault"].size(); });
    with_engine([](RecordedEngine& engine) {
        ASSERT_EQ(engine.checks.size(), 1U);
        engine.checks[0](fail(ErrorKind::Unreachable, "store vault does not answer"));
    });
    for (std::thread& caller : callers)
        caller.join();
    for (const Answer& answer : answers) {
        EXPECT_EQ(answer.error, "org.dray1.Error.StoreUnreachable");
        EXPECT_EQ(answer.sentence, "store vault does not answer");
    }
    EXPECT_THAT(calls(), ElementsAre("check vault"));
}

TEST_F(Methods, CheckOutlivesACallerThatLeft) {
    bus::Bus client = bus_.connect();
    sd_bus_message* raw = nullptr;
    ASSERT_GE(sd_bus_message_new_method_call(client.get(), &raw, bus::kService, kStore, kStoreInterface, "Check"), 0);
    bus::BusMessage message(raw);
    ASSERT_GE(sd_bus_message_append(raw, "a{sv}", 0), 0);
    ASSERT_GE(sd_bus_send(client.get(), raw, nullptr), 0);
    std::size_t running = 0;
    while (running == 0)
        with_engine([&](RecordedEngine& engine) { running = engine.checks.size(); });
    message.reset();
    client.reset();
    with_engine([](RecordedEngine& engine) { engine.checks[0]({}); });
    // The service is alive, and the next check is a new one.
    EXPECT_EQ(path_in(call(kRootPath, kManagerInterface, "GetJob", "s", "lyon-17")), kJob);
    with_objects([](bus::Objects& objects) { EXPECT_FALSE(objects.checks().contains("vault")); });
}

}  // namespace
}  // namespace dray::test
