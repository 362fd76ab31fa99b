// SPDX-License-Identifier: Apache-2.0
//
// Faults, retries and removals, as far as they are a matter of time or of what a pair says (rules.md 1, 2, 9, 14, 19).
#include <sys/file.h>

#include <cerrno>

#include "daemon/base/file.hpp"
#include "tests/unit/engine/engine_fixture.hpp"

namespace dray::test {
namespace {

using transfer::Ending;
using transfer::TaskKind;

class Faults : public EngineTest {
protected:
    /// A pair at work for the one drive.
    Pair& begin() {
        start();
        make_job();
        plug();
        Pair& first = pair(1);
        EXPECT_EQ(drive().state, DriveState::Transferring);
        return first;
    }
};

TEST_F(Faults, ADriveIsTransferringFromTheStartOfItsPairOnAndReceivedWhenItIsFaulted) {
    Pair& first = begin();
    EXPECT_EQ(job().state, JobState::Transferring);
    EXPECT_EQ(drive().copy_status, "Unlocking");
    EXPECT_TRUE(first.has_device);
    first.end(fault_of(ErrorKind::WrongKey, "the key does not unlock the volume"));
    EXPECT_EQ(drive().state, DriveState::Received);
    EXPECT_EQ(drive().copy_status, "") << "nothing is under way";
    EXPECT_TRUE(drive().is_faulted);
    EXPECT_EQ(drive().fault_kind, "WrongKey");
    EXPECT_EQ(engine_->active_transfers(), 0U);
    EXPECT_FALSE(first.is_alive);
    EXPECT_EQ(job().state, JobState::Transferring) << "jobs never go back";
    // Only an operator mends it, with what the site has found out.
    RetryRequest request;
    request.manifest_hash = std::string(32, 'A');
    ASSERT_TRUE(engine_->retry("job", "SER", std::move(request)));
    EXPECT_EQ(pair(2).task.manifest_hash, std::string(32, 'A'));
    EXPECT_FALSE(drive().is_faulted);
    const Result<void> again = engine_->retry("job", "SER", {});
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().kind(), ErrorKind::Conflict);
}

TEST_F(Faults, AFaultOfTheStoreIsProbedAndMendsItself) {
    pace_.probe = kShort;
    begin().end(fault_of(ErrorKind::Unreachable, "the vault is away"));
    ASSERT_TRUE(drive().is_faulted);
    Pair& probe = pair(2);
    EXPECT_EQ(probe.task.kind, TaskKind::CheckStore);
    EXPECT_FALSE(probe.has_device) << "the drive is not touched for it";
    probe.end(fault_of(ErrorKind::Unreachable, "still away"));
    EXPECT_TRUE(drive().is_faulted);
    EXPECT_EQ(drive().fault_reason, "the vault is away") << "and nothing was said of it";
    EXPECT_FALSE(engine_->find_store("vault")->is_reachable);
    pair(3).end(report_of(Ending::Finished));
    EXPECT_FALSE(drive().is_faulted);
    EXPECT_TRUE(engine_->find_store("vault")->is_reachable);
    EXPECT_EQ(pair(4).task.kind, TaskKind::Import);
}

TEST_F(Faults, AStoreWhoseDiskIsGoneIsProbedAndNotTriedAgainAtOnce) {
    begin().end(fault_of(ErrorKind::Gone, "the vault: No such device"));
    run_idle();
    EXPECT_TRUE(drive().is_faulted) << "the drive is here, so its being here mends nothing";
    EXPECT_EQ(drive().fault_kind, "Unreachable");
    EXPECT_EQ(pairs_.size(), 1U);
}

TEST_F(Faults, OneProbeIsForAllDrivesOfAStoreAndNoneForOtherFaults) {
    pace_.probe = kShort;
    start();
    for (const char* serial : {"A", "B", "C"}) {
        make_job(std::string("job-") + serial, serial);
        plug(serial);
    }
    pair(3);
    for (std::size_t i = 0; i < 3; ++i)
        pairs_[i]->end(fault_of(i == 2 ? ErrorKind::WrongKey : ErrorKind::NoSpace, "no"));
    pair(4).end(report_of(Ending::Finished));
    EXPECT_EQ(pair(5).task.kind, TaskKind::Import);
    EXPECT_EQ(pair(6).task.kind, TaskKind::Import);
    EXPECT_TRUE(drive("C", "job-C").is_faulted);
    for (const std::size_t i : {4U, 5U})
        pairs_[i]->end(report_of(Ending::Finished, "Completed"));
    // Nobody polls a store that no drive waits for.
    pace_.probe = kNever;
    const std::size_t before = pairs_.size();
    for (int round = 0; round < 20; ++round)
        (void)sd_event_run(loop_.get(), 5'000);
    EXPECT_EQ(pairs_.size(), before);
}

TEST_F(Faults, ADrainingDriveThatIsFaultedIsProbedTooAndGoesOnDraining) {
    pace_.probe = kShort;
    Pair& first = begin();
    ASSERT_TRUE(engine_->cancel("job", DrainMode::Blob));
    EXPECT_TRUE(first.was_sent<transfer::Drain>());
    first.end(fault_of(ErrorKind::Unreachable, "the vault is away"));
    run_idle();
    EXPECT_TRUE(drive().is_draining);
    EXPECT_EQ(job().state, JobState::Transferring) << "a drive that drains holds its job";
    pair(2).end(report_of(Ending::Finished));
    Pair& again = pair(3);
    EXPECT_EQ(again.task.kind, TaskKind::Import);
    EXPECT_TRUE(again.task.is_draining);
    EXPECT_EQ(again.task.drain, DrainMode::Blob);
    again.end(report_of(Ending::Cancelled));
    EXPECT_EQ(drive().state, DriveState::CompletedMoreInfo);
    EXPECT_EQ(drive().copy_status, "Cancelled");
    EXPECT_EQ(job().state, JobState::Packaging);
}

TEST_F(Faults, ABusyDeviceIsTriedAFewTimesBeforeItIsAFaultAndProbedAfterwards) {
    start();
    make_job();
    const std::string path = scratch_ / "drives/SER.img";
    ASSERT_TRUE(write_file_atomically(path, std::as_bytes(std::span("image", 5)), 0600));
    FileDescriptor other = open_file(path, O_RDONLY).value();
    ASSERT_EQ(flock(other.get(), LOCK_EX), 0);
    plug();
    ASSERT_TRUE(wait([&] { return drive().is_faulted; }));
    EXPECT_EQ(drive().fault_kind, "Busy");
    EXPECT_EQ(drive().started, TimePoint()) << "it was never opened";
    EXPECT_TRUE(pairs_.empty());
    ASSERT_TRUE(engine_->retry("job", "SER", {}));
    EXPECT_FALSE(drive().is_faulted);
    // Whoever had it lets go within the time that is waited.
    run_idle();
    ASSERT_TRUE(other.close());
    EXPECT_EQ(pair(1).task.kind, TaskKind::Import);
}

TEST_F(Faults, ADriveThatWasNeverOpenedIsReleasedWithoutALog) {
    start();
    make_job();
    const std::string path = scratch_ / "drives/SER.img";
    ASSERT_TRUE(write_file_atomically(path, std::as_bytes(std::span("image", 5)), 0600));
    const FileDescriptor other = open_file(path, O_RDONLY).value();
    ASSERT_EQ(flock(other.get(), LOCK_EX), 0);
    plug();
    ASSERT_TRUE(wait([&] { return drive().is_faulted; }));
    ASSERT_TRUE(engine_->release("job", "SER"));
    EXPECT_EQ(drive().state, DriveState::CompletedMoreInfo);
    EXPECT_TRUE(pairs_.empty());
}

TEST_F(Faults, AReleasedDriveGetsItsLogAndEndsWhateverTheStoreSays) {
    begin().end(fault_of(ErrorKind::Unreachable, "the vault is away"));
    ASSERT_TRUE(engine_->release("job", "SER"));
    Pair& writer = pair(2);
    EXPECT_EQ(writer.task.kind, TaskKind::Abandon);
    EXPECT_FALSE(writer.has_device);
    EXPECT_EQ(drive().state, DriveState::Received) << "not before the log is written";
    EXPECT_FALSE(engine_->release("job", "SER")) << "it is being released already";
    writer.end(fault_of(ErrorKind::Unreachable, "still away"));
    EXPECT_EQ(drive().state, DriveState::CompletedMoreInfo);
    EXPECT_FALSE(drive().is_faulted);
    EXPECT_EQ(job().state, JobState::Packaging);
}

TEST_F(Faults, ALogThatTheStoreDoesNotTakeHoldsTheDriveUpUntilItIsDelivered) {
    pace_.probe = std::chrono::milliseconds(100);
    Pair& first = begin();
    const Device device = *&engine_->devices().front()->device;
    engine_->device_removed(device.id);
    first.end();
    EXPECT_EQ(drive().state, DriveState::Received);
    ASSERT_TRUE(engine_->cancel("job", {}));
    Pair& writer = pair(2);
    ASSERT_EQ(writer.task.kind, TaskKind::Abandon);
    writer.end(fault_of(ErrorKind::Unreachable, "the vault is away"));
    EXPECT_TRUE(drive().is_faulted);
    EXPECT_EQ(drive().state, DriveState::Received);
    EXPECT_NE(drive().fault_reason.find("log"), std::string::npos) << drive().fault_reason;
    EXPECT_EQ(job().state, JobState::Transferring);
    EXPECT_EQ(pairs_.size(), 2U) << "and it is not tried again and again";
    pair(3).end(report_of(Ending::Finished));  // the probe
    Pair& again = pair(4);
    ASSERT_EQ(again.task.kind, TaskKind::Abandon);
    transfer::Report written = report_of(Ending::Finished);
    written.error_log_uri = "file:///log";
    again.end(written);
    EXPECT_EQ(drive().state, DriveState::CompletedMoreInfo);
    EXPECT_EQ(drive().copy_status, "Cancelled");
    EXPECT_EQ(drive().error_log_uri, "file:///log");
    EXPECT_EQ(job().state, JobState::Packaging);
}

TEST_F(Faults, ALogThatIsOwedIsTriedAgainAfterARestartAndGivenUpByARelease) {
    Pair& first = begin();
    engine_->device_removed("SER_1");
    first.end();
    ASSERT_TRUE(engine_->cancel("job", {}));
    pair(2).end(fault_of(ErrorKind::NoSpace, "full"));
    restart();
    run_idle();
    pair(3).end(fault_of(ErrorKind::NoSpace, "full"));
    EXPECT_TRUE(drive().is_faulted);
    ASSERT_TRUE(engine_->release("job", "SER"));
    pair(4).end(fault_of(ErrorKind::NoSpace, "full"));
    EXPECT_EQ(drive().state, DriveState::CompletedMoreInfo);
}

TEST_F(Faults, ThreeCrashesWithoutAPieceEndADriveAndAPieceStartsTheCountAnew) {
    start();
    make_job();
    plug();
    pair(1).end();
    pair(2).end();
    EXPECT_EQ(drive().crashes, 2U);
    transfer::Progress progress;
    progress.phase = "Transferring";
    progress.file = "photos/a.raw";
    progress.pieces_journaled = 7;
    pair(3).say(progress);
    EXPECT_EQ(drive().crashes, 0U);
    pair(3).end();
    EXPECT_EQ(drive().crashes, 1U) << "after progress it is no crash in a row";
    pair(4).end();
    pair(5).end();
    Pair& writer = pair(6);
    EXPECT_EQ(writer.task.kind, TaskKind::Abandon);
    EXPECT_EQ(writer.task.status, "InternalError");
    writer.end(report_of(Ending::Finished));
    EXPECT_EQ(drive().state, DriveState::CompletedMoreInfo);
    EXPECT_EQ(drive().copy_status, "InternalError");
}

TEST_F(Faults, ADeviceThatIsSaidToBeGoneAndIsThereIsLeftAloneForAWhileAndCountsAsACrash) {
    pace_.gone = kShort;
    start();
    make_job();
    plug();
    for (std::size_t time = 1; time <= 3; ++time) {
        pair(time).end(report_of(Ending::DeviceGone));
        EXPECT_EQ(drive().state, DriveState::Received);
        EXPECT_FALSE(drive().is_faulted);
        EXPECT_EQ(pairs_.size(), time) << "not at once";
    }
    EXPECT_EQ(pair(4).task.kind, TaskKind::Abandon);
    EXPECT_EQ(drive().crashes, 3U);
}

TEST_F(Faults, ADeviceThatWentWithinTheWhileIsNoCrash) {
    pace_.gone = std::chrono::milliseconds(100);
    start();
    make_job();
    plug();
    pair(1).end(report_of(Ending::DeviceGone));
    engine_->device_removed("SER_1");
    EXPECT_EQ(engine_->device_of(job(), drive()), nullptr);
    plug("SER", 2);  // the same disk under another id is the same drive
    EXPECT_EQ(pair(2).task.kind, TaskKind::Import);
    EXPECT_EQ(drive().crashes, 0U);
}

TEST_F(Faults, ARemovedDiskStopsItsPairAtOnceAndAnImageKillsIt) {
    pace_.gone = std::chrono::milliseconds(100);
    Pair& first = begin();
    // To the engine it is a disk from now on.
    Device disk = engine_->find_device("SER_1")->device;
    disk.is_image = false;
    engine_->device_present(disk);
    engine_->device_removed("SER_1");
    EXPECT_TRUE(first.was_sent<transfer::Stop>()) << "what it could not read must not be journaled (rules.md 1)";
    EXPECT_FALSE(first.is_killed);
    ASSERT_TRUE(wait([&] { return first.is_killed; }));
    first.end();
    EXPECT_EQ(drive().state, DriveState::Received);
    EXPECT_EQ(drive().crashes, 0U);
    plug("SER", 2);
    Pair& second = pair(2);
    engine_->device_removed("SER_2");
    EXPECT_TRUE(second.is_killed);
    EXPECT_FALSE(second.was_sent<transfer::Stop>());
}

TEST_F(Faults, UnlockingIsOneAtATimeAndHasALimit) {
    pace_.unlock = std::chrono::milliseconds(200);
    start();
    make_job("one", "A");
    make_job("two", "B");
    plug("A");
    plug("B");
    Pair& first = pair(1);
    Pair& second = pair(2);
    first.say(transfer::UnlockWanted{});
    second.say(transfer::UnlockWanted{});
    EXPECT_TRUE(first.was_sent<transfer::UnlockGranted>());
    EXPECT_FALSE(second.was_sent<transfer::UnlockGranted>());
    first.say(transfer::Unlocked{"luks2", "volume-a", "ext4", ""});
    EXPECT_TRUE(second.was_sent<transfer::UnlockGranted>());
    EXPECT_EQ(drive("A", "one").volume_id, "volume-a") << "remembered at the first unlock";
    ASSERT_TRUE(wait([&] { return second.is_killed; }));
    EXPECT_FALSE(first.is_killed);
    second.end();
    EXPECT_TRUE(drive("B", "two").is_faulted);
    EXPECT_EQ(drive("B", "two").fault_kind, "LimitReached");
}

TEST_F(Faults, AssignDoesNotWaiveTheVolumeThatADriveIsKnownFor) {
    Pair& first = begin();
    transfer::Unlocked unlocked;
    unlocked.volume_type = "luks2";
    unlocked.volume_id = "aaaa-1";
    first.say(unlocked);
    engine_->device_removed("SER_1");
    first.end();
    Device other = plug("OTHER", 2);
    other.volume_uuid = "bbbb-2";
    engine_->device_present(other);
    const Result<void> assigned = engine_->assign("OTHER_2", "job", "SER");
    ASSERT_FALSE(assigned);
    EXPECT_EQ(assigned.error().kind(), ErrorKind::Conflict);
    EXPECT_TRUE(drive().assigned_device.empty());
    other.volume_uuid = "AAAA-1";
    engine_->device_present(other);
    EXPECT_TRUE(engine_->assign("OTHER_2", "job", "SER"));
}

TEST_F(Faults, AJobThatWasNotShippedInItsTimeIsNotDeletedBeforeItsDriveCouldBeSeen) {
    config_.require_clock_sync = false;
    config_.lifecycle.auto_ship = true;
    pace_.sources_settle = kNever;
    start();
    make_unshipped_job("here", "HERE");
    make_unshipped_job("away", "AWAY");
    for (const char* name : {"here", "away"}) {
        Job late = job(name);
        late.expires = clock_.now() - std::chrono::seconds(1);
        ASSERT_TRUE(catalog_->save(late));
    }
    pace_.sources_settle = kShort;
    restart();
    plug("HERE");
    EXPECT_TRUE(wait([&] { return engine_->find_job("away") == nullptr; }));
    ASSERT_NE(engine_->find_job("here"), nullptr);
    EXPECT_NE(job("here").state, JobState::Creating);
}

TEST_F(Faults, WhatACheckSaysOfAStoreIsNotSaidOfTheOneThatAReloadPutInItsPlace) {
    start();
    std::optional<Result<void>> answer;
    ASSERT_TRUE(engine_->check_store("vault", [&](Result<void> result) { answer = std::move(result); }));
    const Config before = config_;
    config_.stores["vault"].path = scratch_ / "other";
    ASSERT_TRUE(engine_->obstacles_to(config_).empty());
    engine_->reconfigured(before);
    transfer::Report report = report_of(Ending::Finished);
    report.store_identity = "directory:first";
    pair(1).end(report);
    ASSERT_TRUE(answer);
    EXPECT_FALSE(*answer) << "the caller asked for the store of that name";
    ASSERT_TRUE(engine_->check_store("vault", [](Result<void>) {}));
    EXPECT_EQ(pair(2).task.store.path, scratch_ / "other");
    EXPECT_EQ(pair(2).task.store_identity, "") << "nothing was ever in that place";
}

TEST_F(Faults, StoppingGoesOnWhateverComesInBeforeTheLoopGoesOn) {
    start();
    make_job();
    run_idle();
    bool has_stopped = false;
    engine_->stop([&] { has_stopped = true; });
    plug();
    EXPECT_TRUE(wait([&] { return has_stopped; }));
    EXPECT_TRUE(pairs_.empty());
}

TEST_F(Faults, PullingADrainingDisksEndsTheDrain) {
    Pair& first = begin();
    ASSERT_TRUE(engine_->cancel("job", {}));
    ASSERT_TRUE(wait([&] { return drive().is_draining; }));
    engine_->device_removed("SER_1");
    first.end();
    Pair& writer = pair(2);
    EXPECT_EQ(writer.task.kind, TaskKind::Abandon);
    writer.end(report_of(Ending::Finished));
    EXPECT_EQ(drive().state, DriveState::CompletedMoreInfo);
    EXPECT_EQ(drive().copy_status, "Cancelled");
}

}  // namespace
}  // namespace dray::test
