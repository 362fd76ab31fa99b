// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/engine/engine_fixture.hpp"

#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "daemon/base/memfd.hpp"

namespace dray::test {
namespace {

std::string content_of(int memfd) {
    return std::string(read_sealed_memfd(memfd, kMaxKeyBytes).value().text());
}

class FakeLink : public TransferLink {
public:
    explicit FakeLink(std::shared_ptr<Pair> pair) : pair_(std::move(pair)) {}
    ~FakeLink() override { pair_->is_alive = false; }
    void send(const transfer::ToTransfer& message) override { pair_->sent.push_back(message); }
    void renew_credential(int memfd) override { pair_->renewals.push_back(content_of(memfd)); }
    void kill() override { pair_->is_killed = true; }

private:
    std::shared_ptr<Pair> pair_;
};

}  // namespace

void Pair::end() {
    const auto ended = std::move(callbacks.ended);
    ended();
}

transfer::Report report_of(transfer::Ending ending, const std::string& status) {
    transfer::Report report;
    report.ending = ending;
    report.status = status;
    return report;
}

transfer::Report fault_of(ErrorKind kind, const std::string& message) {
    transfer::Report report = report_of(transfer::Ending::Faulted);
    report.kind = kind;
    report.message = message;
    return report;
}

EngineTest::EngineTest() : loop_(EventLoop::create().value()) {
    config_.state_directory = scratch_ / "state";
    config_.stores["vault"] = {.name = "vault", .type = "directory", .path = scratch_ / "vault"};
    config_.lifecycle.hand_back = HandBack::Release;
    std::filesystem::create_directory(scratch_ / "state");
    std::filesystem::create_directory(scratch_ / "drives");
    std::filesystem::permissions(scratch_ / "drives", std::filesystem::perms::owner_all);
}

void EngineTest::start() {
    engine_.reset();
    catalog_.reset();
    catalog_ = Catalog::open(scratch_ / "state/catalog.sqlite").value();
    catalog_->use_master_key(SecretBytes(std::string(kMasterKeyBytes, 'k')));
    const TransferStarter starter = [this](EventLoop& /*loop*/, TransferProcess::Start given,
                                           TransferProcess::Callbacks callbacks) {
        auto made = std::make_shared<Pair>();
        made->task = given.task;
        made->credential = given.credential ? content_of(given.credential.get()) : "";
        made->encryption_key = given.encryption_key ? content_of(given.encryption_key.get()) : "";
        made->has_device = static_cast<bool>(given.device);
        made->callbacks = std::move(callbacks);
        pairs_.push_back(made);
        return Result<std::unique_ptr<TransferLink>>(std::make_unique<FakeLink>(made));
    };
    engine_ = std::make_unique<JobEngine>(config_, *catalog_, clock_, loop_, *this, starter, pace_);
    engine_->start().value();
}

void EngineTest::restart() { start(); }

void EngineTest::make_unshipped_job(const std::string& name, const std::string& serial) {
    CreateJobRequest request;
    request.name = name;
    request.store = "vault";
    ASSERT_TRUE(engine_->create_job(request));
    AddDriveRequest drive;
    drive.serial = serial;
    drive.key = SecretBytes("key");
    drive.manifest = "\\m.xml";
    drive.manifest_hash = std::string(32, '0');
    const auto added = engine_->add_drive(name, std::move(drive));
    ASSERT_TRUE(added) << added.error().text();
}

void EngineTest::make_job(const std::string& name, const std::string& serial) {
    make_unshipped_job(name, serial);
    ASSERT_TRUE(engine_->ship(name, {}));
}

Device EngineTest::plug(const std::string& serial, int number) {
    Device device;
    device.id = serial + "_" + std::to_string(number);
    device.serial = serial;
    device.node = scratch_ / ("drives/" + serial + ".img");
    device.bus = "image";
    device.size = 1000;
    device.is_image = true;
    std::ofstream(device.node) << "image";
    engine_->device_present(device);
    return device;
}

testing::AssertionResult EngineTest::wait(const std::function<bool()>& claim) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!claim()) {
        if (std::chrono::steady_clock::now() > end)
            return testing::AssertionFailure() << "waited in vain";
        (void)sd_event_run(loop_.get(), 10'000);
    }
    return testing::AssertionSuccess();
}

Pair& EngineTest::pair(std::size_t number) {
    if (!wait([&] { return pairs_.size() >= number; }))
        throw std::runtime_error("pair " + std::to_string(number) + " was never started");
    return *pairs_[number - 1];
}

void EngineTest::run_idle() {
    while (sd_event_run(loop_.get(), 0) > 0) {
    }
}

}  // namespace dray::test
