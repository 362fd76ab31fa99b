// SPDX-License-Identifier: Apache-2.0
//
// The properties of real disks (hot-plug-lab: USB, UAS and SCSI), given out by umockdev. Runs under
// umockdev-wrapper.
#include <gtest/gtest.h>
#include <umockdev.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "daemon/device/udev_monitor.hpp"
#include "tests/unit/device/device_events.hpp"
#include "tests/unit/device/udevd.hpp"

namespace dray {
namespace {

using Testbed = std::unique_ptr<UMockdevTestbed, decltype(&g_object_unref)>;

struct Disk {
    std::string name;
    std::vector<std::pair<std::string, std::string>> attributes;
    std::vector<std::pair<std::string, std::string>> properties;
};

class UdevMockTest : public testing::Test {
protected:
    void SetUp() override {
        // The monitor wants an udevd to run, though every word here is umockdev's.
        if (const std::string problem = Udevd::start(); !problem.empty())
            GTEST_SKIP() << problem;
        const char* preloaded = std::getenv("LD_PRELOAD");
        if (preloaded == nullptr || std::string(preloaded).find("umockdev") == std::string::npos)
            GTEST_SKIP() << "not run under umockdev-wrapper";
        testbed_.reset(umockdev_testbed_new());
        Result<EventLoop> loop = EventLoop::create();
        ASSERT_TRUE(loop);
        loop_ = std::make_unique<EventLoop>(*std::move(loop));
        events_ = std::make_unique<DeviceEvents>(*loop_);
        monitor_ = std::make_unique<UdevMonitor>(*loop_, false);
    }
    void TearDown() override {
        monitor_.reset();
        testbed_.reset();
    }
    void start() {
        const Result<void> started = monitor_->start(events_->callbacks());
        ASSERT_TRUE(started) << started.error().text();
    }

    /// Adds it, which also sends an `add`.
    std::string add(const Disk& disk) {
        std::vector<std::string> attributes;
        for (const auto& [key, value] : disk.attributes) {
            attributes.push_back(key);
            attributes.push_back(value);
        }
        std::vector<std::string> properties{"DEVTYPE", "disk", "DEVNAME", "/dev/" + disk.name};
        for (const auto& [key, value] : disk.properties) {
            properties.push_back(key);
            properties.push_back(value);
        }
        auto pointers = [](std::vector<std::string>& texts) {
            std::vector<gchar*> result;
            result.reserve(texts.size() + 1);
            for (std::string& text : texts)
                result.push_back(text.data());
            result.push_back(nullptr);
            return result;
        };
        gchar* path =
            umockdev_testbed_add_devicev(testbed_.get(), "block", disk.name.c_str(), nullptr,
                                         pointers(attributes).data(), pointers(properties).data());
        std::string result = path == nullptr ? "" : path;
        g_free(path);
        return result;
    }
    void event(const std::string& path, const char* action) {
        umockdev_testbed_uevent(testbed_.get(), path.c_str(), action);
    }
    /// As the kernel does it: the word first, and nothing is left in sysfs when it is heard.
    void unplug(const std::string& path) {
        event(path, "remove");
        umockdev_testbed_remove_device(testbed_.get(), path.c_str());
        // Left behind by umockdev, and then in the way of the next disk of that name.
        const std::unique_ptr<char, decltype(&std::free)> root(umockdev_testbed_get_root_dir(testbed_.get()), &std::free);
        std::filesystem::remove(std::string(root.get()) + "/sys/block" + path.substr(path.rfind('/')));
    }
    void change(const std::string& path, const char* key, const char* value) {
        umockdev_testbed_set_property(testbed_.get(), path.c_str(), key, value);
        umockdev_testbed_uevent(testbed_.get(), path.c_str(), "change");
    }

    Testbed testbed_{nullptr, &g_object_unref};
    std::unique_ptr<EventLoop> loop_;
    std::unique_ptr<DeviceEvents> events_;
    std::unique_ptr<UdevMonitor> monitor_;
};

Disk usb_disk(const std::string& name, const std::string& sequence, const std::string& serial) {
    return {.name = name,
            .attributes = {{"size", "131072"}, {"diskseq", sequence}},
            .properties = {{"DISKSEQ", sequence},
                           {"ID_BUS", "usb"},
                           {"ID_SERIAL_SHORT", serial},
                           {"ID_SERIAL", "QEMU_QEMU_HARDDISK_" + serial + "-0:0"},
                           {"ID_MODEL", "QEMU_HARDDISK"},
                           {"ID_PATH", "pci-0000:00:04.0-usb-0:1:1.0-scsi-0:0:0:0"},
                           {"ID_FS_TYPE", "crypto_LUKS"},
                           {"ID_FS_UUID", "9e5b3c0e-0a4f-4c5d-9d3c-0d7c3f1c2b11"}}};
}

TEST_F(UdevMockTest, AUsbDiskHasAllItsProperties) {
    add(usb_disk("sda", "17", "USB-0001"));
    start();
    ASSERT_TRUE(events_->wait_for("USB-0001"));
    const Device expected{.id = "sda_17",
                          .serial = "USB-0001",
                          .model = "QEMU_HARDDISK",
                          .node = "/dev/sda",
                          .bus = "usb",
                          .bay = "pci-0000:00:04.0-usb-0:1:1.0-scsi-0:0:0:0",
                          .size = Bytes{131072} * 512,
                          .signature = "crypto_LUKS",
                          .volume_uuid = "9e5b3c0e-0a4f-4c5d-9d3c-0d7c3f1c2b11",
                          .is_image = false};
    EXPECT_EQ(events_->present.at("sda_17"), expected);
}

TEST_F(UdevMockTest, SerialsComeFromTheBestWitness) {
    using Properties = std::vector<std::pair<std::string, std::string>>;
    const struct {
        const char* what;
        Properties properties;
        const char* serial;
    } rows[] = {
        {"the short serial",
         {{"ID_BUS", "ata"}, {"ID_SERIAL_SHORT", "A1"}, {"ID_SERIAL", "X_A1"}},
         "A1"},
        {"a SAS disk's label, not its world-wide name",
         {{"ID_BUS", "scsi"}, {"ID_SERIAL_SHORT", "5000c500a1"}, {"ID_SCSI_SERIAL", "Z1D2"}},
         "Z1D2"},
        {"a SCSI disk without a unit serial",
         {{"ID_BUS", "scsi"}, {"ID_SERIAL_SHORT", "B2"}},
         "B2"},
        {"the long serial if there is no other",
         {{"ID_BUS", "usb"}, {"ID_SERIAL", "MODEL_C3"}},
         "MODEL_C3"},
        {"spaces go", {{"ID_SERIAL_SHORT", "WD WX 12"}}, "WDWX12"},
        {"strange bytes become lines",
         {{"ID_SERIAL_SHORT",
           "D\xff\x1b"
           "4"}},
         "D__4"},
        {"none at all", {}, ""},
    };
    start();
    int number = 0;
    for (const auto& row : rows) {
        const std::string name = "sd" + std::string(1, static_cast<char>('b' + number++));
        Disk disk{.name = name,
                  .attributes = {{"size", "8"}, {"diskseq", "5"}},
                  .properties = row.properties};
        disk.properties.emplace_back("DISKSEQ", "5");
        add(disk);
        ASSERT_TRUE(events_->wait([&] { return events_->present.contains(name + "_5"); }))
            << row.what;
        EXPECT_EQ(events_->present.at(name + "_5").serial, row.serial) << row.what;
    }
}

TEST_F(UdevMockTest, WhatIsNoWholeDiskOfOursIsPassedOver) {
    start();
    for (const char* name :
         {"loop0", "ram0", "zram0", "dm-0", "md127", "md_d0", "sr0", "nbd0", "fd0"})
        add({.name = name,
             .attributes = {{"size", "8"}},
             .properties = {{"ID_SERIAL_SHORT", name}}});
    add({.name = "sdz",
         .attributes = {{"size", "0"}},
         .properties = {{"ID_SERIAL_SHORT", "EMPTY"}}});
    add(usb_disk("sda", "17", "LAST"));
    ASSERT_TRUE(events_->wait_for("LAST"));
    EXPECT_EQ(events_->present.size(), 1U);
    EXPECT_EQ(events_->log.size(), 1U);
}

TEST_F(UdevMockTest, ARepeatedEventIsSilentAndAChangeKeepsTheId) {
    start();
    const std::string path = add(usb_disk("sda", "17", "USB-0001"));
    ASSERT_TRUE(events_->wait_for("USB-0001"));
    umockdev_testbed_uevent(testbed_.get(), path.c_str(), "add");
    umockdev_testbed_uevent(testbed_.get(), path.c_str(), "change");
    change(path, "ID_FS_TYPE", "ext4");
    ASSERT_TRUE(events_->wait([&] { return events_->present.at("sda_17").signature == "ext4"; }));
    EXPECT_EQ(events_->log, (std::vector<std::string>{"+sda_17", "+sda_17"}));
}

TEST_F(UdevMockTest, AMediumTakenOutIsRemovedAndAnUnpluggedDiskToo) {
    start();
    const std::string path = add(usb_disk("sda", "17", "USB-0001"));
    ASSERT_TRUE(events_->wait_for("USB-0001"));
    umockdev_testbed_set_attribute(testbed_.get(), path.c_str(), "size", "0");
    event(path, "change");
    ASSERT_TRUE(events_->wait_gone("USB-0001"));
    umockdev_testbed_set_attribute(testbed_.get(), path.c_str(), "size", "131072");
    event(path, "change");
    ASSERT_TRUE(events_->wait_for("USB-0001"));
    unplug(path);
    ASSERT_TRUE(events_->wait_gone("USB-0001"));
    add(usb_disk("sdb", "18", "NEXT"));
    ASSERT_TRUE(events_->wait_for("NEXT"));
    EXPECT_EQ(events_->log,
              (std::vector<std::string>{"+sda_17", "-sda_17", "+sda_17", "-sda_17", "+sdb_18"}));
}

TEST_F(UdevMockTest, ARemovalOfADiskThatIsThereIsNotBelieved) {
    start();
    const std::string path = add(usb_disk("sda", "17", "USB-0001"));
    ASSERT_TRUE(events_->wait_for("USB-0001"));
    event(path, "remove");
    event(path, "remove");
    // Nor one of the disk that had the name before.
    umockdev_testbed_set_property(testbed_.get(), path.c_str(), "DISKSEQ", "16");
    event(path, "remove");
    add(usb_disk("sdb", "18", "LAST"));
    ASSERT_TRUE(events_->wait_for("LAST"));
    EXPECT_EQ(events_->log, (std::vector<std::string>{"+sda_17", "+sdb_18"}));
}

TEST_F(UdevMockTest, EventsInAnyOrderAndNumberEndWithWhatIsThere) {
    const unsigned seed = std::getenv("DRAY_TEST_SEED") != nullptr
                              ? static_cast<unsigned>(std::strtoul(std::getenv("DRAY_TEST_SEED"), nullptr, 10))
                              : std::random_device{}();
    std::cout << "seed " << seed << '\n';
    std::mt19937 random(seed);
    const auto draw = [&](unsigned below) { return static_cast<unsigned>(random() % below); };

    struct Slot {
        std::string path;
        std::string sequence;
        std::string serial;
        std::string signature = "crypto_LUKS";
        bool has_medium = true;
    };
    std::map<std::string, Slot> plugged;
    unsigned sequence = 100;
    const auto plug_in = [&](const std::string& name) {
        Slot slot;
        slot.sequence = std::to_string(++sequence);
        slot.serial = "SER-" + slot.sequence;
        slot.path = add(usb_disk(name, slot.sequence, slot.serial));
        plugged[name] = slot;
    };
    const auto any_event = [&](const Slot& slot) {
        constexpr const char* kActions[] = {"add", "change", "remove", "change", "bind"};
        // umockdev's socket holds about ten at a time.
        for (unsigned i = draw(3); i > 0; --i)
            event(slot.path, kActions[draw(5)]);
    };
    start();
    for (int step = 1; step <= 400; ++step) {
        const std::string name = "sd" + std::string(1, static_cast<char>('a' + draw(4)));
        const auto found = plugged.find(name);
        if (found == plugged.end()) {
            plug_in(name);
        } else if (Slot& slot = found->second; draw(4) == 0) {
            const std::string old = slot.sequence;
            unplug(slot.path);
            plugged.erase(found);
            // The name goes to the next disk at once, and late words of the first one follow.
            if (draw(2) == 0) {
                plug_in(name);
                const Slot& next = plugged[name];
                umockdev_testbed_set_property(testbed_.get(), next.path.c_str(), "DISKSEQ", old.c_str());
                any_event(next);
                umockdev_testbed_set_property(testbed_.get(), next.path.c_str(), "DISKSEQ", next.sequence.c_str());
            }
        } else if (draw(3) == 0) {
            slot.has_medium = !slot.has_medium;
            umockdev_testbed_set_attribute(testbed_.get(), slot.path.c_str(), "size",
                                           slot.has_medium ? "131072" : "0");
            event(slot.path, "change");
        } else if (draw(2) == 0) {
            slot.signature = draw(2) == 0 ? "ext4" : "crypto_LUKS";
            change(slot.path, "ID_FS_TYPE", slot.signature.c_str());
        }
        if (const auto now = plugged.find(name); now != plugged.end())
            any_event(now->second);
        while (sd_event_run(loop_->get(), 0) > 0) {
        }
        if (step % 10 != 0)
            continue;
        // All before the marker has been heard when the marker is.
        const std::string marker = "MARK-" + std::to_string(step);
        const std::string path = add(usb_disk("sdz", std::to_string(++sequence), marker));
        ASSERT_TRUE(events_->wait_for(marker));
        std::map<std::string, std::string> expected;
        for (const auto& [key, slot] : plugged)
            if (slot.has_medium)
                expected[key + "_" + slot.sequence] = slot.serial + " " + slot.signature;
        std::map<std::string, std::string> known;
        for (const auto& [id, device] : events_->present)
            if (device.serial != marker)
                known[id] = device.serial + " " + device.signature;
        ASSERT_EQ(known, expected) << "step " << step << ", seed " << seed;
        unplug(path);
        ASSERT_TRUE(events_->wait_gone(marker));
    }
}

TEST_F(UdevMockTest, AnotherDiskUnderTheSameNameIsAnotherDevice) {
    start();
    const std::string path = add(usb_disk("sda", "17", "USB-0001"));
    ASSERT_TRUE(events_->wait_for("USB-0001"));
    // The name went to the next disk and the removal was never seen.
    umockdev_testbed_set_attribute(testbed_.get(), path.c_str(), "diskseq", "18");
    umockdev_testbed_set_property(testbed_.get(), path.c_str(), "ID_SERIAL_SHORT", "USB-0002");
    change(path, "DISKSEQ", "18");
    ASSERT_TRUE(events_->wait_for("USB-0002"));
    EXPECT_EQ(events_->log, (std::vector<std::string>{"+sda_17", "-sda_17", "+sda_18"}));
}

TEST_F(UdevMockTest, AnOldEventDoesNotLendItsSerialToTheNextDisk) {
    start();
    // The event still tells of disk 17 while the name belongs to 18 already.
    Disk stale = usb_disk("sda", "17", "OLD");
    stale.attributes = {{"size", "131072"}, {"diskseq", "18"}};
    const std::string path = add(stale);
    add(usb_disk("sdb", "19", "LAST"));
    ASSERT_TRUE(events_->wait_for("LAST"));
    EXPECT_EQ(events_->with_serial("OLD"), nullptr);
    umockdev_testbed_set_property(testbed_.get(), path.c_str(), "ID_SERIAL_SHORT", "NEW");
    change(path, "DISKSEQ", "18");
    ASSERT_TRUE(events_->wait_for("NEW"));
    EXPECT_EQ(events_->with_serial("NEW")->id, "sda_18");
}

}  // namespace
}  // namespace dray
