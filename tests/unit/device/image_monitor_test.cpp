// SPDX-License-Identifier: Apache-2.0
#include "daemon/device/image_monitor.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "daemon/base/file.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/unit/device/device_events.hpp"

namespace dray {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;

TEST(SerialOfFileName, IsTheNameUpToItsLastDotWithoutSpaces) {
    EXPECT_EQ(serial_of_file_name("lyon-1.img"), "lyon-1");
    EXPECT_EQ(serial_of_file_name("lyon-1"), "lyon-1");
    EXPECT_EQ(serial_of_file_name("WD.12.raw"), "WD.12");
    EXPECT_EQ(serial_of_file_name("WD WX 1.iso"), "WDWX1");
    EXPECT_EQ(serial_of_file_name("a."), "a");
    EXPECT_EQ(serial_of_file_name(""), "");
}

class ImageMonitorTest : public testing::Test {
protected:
    void SetUp() override {
        drives_ = root_ / "drives";
        fs::create_directory(drives_);
        ASSERT_EQ(chmod(drives_.c_str(), 0755), 0);
        Result<EventLoop> loop = EventLoop::create();
        ASSERT_TRUE(loop);
        loop_ = std::make_unique<EventLoop>(*std::move(loop));
        events_ = std::make_unique<DeviceEvents>(*loop_);
    }
    void TearDown() override { monitor_.reset(); }

    Result<void> start() {
        monitor_ = std::make_unique<ImageMonitor>(*loop_, drives_.string());
        return monitor_->start(events_->callbacks());
    }
    static void write(const fs::path& path, const std::string& text = "content") {
        std::ofstream(path) << text;
    }
    /// Plugs one more image in and waits for it: whatever came before has been seen then.
    void settle() {
        const std::string serial = "settle" + std::to_string(++settles_);
        write(root_ / "settle");
        fs::rename(root_ / "settle", drives_ / (serial + ".img"));
        ASSERT_TRUE(events_->wait_for(serial));
        fs::remove(drives_ / (serial + ".img"));
        ASSERT_TRUE(events_->wait_gone(serial));
        std::erase_if(events_->log, [&](const std::string& line) {
            return line.substr(1).starts_with(serial + ".img");
        });
    }

    test::ScratchDirectory root_;
    fs::path drives_;
    int settles_ = 0;
    std::unique_ptr<EventLoop> loop_;
    std::unique_ptr<DeviceEvents> events_;
    std::unique_ptr<ImageMonitor> monitor_;
};

TEST_F(ImageMonitorTest, AnImageThatIsThereAtTheStartIsADeviceAtOnce) {
    write(drives_ / "lyon-1.img", "four");
    ASSERT_TRUE(start());
    ASSERT_THAT(events_->log, ElementsAre("+lyon-1.img_1"));
    const Device expected{.id = "lyon-1.img_1",
                          .serial = "lyon-1",
                          .model = "",
                          .node = (drives_ / "lyon-1.img").string(),
                          .bus = "image",
                          .bay = "",
                          .size = 4,
                          .signature = "",
                          .volume_uuid = "",
                          .is_image = true};
    EXPECT_EQ(events_->present.at("lyon-1.img_1"), expected);
}

TEST_F(ImageMonitorTest, ASlowWriterIsNoDriveUntilItCloses) {
    ASSERT_TRUE(start());
    std::ofstream slow(drives_ / "slow.img");
    slow << "first" << std::flush;
    settle();
    EXPECT_EQ(events_->with_serial("slow"), nullptr);
    slow << "second" << std::flush;
    settle();
    EXPECT_EQ(events_->with_serial("slow"), nullptr);
    slow.close();
    ASSERT_TRUE(events_->wait_for("slow"));
    EXPECT_EQ(events_->with_serial("slow")->size, 11U);
}

TEST_F(ImageMonitorTest, AWriterThatWasThereBeforeTheStartIsWaitedFor) {
    std::ofstream slow(drives_ / "slow.img");
    slow << "first" << std::flush;
    ASSERT_TRUE(start());
    EXPECT_TRUE(events_->log.empty());
    slow.close();
    ASSERT_TRUE(events_->wait_for("slow"));
}

TEST_F(ImageMonitorTest, AnImageMovedInOrLinkedInIsADevice) {
    ASSERT_TRUE(start());
    write(root_ / "a.img");
    fs::rename(root_ / "a.img", drives_ / "a.img");
    ASSERT_TRUE(events_->wait_for("a"));
    write(root_ / "b.img");
    fs::create_hard_link(root_ / "b.img", drives_ / "b.img");
    ASSERT_TRUE(events_->wait_for("b"));
}

TEST_F(ImageMonitorTest, AnImageDeletedOrMovedOutIsRemoved) {
    write(drives_ / "a.img");
    write(drives_ / "b.img");
    ASSERT_TRUE(start());
    fs::remove(drives_ / "a.img");
    fs::rename(drives_ / "b.img", root_ / "b.img");
    ASSERT_TRUE(events_->wait([&] { return events_->present.empty(); }));
    EXPECT_THAT(events_->log, ElementsAre("+a.img_1", "+b.img_2", "-a.img_1", "-b.img_2"));
}

TEST_F(ImageMonitorTest, ARenamedImageIsAnotherDevice) {
    write(drives_ / "a.img");
    ASSERT_TRUE(start());
    fs::rename(drives_ / "a.img", drives_ / "b.img");
    ASSERT_TRUE(events_->wait_for("b"));
    EXPECT_THAT(events_->log, ElementsAre("+a.img_1", "-a.img_1", "+b.img_2"));
}

TEST_F(ImageMonitorTest, AnImageIsRemovedAtTheFirstByteWrittenIntoItAndComesBackAsANewOne) {
    write(drives_ / "a.img");
    ASSERT_TRUE(start());
    const FileDescriptor fd(open((drives_ / "a.img").c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_EQ(pwrite(fd.get(), "C", 1, 0), 1);
    ASSERT_TRUE(events_->wait_gone("a"));
    settle();
    EXPECT_EQ(events_->with_serial("a"), nullptr);
    FileDescriptor closing(const_cast<FileDescriptor&>(fd).release());
    ASSERT_TRUE(closing.close());
    ASSERT_TRUE(events_->wait_for("a"));
    EXPECT_EQ(events_->log.front(), "+a.img_1");
    EXPECT_NE(events_->with_serial("a")->id, "a.img_1");
}

TEST_F(ImageMonitorTest, AnImageReplacedByARenameIsRemovedAndComesAsANewOne) {
    write(drives_ / "a.img");
    ASSERT_TRUE(start());
    write(root_ / "new", "other content");
    fs::rename(root_ / "new", drives_ / "a.img");
    ASSERT_TRUE(events_->wait([&] { return events_->log.size() == 3; }));
    EXPECT_THAT(events_->log, ElementsAre("+a.img_1", "-a.img_1", "+a.img_2"));
    EXPECT_EQ(events_->with_serial("a")->size, 13U);
}

TEST_F(ImageMonitorTest, OpeningAnImageForWritingWithoutWritingChangesNothing) {
    write(drives_ / "a.img");
    ASSERT_TRUE(start());
    FileDescriptor fd(open((drives_ / "a.img").c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_TRUE(fd.close());
    settle();
    EXPECT_THAT(events_->log, ElementsAre("+a.img_1"));
}

TEST_F(ImageMonitorTest, WhatIsNoImageIsPassedOver) {
    ASSERT_TRUE(start());
    write(drives_ / ".hidden.img");
    write(drives_ / "half.img.part");
    write(drives_ / "bell\a.img");
    write(drives_ / "caf\xc3\xa9.img");
    fs::create_directory(drives_ / "folder.img");
    write(root_ / "target.img");
    fs::create_symlink(root_ / "target.img", drives_ / "link.img");
    ASSERT_EQ(mkfifo((drives_ / "pipe.img").c_str(), 0600), 0);
    settle();
    EXPECT_TRUE(events_->log.empty()) << events_->log.front();
    // The same lot at a start.
    monitor_.reset();
    ASSERT_TRUE(start());
    EXPECT_TRUE(events_->log.empty()) << events_->log.front();
}

TEST_F(ImageMonitorTest, APartialNameThatIsRenamedBecomesADevice) {
    ASSERT_TRUE(start());
    write(drives_ / "a.img.part");
    fs::rename(drives_ / "a.img.part", drives_ / "a.img");
    ASSERT_TRUE(events_->wait_for("a"));
    EXPECT_THAT(events_->log, ElementsAre("+a.img_1"));
}

TEST_F(ImageMonitorTest, IdsAreNeverUsedTwice) {
    ASSERT_TRUE(start());
    for (int i = 1; i <= 5; ++i) {
        write(root_ / "a.img");
        fs::rename(root_ / "a.img", drives_ / "a.img");
        ASSERT_TRUE(events_->wait_for("a"));
        EXPECT_EQ(events_->present.begin()->first, "a.img_" + std::to_string(i));
        fs::remove(drives_ / "a.img");
        ASSERT_TRUE(events_->wait_gone("a"));
    }
}

TEST_F(ImageMonitorTest, MoreImagesThanOneReadHoldsAreAllSeen) {
    ASSERT_TRUE(start());
    for (int i = 0; i < 1000; ++i) {
        write(root_ / "x");
        fs::rename(root_ / "x", drives_ / ("drive-" + std::to_string(i) + ".img"));
    }
    EXPECT_TRUE(events_->wait([&] { return events_->present.size() == 1000; }));
}

TEST_F(ImageMonitorTest, LostEventsAreMadeUpForByLooking) {
    // More events than the kernel queues for one watcher, without a turn of the loop in between.
    int limit = 16384;
    std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> limit;
    if (limit > 100'000)
        GTEST_SKIP() << "the kernel queues " << limit << " events here: too many to overflow";
    write(drives_ / "gone.img");
    ASSERT_TRUE(start());
    write(root_ / "x.part");
    for (int i = 0; i < limit / 4 + 10; ++i) {
        fs::rename(root_ / "x.part", drives_ / "x.part");
        fs::rename(drives_ / "x.part", drives_ / "y.part");
        fs::rename(drives_ / "y.part", root_ / "x.part");
    }
    fs::remove(drives_ / "gone.img");
    write(drives_ / "new.img");
    ASSERT_TRUE(events_->wait_for("new"));
    EXPECT_EQ(events_->with_serial("gone"), nullptr);
}

TEST_F(ImageMonitorTest, ADirectoryThatOthersCanWriteIsRefusedWithItsModeAndTheMend) {
    for (const unsigned mode : {0775U, 0757U, 01777U}) {
        ASSERT_EQ(chmod(drives_.c_str(), mode), 0);
        const Result<void> started = start();
        ASSERT_FALSE(started);
        EXPECT_EQ(started.error().kind(), ErrorKind::Denied);
        EXPECT_THAT(started.error().text(), testing::HasSubstr(fmt::format("mode {:04o}", mode)));
        EXPECT_THAT(started.error().text(), testing::HasSubstr("chmod go-w"));
    }
    ASSERT_EQ(chmod(drives_.c_str(), 0755), 0);
    EXPECT_TRUE(start());
}

TEST_F(ImageMonitorTest, ADirectoryThatIsNotThereIsNotFound) {
    fs::remove(drives_);
    const Result<void> started = start();
    ASSERT_FALSE(started);
    EXPECT_EQ(started.error().kind(), ErrorKind::NotFound);
}

TEST_F(ImageMonitorTest, WhenTheDirectoryGoesItsImagesAreRemoved) {
    write(drives_ / "a.img");
    ASSERT_TRUE(start());
    fs::rename(drives_, root_ / "elsewhere");
    ASSERT_TRUE(events_->wait_gone("a"));
    EXPECT_THAT(events_->log, ElementsAre("+a.img_1", "-a.img_1"));
}

}  // namespace
}  // namespace dray
