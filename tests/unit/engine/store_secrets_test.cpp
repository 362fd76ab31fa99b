// SPDX-License-Identifier: Apache-2.0
//
// Stores that are signed on to: their secrets go to the pair, a renewed one to those that run, and one that is missing is
// a fault that mends itself (rules.md 2, 22, 26).
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "tests/unit/engine/engine_fixture.hpp"

namespace dray::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using transfer::Ending;
using transfer::TaskKind;

class StoreSecrets : public EngineTest {
protected:
    StoreSecrets() {
        StoreConfig& store = config_.stores["vault"];
        store.type = "azure";
        store.path.clear();
        store.azure.endpoint = "https://acme.blob.example";
        store.azure.account = "acme";
        store.azure.credential = credential_;
        store.encryption = {.key = "escrow", .algorithm = "A256KW", .credential = key_};
        std::filesystem::create_directory(scratch_ / "secrets");
        put(credential_, "first");
        put(key_, std::string(31, 'k') + "\n");
    }
    static void put(const std::string& path, const std::string& content, mode_t mode = 0600) {
        std::ofstream(path + ".new") << content;
        ASSERT_EQ(chmod((path + ".new").c_str(), mode), 0);
        std::filesystem::rename(path + ".new", path);
    }
    /// A pair at work for the one drive.
    Pair& begin() {
        start();
        make_job();
        plug();
        return pair(1);
    }

    const std::string credential_ = scratch_ / "secrets/credential";
    const std::string key_ = scratch_ / "secrets/key";
};

TEST_F(StoreSecrets, GoWithTheTask) {
    put(credential_, "first\n");
    const Pair& first = begin();
    EXPECT_EQ(first.task.store, config_.stores["vault"]);
    EXPECT_EQ(first.credential, "first") << "without the line break";
    EXPECT_EQ(first.encryption_key, std::string(31, 'k') + "\n") << "with all of its 32 bytes";
    ASSERT_TRUE(engine_->check_store("vault", [](const Result<void>&) {}));
    EXPECT_EQ(pair(2).task.kind, TaskKind::CheckStore);
    EXPECT_EQ(pair(2).credential, "first");
    EXPECT_EQ(pair(2).encryption_key.size(), 32U);
    const StoreEntry& entry = *engine_->find_store("vault");
    EXPECT_EQ(entry.url, "https://acme.blob.example");
    EXPECT_TRUE(entry.is_encrypted);
}

TEST_F(StoreSecrets, AreReadAnewForEachPair) {
    begin().end(fault_of(ErrorKind::WrongKey, "no"));
    put(credential_, "second");
    ASSERT_TRUE(engine_->retry("job", "SER", {}));
    EXPECT_EQ(pair(2).credential, "second");
}

TEST_F(StoreSecrets, ARenewedCredentialGoesToThoseThatRun) {
    Pair& first = begin();
    ASSERT_TRUE(engine_->check_store("vault", [](const Result<void>&) {}));
    Pair& check = pair(2);
    put(credential_, "second\n");
    ASSERT_TRUE(wait([&] { return !first.renewals.empty(); }));
    EXPECT_THAT(first.renewals, ElementsAre("second"));
    EXPECT_THAT(check.renewals, ElementsAre("second"));
    EXPECT_TRUE(first.is_alive) << "nothing is started again for it";
    EXPECT_EQ(pairs_.size(), 2U) << "no drive waits, so nobody asks the store";
}

TEST_F(StoreSecrets, OneThatCannotBeReadLeavesThoseThatRunAlone) {
    Pair& first = begin();
    put(credential_, "second", 0644);
    ASSERT_TRUE(wait([&] { return !engine_->find_store("vault")->is_reachable; }));
    EXPECT_THAT(engine_->find_store("vault")->problem, HasSubstr("chmod 600 " + credential_));
    EXPECT_TRUE(first.renewals.empty());
    EXPECT_TRUE(first.is_alive);
    ASSERT_EQ(chmod(credential_.c_str(), 0600), 0);
    ASSERT_TRUE(wait([&] { return !first.renewals.empty(); }));
    EXPECT_THAT(first.renewals, ElementsAre("second"));
    pair(2).end(report_of(Ending::Finished));
    EXPECT_TRUE(engine_->find_store("vault")->is_reachable);
}

// The probe comes every 5 minutes; here it never comes.
TEST_F(StoreSecrets, ADriveWhoseCredentialHasExpiredGoesOnWhenItIsRenewed) {
    begin().end(fault_of(ErrorKind::Denied, "the shared access signature has expired"));
    EXPECT_TRUE(drive().is_faulted);
    EXPECT_EQ(drive().fault_reason, "the shared access signature has expired");
    run_idle();
    EXPECT_EQ(pairs_.size(), 1U);
    put(credential_, "second");
    Pair& probe = pair(2);
    EXPECT_EQ(probe.task.kind, TaskKind::CheckStore);
    EXPECT_EQ(probe.credential, "second");
    probe.end(report_of(Ending::Finished));
    EXPECT_FALSE(drive().is_faulted);
    EXPECT_EQ(pair(3).task.kind, TaskKind::Import);
    EXPECT_EQ(pair(3).credential, "second");
}

TEST_F(StoreSecrets, OneThatIsNoBetterLeavesTheDriveFaultedWithItsReason) {
    begin().end(fault_of(ErrorKind::Denied, "expired"));
    put(credential_, "second");
    pair(2).end(fault_of(ErrorKind::Denied, "still expired"));
    run_idle();
    EXPECT_TRUE(drive().is_faulted);
    EXPECT_EQ(engine_->find_store("vault")->problem, "still expired");
    put(credential_, "third");
    pair(3).end(report_of(Ending::Finished));
    EXPECT_EQ(pair(4).credential, "third");
}

TEST_F(StoreSecrets, OneThatComesWhileTheStoreIsBeingAskedHasItAskedAgain) {
    begin().end(fault_of(ErrorKind::Denied, "expired"));
    put(credential_, "second");
    Pair& probe = pair(2);
    put(credential_, "third");
    ASSERT_TRUE(wait([&] { return !probe.renewals.empty(); }));
    EXPECT_EQ(pairs_.size(), 2U);
    probe.end(fault_of(ErrorKind::Denied, "still expired"));
    EXPECT_EQ(pair(3).credential, "third");
}

TEST_F(StoreSecrets, OneThatIsMissingFaultsTheDriveWithASentenceAndIsSeenWhenItComes) {
    std::filesystem::remove(credential_);
    start();
    EXPECT_FALSE(engine_->find_store("vault")->is_reachable) << "worth knowing before a drive comes";
    make_job();
    plug();
    ASSERT_TRUE(wait([&] { return drive().is_faulted; }));
    EXPECT_EQ(drive().state, DriveState::Received);
    EXPECT_EQ(drive().fault_kind, "NotFound");
    EXPECT_THAT(drive().fault_reason, HasSubstr("store \"vault\": its credential cannot be used: there is no file " +
                                                credential_));
    EXPECT_TRUE(pairs_.empty());
    const Result<void> checked = engine_->check_store("vault", [](const Result<void>&) {});
    ASSERT_FALSE(checked);
    EXPECT_THAT(checked.error().text(), HasSubstr("there is no file " + credential_));
    put(credential_, "there");
    pair(1).end(report_of(Ending::Finished));
    EXPECT_EQ(pair(2).task.kind, TaskKind::Import);
    EXPECT_EQ(pair(2).credential, "there");
}

TEST_F(StoreSecrets, AKeyOfTheEncryptionThatIsMissingIsAFaultToo) {
    std::filesystem::remove(key_);
    start();
    make_job();
    plug();
    ASSERT_TRUE(wait([&] { return drive().is_faulted; }));
    EXPECT_THAT(drive().fault_reason, HasSubstr("store \"vault\": the key \"escrow\" of its encryption cannot be used: "
                                                "there is no file " + key_));
    put(key_, std::string(32, 'n'));
    pair(1).end(report_of(Ending::Finished));
    EXPECT_EQ(pair(2).encryption_key, std::string(32, 'n'));
}

TEST_F(StoreSecrets, AStoreWithoutAnyHasNone) {
    config_.stores["vault"] = {.name = "vault", .type = "directory", .path = scratch_ / "vault"};
    EXPECT_EQ(begin().credential, "");
    EXPECT_EQ(pair(1).encryption_key, "");
    EXPECT_FALSE(engine_->find_store("vault")->is_encrypted);
}

TEST_F(StoreSecrets, WhoAsksWhileADrivesProbeRunsGetsItsAnswer) {
    begin().end(fault_of(ErrorKind::Denied, "expired"));
    put(credential_, "second");
    Pair& probe = pair(2);
    std::vector<std::string> answers;
    const auto told = [&](const Result<void>& result) { answers.push_back(result ? "well" : result.error().text()); };
    ASSERT_TRUE(engine_->check_store("vault", told));
    ASSERT_TRUE(engine_->check_store("vault", told));
    EXPECT_EQ(pairs_.size(), 2U);
    probe.end(fault_of(ErrorKind::Denied, "the clock is off"));
    EXPECT_THAT(answers, ElementsAre("the clock is off", "the clock is off"));
}

TEST_F(StoreSecrets, AStoreThatACopyHasOpenedIsWellAgain) {
    start();
    make_job();
    ASSERT_TRUE(engine_->check_store("vault", [](const Result<void>&) {}));
    pair(1).end(fault_of(ErrorKind::Unreachable, "away"));
    EXPECT_EQ(engine_->find_store("vault")->problem, "away");
    plug();
    pair(2).say(transfer::UnlockWanted{"azure:acme"});
    EXPECT_TRUE(engine_->find_store("vault")->is_reachable);
    EXPECT_EQ(engine_->find_store("vault")->problem, "");
}

class Reload : public StoreSecrets {
protected:
    void reload(Config next) {
        const Config before = std::exchange(config_, std::move(next));
        engine_->reconfigured(before);
    }
};

TEST_F(Reload, ReadsCredentialsAgain) {
    Pair& first = begin();
    reload(config_);
    EXPECT_THAT(first.renewals, ElementsAre("first"));
    // Another file of the same kind.
    Config next = config_;
    next.stores["vault"].azure.credential = scratch_ / "secrets/other";
    put(scratch_ / "secrets/other", "other");
    EXPECT_THAT(engine_->obstacles_to(next), ElementsAre());
    reload(next);
    EXPECT_THAT(first.renewals, ElementsAre("first", "other"));
    put(scratch_ / "secrets/other", "renewed");
    ASSERT_TRUE(wait([&] { return first.renewals.size() == 3; }));
    EXPECT_EQ(first.renewals.back(), "renewed");
}

TEST_F(Reload, ACredentialOfAnotherKindIsForThePairsToCome) {
    Pair& first = begin();
    Config next = config_;
    next.stores["vault"].azure.credential_kind = CredentialKind::Sas;
    EXPECT_THAT(engine_->obstacles_to(next), ElementsAre());
    reload(next);
    EXPECT_THAT(first.renewals, ElementsAre()) << "it was started with a key and cannot use a signature";
}

// rules.md 22: what was begun in one place cannot go on in another, nor under another key.
TEST_F(Reload, OnlyPlaceAndKeyAreFixedWhileJobsNeedTheStore) {
    begin();
    const auto obstacles = [&](const std::function<void(StoreConfig&)>& change) {
        Config next = config_;
        change(next.stores["vault"]);
        return engine_->obstacles_to(next).size();
    };
    EXPECT_EQ(obstacles([](StoreConfig& store) { store.azure.endpoint = "https://other.blob.example"; }), 1U);
    EXPECT_EQ(obstacles([](StoreConfig& store) { store.azure.account = "other"; }), 1U);
    EXPECT_EQ(obstacles([](StoreConfig& store) { store.encryption.key = "other"; }), 1U);
    EXPECT_EQ(obstacles([](StoreConfig& store) { store.encryption.algorithm = "A128KW"; }), 1U);
    EXPECT_EQ(obstacles([](StoreConfig& store) { store.encryption = {}; }), 1U);
    EXPECT_EQ(obstacles([](StoreConfig& store) { store.type = "directory"; }), 1U);
    EXPECT_EQ(obstacles([](StoreConfig& store) {
                  store.azure.credential = "/other";
                  store.azure.credential_kind = CredentialKind::Token;
                  store.azure.container = "drives";
                  store.azure.ca_file = "/ca";
                  store.azure.proxy = "http://proxy:1";
                  store.azure.allow_http = true;
                  store.azure.connect_timeout = store.azure.stall_timeout = store.azure.outage = std::chrono::seconds(1);
                  store.azure.api_version = "2023-11-03";
                  store.encryption.credential = "/other";
              }),
              0U);
}

}  // namespace
}  // namespace dray::test
