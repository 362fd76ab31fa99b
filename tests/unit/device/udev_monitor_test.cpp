// SPDX-License-Identifier: Apache-2.0
#include "daemon/device/udev_monitor.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "tests/support/scratch_directory.hpp"
#include "tests/unit/device/device_events.hpp"
#include "tests/unit/device/udevd.hpp"

namespace dray {
namespace {

namespace fs = std::filesystem;

/// Loop devices of our own, on a real kernel and a real udevd.
class UdevMonitorTest : public testing::Test {
protected:
    void SetUp() override {
        if (const std::string problem = Udevd::start(); !problem.empty())
            GTEST_SKIP() << problem;
        Result<EventLoop> loop = EventLoop::create();
        ASSERT_TRUE(loop);
        loop_ = std::make_unique<EventLoop>(*std::move(loop));
        events_ = std::make_unique<DeviceEvents>(*loop_);
        serial_ = "dray-" + std::to_string(getpid());
    }
    void TearDown() override {
        monitor_.reset();
        if (!node_.empty())
            detach();
    }

    void start(bool allow_loop = true) {
        monitor_ = std::make_unique<UdevMonitor>(*loop_, allow_loop);
        const Result<void> started = monitor_->start(events_->callbacks());
        ASSERT_TRUE(started) << started.error().text();
    }
    /// An ext4 image of 1 MiB, so that udev has a signature to find.
    fs::path make_image(const std::string& serial) {
        fs::path image = root_ / (serial + ".img");
        std::ofstream(image).close();
        fs::resize_file(image, 1 << 20);
        EXPECT_TRUE(shell("mke2fs -q -F -t ext4 " + image.string() + " 2>&1").first);
        return image;
    }
    void attach(const fs::path& image) {
        const auto [good, node] = shell("losetup -f --show " + image.string() + " 2>/dev/null");
        if (!good)
            GTEST_SKIP() << "no loop device can be made here";
        node_ = node;
    }
    void detach() {
        (void)shell("losetup -d " + node_);
        node_.clear();
    }
    std::string name() const { return node_.substr(node_.rfind('/') + 1); }
    void poke(const std::string& action) {
        std::ofstream("/sys/block/" + name() + "/uevent") << action;
    }

    test::ScratchDirectory root_;
    std::string serial_;
    std::string node_;
    std::unique_ptr<EventLoop> loop_;
    std::unique_ptr<DeviceEvents> events_;
    std::unique_ptr<UdevMonitor> monitor_;
};

TEST_F(UdevMonitorTest, ALoopDeviceComesWithItsPropertiesAndGoes) {
    start();
    attach(make_image(serial_));
    if (IsSkipped())
        return;
    ASSERT_TRUE(events_->wait([&] {
        const Device* device = events_->with_serial(serial_);
        return device != nullptr && !device->signature.empty();
    }));
    const Device device = *events_->with_serial(serial_);
    EXPECT_EQ(device.node, node_);
    EXPECT_EQ(device.size, Bytes{1} << 20);
    EXPECT_EQ(device.bus, "loop");
    EXPECT_EQ(device.signature, "ext4");
    EXPECT_EQ(device.volume_uuid.size(), 36U);
    EXPECT_TRUE(device.id.starts_with(name() + "_")) << device.id;
    EXPECT_FALSE(device.is_image);
    detach();
    EXPECT_TRUE(events_->wait_gone(serial_));
    EXPECT_EQ(events_->log.back(), "-" + device.id);
}

TEST_F(UdevMonitorTest, ADiskThatIsThereAtTheStartIsAnnouncedByTheStart) {
    attach(make_image(serial_));
    if (IsSkipped())
        return;
    ASSERT_TRUE(shell("udevadm settle --timeout=20").first);
    start();
    EXPECT_NE(events_->with_serial(serial_), nullptr);
}

TEST_F(UdevMonitorTest, LoopDevicesAreNotSeenUnlessTheyAreAllowed) {
    start(false);
    attach(make_image(serial_));
    if (IsSkipped())
        return;
    ASSERT_TRUE(shell("udevadm settle --timeout=20").first);
    // A second monitor on the same loop that sees it proves that the first one could have.
    DeviceEvents other(*loop_);
    UdevMonitor allowed(*loop_, true);
    ASSERT_TRUE(allowed.start(other.callbacks()));
    poke("change");
    ASSERT_TRUE(shell("udevadm settle --timeout=20").first);
    ASSERT_TRUE(other.wait_for(serial_));
    while (sd_event_run(loop_->get(), 0) > 0) {
    }
    EXPECT_EQ(events_->with_serial(serial_), nullptr);
    for (const auto& [id, device] : events_->present)
        EXPECT_FALSE(id.starts_with("loop") || id.starts_with("zram") || id.starts_with("ram"))
            << id;
}

TEST_F(UdevMonitorTest, AnotherImageOnTheSameNodeIsAnotherDevice) {
    start();
    attach(make_image(serial_));
    if (IsSkipped())
        return;
    ASSERT_TRUE(events_->wait_for(serial_));
    const std::string old_id = events_->with_serial(serial_)->id;
    const std::string same = node_;
    ASSERT_TRUE(shell("losetup -d " + same).first);
    const std::string other = make_image(serial_ + "b").string();
    const std::string uuid = shell("blkid -p -o value -s UUID " + other).second;
    ASSERT_TRUE(shell("losetup " + same + " " + other).first);
    ASSERT_TRUE(events_->wait([&] {
        const Device* device = events_->with_serial(serial_ + "b");
        // Never the first image's content under the second one's name.
        EXPECT_TRUE(device == nullptr || device->volume_uuid.empty() ||
                    device->volume_uuid == uuid);
        return device != nullptr && device->volume_uuid == uuid;
    }));
    EXPECT_EQ(events_->with_serial(serial_), nullptr);
    EXPECT_EQ(events_->with_serial(serial_ + "b")->node, same);
    EXPECT_NE(events_->with_serial(serial_ + "b")->id, old_id);
    EXPECT_EQ(events_->count("-" + old_id), 1);
}

TEST_F(UdevMonitorTest, AStormOfEventsIsHarmless) {
    start();
    attach(make_image(serial_));
    if (IsSkipped())
        return;
    ASSERT_TRUE(events_->wait([&] {
        const Device* device = events_->with_serial(serial_);
        return device != nullptr && !device->signature.empty();
    }));
    const std::string id = events_->with_serial(serial_)->id;
    const Device before = *events_->with_serial(serial_);
    const long removals = events_->count("-" + id);
    for (int i = 0; i < 50; ++i) {
        poke("change");
        poke("add");
    }
    ASSERT_TRUE(shell("udevadm settle --timeout=60").first);
    while (sd_event_run(loop_->get(), 0) > 0) {
    }
    EXPECT_EQ(events_->count("-" + id), removals);
    ASSERT_NE(events_->with_serial(serial_), nullptr);
    EXPECT_EQ(*events_->with_serial(serial_), before);
    // Nor does a remove that is not true.
    for (int i = 0; i < 5; ++i)
        poke("remove");
    ASSERT_TRUE(shell("udevadm settle --timeout=60").first);
    while (sd_event_run(loop_->get(), 0) > 0) {
    }
    EXPECT_EQ(events_->count("-" + id), removals);
    EXPECT_NE(events_->with_serial(serial_), nullptr);
    poke("add");  // udevd's own memory of it goes with such a word
    ASSERT_TRUE(shell("udevadm settle --timeout=60").first);
}

TEST_F(UdevMonitorTest, LostEventsAreMadeUpForByLooking) {
    start();
    attach(make_image(serial_));
    if (IsSkipped())
        return;
    ASSERT_TRUE(events_->wait_for(serial_));
    // More than the socket holds, with nobody reading; the removal comes last and is lost.
    for (int i = 0; i < 400; ++i)
        poke("change");
    ASSERT_TRUE(shell("udevadm settle --timeout=120").first);
    const std::string id = events_->with_serial(serial_)->id;
    detach();
    ASSERT_TRUE(shell("udevadm settle --timeout=60").first);
    ASSERT_TRUE(events_->wait_gone(serial_));
    EXPECT_EQ(events_->log.back(), "-" + id);
}

TEST_F(UdevMonitorTest, ADiskOpensExclusivelyAndARepluggedNodeIsGone) {
    start();
    attach(make_image(serial_));
    if (IsSkipped())
        return;
    ASSERT_TRUE(events_->wait_for(serial_));
    const Device device = *events_->with_serial(serial_);
    Result<FileDescriptor> first = open_device(device);
    ASSERT_TRUE(first) << first.error().text();
    EXPECT_EQ(fcntl(first->get(), F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDONLY);
    const Result<FileDescriptor> second = open_device(device);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().kind(), ErrorKind::Busy);
    ASSERT_TRUE(first->close());
    Device other = device;
    other.id = name() + "_999999999";
    const Result<FileDescriptor> replugged = open_device(other);
    ASSERT_FALSE(replugged);
    EXPECT_EQ(replugged.error().kind(), ErrorKind::Gone);
    // Detaching waits for whoever has the device open, udev's own look among them.
    detach();
    ASSERT_TRUE(events_->wait_gone(serial_));
    const Result<FileDescriptor> empty = open_device(device);
    ASSERT_FALSE(empty);
    EXPECT_EQ(empty.error().kind(), ErrorKind::Gone);
}

}  // namespace
}  // namespace dray
