// SPDX-License-Identifier: Apache-2.0
#include "daemon/engine/device_book.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dray {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

Device disk(const std::string& id, const std::string& serial, const std::string& uuid = "",
            const std::string& bay = "") {
    Device device;
    device.id = id;
    device.serial = serial;
    device.node = "/dev/" + id.substr(0, id.find('_'));
    device.bus = "usb";
    device.bay = bay;
    device.size = 1000;
    device.volume_uuid = uuid;
    return device;
}

class DeviceBookTest : public testing::Test {
protected:
    DeviceBookTest() {
        job_.name = "job";
        job_.state = JobState::Shipping;
        job_.drives.emplace_back();
        drive().serial = "WD-1";
    }
    Drive& drive() { return job_.drives.front(); }
    void settle(std::span<const DeviceBook::Hold> holds = {}) { (void)book_.settle({&job_}, holds); }
    const std::string& problem(const std::string& id) const { return book_.find(id)->problem; }
    std::string owner() const {
        const DeviceEntry* entry = book_.device_of(job_, job_.drives.front());
        return entry == nullptr ? "" : entry->device.id;
    }

    Job job_;
    DeviceBook book_;
};

TEST_F(DeviceBookTest, TwoDevicesWithOneSerialBothWait) {
    book_.put(disk("sda_1", "WD-1", "", "pci-1"));
    book_.put(disk("sdb_2", "wd-1", "", "pci-2"));
    settle();
    EXPECT_EQ(owner(), "");
    for (const char* id : {"sda_1", "sdb_2"})
        EXPECT_THAT(problem(id), HasSubstr("drayctl assign"));
    // One goes: the other is the drive.
    (void)book_.take("sda_1");
    settle();
    EXPECT_EQ(owner(), "sdb_2");
}

TEST_F(DeviceBookTest, AKnownVolumeTellsTwoApart) {
    drive().volume_id = "AAAA-1";
    book_.put(disk("sda_1", "WD-1", "bbbb-2"));
    book_.put(disk("sdb_2", "WD-1", "aaaa-1"));
    settle();
    EXPECT_EQ(owner(), "sdb_2");
    EXPECT_THAT(problem("sda_1"), HasSubstr("holds volume bbbb-2"));
    EXPECT_THAT(problem("sdb_2"), IsEmpty());
}

TEST_F(DeviceBookTest, TwoCopiesOfOneVolumeWait) {
    drive().volume_id = "aaaa-1";
    book_.put(disk("sda_1", "WD-1", "aaaa-1"));
    book_.put(disk("sdb_2", "WD-1", "aaaa-1"));
    settle();
    EXPECT_EQ(owner(), "");
}

TEST_F(DeviceBookTest, AnotherDiskInADockIsNotTheDriveThatWasInItBefore) {
    drive().volume_id = "aaaa-1";
    book_.put(disk("sda_1", "WD-1", "bbbb-2"));
    settle();
    EXPECT_EQ(owner(), "");
    EXPECT_THAT(problem("sda_1"), HasSubstr("aaaa-1"));
    // Where udev knows no identifier (BitLocker, a partition table), the pair will look.
    book_.put(disk("sda_1", "WD-1", ""));
    settle();
    EXPECT_EQ(owner(), "sda_1");
}

TEST_F(DeviceBookTest, AnAssignedDeviceNeedsNoSerialAndIsKnownAgainByItsPlaceOrItsVolume) {
    const Device dock = disk("sda_1", "DOCK", "aaaa-1", "pci-1");
    drive().assigned_device = fingerprint_of(dock);
    book_.put(dock);
    book_.put(disk("sdb_2", "WD-1", "", "pci-2"));
    settle();
    EXPECT_EQ(owner(), "sda_1");
    EXPECT_THAT(problem("sdb_2"), HasSubstr("another device assigned"));
    (void)book_.take("sda_1");
    book_.put(disk("sda_3", "DOCK", "aaaa-1", "pci-1"));
    settle();
    EXPECT_EQ(owner(), "sda_3") << "the same disk under another id";
    (void)book_.take("sda_3");
    book_.put(disk("sdc_4", "DOCK", "aaaa-1", "pci-9"));
    settle();
    EXPECT_EQ(owner(), "") << "another bay, and its volume is not known yet";
    drive().volume_id = "aaaa-1";
    settle();
    EXPECT_EQ(owner(), "sdc_4");
}

TEST_F(DeviceBookTest, AnotherDiskInTheDockOfAnAssignedOneIsNotIt) {
    const Device dock = disk("sda_1", "DOCK", "aaaa-1", "pci-1");
    drive().assigned_device = fingerprint_of(dock);
    drive().volume_id = "aaaa-1";
    book_.put(disk("sda_2", "DOCK", "bbbb-2", "pci-1"));
    settle();
    EXPECT_EQ(owner(), "") << "its pair would end the drive for another disk's volume";
    EXPECT_THAT(problem("sda_2"), HasSubstr("holds volume bbbb-2, not aaaa-1"));
    (void)book_.take("sda_2");
    book_.put(disk("sda_3", "DOCK", "aaaa-1", "pci-1"));
    settle();
    EXPECT_EQ(owner(), "sda_3");
}

TEST_F(DeviceBookTest, ACopyKeepsItsDeviceWhateverElseTurnsUp) {
    book_.put(disk("sdb_2", "WD-1"));
    settle();
    book_.put(disk("sda_1", "WD-1"));
    const DeviceBook::Hold hold{"sdb_2", "job", "WD-1"};
    settle(std::span(&hold, 1));
    EXPECT_EQ(owner(), "sdb_2");
}

TEST_F(DeviceBookTest, ADeviceThatCannotBeWorkedOnSaysWhy) {
    book_.put(disk("sda_1", "WD-1"));
    const struct {
        const char* what;
        JobState job;
        bool is_cancelled;
        DriveState drive;
        const char* problem;
    } rows[] = {
        {"early", JobState::Creating, false, DriveState::Specified, "arrived early"},
        {"cancelled before", JobState::Transferring, true, DriveState::Specified, "was cancelled before"},
        {"late", JobState::Packaging, false, DriveState::NeverReceived, "too late"},
        {"late, cancelled", JobState::Packaging, true, DriveState::Specified, "was cancelled before"},
        {"handed back", JobState::Transferring, false, DriveState::ShippedBack, "handed this drive back"},
        {"over", JobState::Completed, false, DriveState::ShippedBack, "asked for it and is Completed"},
        {"closed", JobState::Closed, false, DriveState::NeverReceived, "asked for it and is Closed"},
    };
    for (const auto& row : rows) {
        job_.state = row.job;
        job_.is_cancel_requested = row.is_cancelled;
        drive().state = row.drive;
        settle();
        EXPECT_THAT(problem("sda_1"), HasSubstr(row.problem)) << row.what;
    }
    job_.state = JobState::Shipping;
    job_.is_cancel_requested = false;
    drive().state = DriveState::NeverReceived;
    settle();
    EXPECT_THAT(problem("sda_1"), IsEmpty()) << "late, but before Packaging";
}

TEST_F(DeviceBookTest, AFreshDriveOfALiveJobGoesBeforeAFinishedOneOfAnOldJob) {
    Job old;
    old.name = "a-former";
    old.state = JobState::Packaging;
    old.drives.emplace_back();
    old.drives.front().serial = "WD-1";
    old.drives.front().state = DriveState::Completed;
    book_.put(disk("sda_1", "WD-1"));
    (void)book_.settle({&old, &job_}, {});
    EXPECT_EQ(book_.find("sda_1")->job, "job");
}

TEST(BusOf, IsTheControllerThatDrivesShare) {
    const auto bus = [](const char* word, const char* bay) {
        Device device = disk("sda_1", "X", "", bay);
        device.bus = word;
        return bus_of(device);
    };
    EXPECT_EQ(bus("usb", "pci-0000:00:14.0-usb-0:1:1.0-scsi-0:0:0:0"), "usb pci-0000:00:14.0");
    EXPECT_EQ(bus("usb", "pci-0000:00:14.0-usb-0:2:1.0-scsi-0:0:0:0"), "usb pci-0000:00:14.0");
    EXPECT_NE(bus("usb", "pci-0000:00:14.0-usb-0:1"), bus("usb", "pci-0000:03:00.0-usb-0:1"));
    EXPECT_EQ(bus("nvme", "pci-0000:03:00.0"), "nvme pci-0000:03:00.0");
    EXPECT_EQ(bus("loop", ""), "loop");
    Device image = disk("a_1", "A");
    image.is_image = true;
    EXPECT_EQ(bus_of(image), "");
}

}  // namespace
}  // namespace dray
