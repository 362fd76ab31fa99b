// SPDX-License-Identifier: Apache-2.0
//
// What watchers hear when the engine tells of a change.
#include <gmock/gmock.h>

#include "tests/unit/bus/bus_fixture.hpp"

namespace dray::test {
namespace {

using testing::Contains;
using testing::ElementsAre;

/// Collects org.dray1's signals as "member path: what".
class Announcements : public BusFixture {
protected:
    Announcements() {
        sd_bus_slot* slot = nullptr;
        EXPECT_GE(sd_bus_match_signal(client_.get(), &slot, bus::kService, nullptr, nullptr, nullptr, heard, this), 0);
        slot_.reset(slot);
    }
    ~Announcements() override { slot_.reset(); }

    /// Everything sent up to now: an answer comes after all signals that were sent before it.
    std::vector<std::string> signals() {
        call(bus::kRootPath, bus::kManagerInterface, "GetJob", "s", "lyon-17");
        while (sd_bus_process(client_.get(), nullptr) > 0) {
        }
        return std::exchange(signals_, {});
    }

private:
    static int heard(sd_bus_message* message, void* self, sd_bus_error* /*error*/) noexcept {
        auto& test = *static_cast<Announcements*>(self);
        std::string line = sd_bus_message_get_member(message);
        if (line == "NameOwnerChanged")
            return 0;
        const std::string path = sd_bus_message_get_path(message);
        const char* text = "";
        if (line == "PropertiesChanged") {
            line += " " + path + ":" + changed_names(message);
        } else if (line.starts_with("Interfaces")) {
            (void)sd_bus_message_read(message, "o", &text);
            line += " " + std::string(text);
        } else {
            (void)sd_bus_message_read(message, "s", &text);
            line += " " + path + ": " + text;
        }
        test.signals_.push_back(line);
        return 0;
    }

    static std::string changed_names(sd_bus_message* message) {
        std::string names;
        (void)sd_bus_message_skip(message, "s");
        (void)sd_bus_message_enter_container(message, 'a', "{sv}");
        while (sd_bus_message_enter_container(message, 'e', "sv") > 0) {
            const char* name = "";
            (void)sd_bus_message_read(message, "s", &name);
            names += std::string(" ") + name;
            (void)sd_bus_message_skip(message, "v");
            (void)sd_bus_message_exit_container(message);
        }
        return names;
    }

    bus::BusSlot slot_;
    std::vector<std::string> signals_;
};

constexpr const char* kCounters =
    " Percent BytesDone BytesTotal BlobsDone BlobsTotal BlobsFailed BytesPerSecond RemainingUSec";

TEST_F(Announcements, ProgressIsTheCountersAlone) {
    with_objects([](bus::Objects& objects) {
        const Job& job = *recorded_engine().jobs[0];
        objects.job_changed(job, Change::Progress);
        objects.drive_changed(job, job.drives[0], Change::Progress);
    });
    EXPECT_THAT(signals(), ElementsAre(std::string("PropertiesChanged ") + kJob + ":" + kCounters,
                                       std::string("PropertiesChanged ") + kDrive + ":" + kCounters));
}

TEST_F(Announcements, AChangeOfStateTellsEverythingThatMayChange) {
    with_objects([](bus::Objects& objects) {
        const Job& job = *recorded_engine().jobs[0];
        objects.job_changed(job, Change::State);
        objects.drive_changed(job, job.drives[0], Change::State);
    });
    EXPECT_THAT(
        signals(),
        ElementsAre(std::string("PropertiesChanged ") + kJob + ": State CancelRequested Drain Outcome" + kCounters +
                        " Drives DrivesTotal DrivesHere LogLevel BackupManifest IncompleteListUri CompletedUSec "
                        "ExpiresUSec Expiry Notice Faulted FaultReason",
                    std::string("PropertiesChanged ") + kDrive +
                        ": State Outcome Faulted FaultReason Manifest ManifestHash VolumeId Partition CopyStatus Device" +
                        kCounters + " ErrorLogUri VerboseLogUri ManifestUri Draining OverdueUSec",
                    std::string("PropertiesChanged ") + kJob +
                        ": Drives DrivesTotal DrivesHere Faulted FaultReason ExpiresUSec Expiry Notice"));
}

TEST_F(Announcements, ObjectsComeAndGoBySignalAlsoWhenTheEngineHasForgottenThem) {
    with_objects([](bus::Objects& objects) {
        const auto job = std::move(recorded_engine().jobs[0]);
        recorded_engine().jobs.clear();
        objects.job_removed(*job);
        auto next = std::make_unique<Job>(*job);
        next->name = "bern";
        recorded_engine().jobs.push_back(std::move(next));
        objects.job_added(*recorded_engine().jobs[0]);
        objects.device_removed(recorded_engine().devices[0]);
    });
    const auto heard = signals();
    EXPECT_THAT(heard, Contains(std::string("InterfacesRemoved ") + kDrive));
    EXPECT_THAT(heard, Contains(std::string("InterfacesRemoved ") + kJob));
    EXPECT_THAT(heard, Contains("InterfacesAdded /org/dray1/job/bern"));
    EXPECT_THAT(heard, Contains(std::string("InterfacesRemoved ") + kDevice));
}

TEST_F(Announcements, FinishedComesAfterTheLastCounts) {
    with_objects([](bus::Objects& objects) {
        Job& job = *recorded_engine().jobs[0];
        job.outcome = "completed";
        job.drives[0].outcome = "cancelled";
        objects.job_changed(job, Change::State);
        objects.job_finished(job);
        objects.drive_finished(job, job.drives[0]);
    });
    const auto heard = signals();
    ASSERT_EQ(heard.size(), 3U);
    EXPECT_EQ(heard[1], std::string("Finished ") + kJob + ": completed");
    EXPECT_EQ(heard[2], std::string("Finished ") + kDrive + ": cancelled");
}

TEST_F(Announcements, ADrivesDevicePropertyFollowsThePlug) {
    with_objects([](bus::Objects& objects) {
        DeviceEntry device = recorded_engine().devices[0];
        objects.device_added(device);
        objects.device_changed(device);
        device.job = "";
        device.serial = "";
        objects.device_changed(device);
        objects.device_removed(device);
    });
    const std::string added = std::string("InterfacesAdded ") + kDevice;
    const std::string changed =
        std::string("PropertiesChanged ") + kDevice + ": Serial Model Node Bus Bay Size Signature Job Opens Problem";
    const std::string drive = std::string("PropertiesChanged ") + kDrive + ": Device";
    const std::string job = std::string("PropertiesChanged ") + kJob + ": DrivesHere";
    EXPECT_THAT(signals(), ElementsAre(added, drive, job, changed, changed, drive, job,
                                       std::string("InterfacesRemoved ") + kDevice));
}

TEST_F(Announcements, StoresAndTransfersAreTold) {
    int overviews = 0;
    with_objects([&](bus::Objects& objects) {
        objects.on_overview([&] { ++overviews; });
        objects.store_changed(recorded_engine().stores[0]);
        objects.transfers_changed();
        objects.job_added(*recorded_engine().jobs[0]);
        objects.on_overview({});
    });
    EXPECT_EQ(overviews, 2);
    EXPECT_THAT(signals(), ElementsAre(std::string("PropertiesChanged ") + kStore + ": Url Reachable Encrypted Problem",
                                       "PropertiesChanged /org/dray1: ActiveTransfers",
                                       std::string("InterfacesAdded ") + kJob));
}

TEST_F(Announcements, ProgressIsDroppedWhenTheBusDoesNotTakeIt) {
    with_objects([&](bus::Objects& objects) {
        const Job& job = *recorded_engine().jobs[0];
        // The loop stands still meanwhile, so what does not fit into the socket stays in the queue.
        std::uint64_t queued = 0;
        for (int i = 0; i < 200'000 && queued <= 1000; ++i) {
            objects.job_changed(job, Change::State);
            ASSERT_GE(sd_bus_get_n_queued_write(connection_->get(), &queued), 0);
        }
        if (queued <= 1000)
            GTEST_SKIP() << "the bus took everything at once";
        for (int i = 0; i < 100; ++i)
            objects.job_changed(job, Change::Progress);
        std::uint64_t later = 0;
        ASSERT_GE(sd_bus_get_n_queued_write(connection_->get(), &later), 0);
        EXPECT_LE(later, queued);
        objects.job_changed(job, Change::State);
    });
}

}  // namespace
}  // namespace dray::test
