// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/bus/bus_fixture.hpp"

namespace dray::test {
namespace {

std::unique_ptr<Job> make_job() {
    auto job = std::make_unique<Job>();
    job->name = "lyon-17";
    job->store = "vault";
    job->state = JobState::Transferring;
    job->created = from_usec(1764000000000000);
    Drive drive;
    drive.serial = "WD-1";
    drive.state = DriveState::Transferring;
    drive.counters = {.bytes_done = 25, .bytes_total = 100, .bytes_succeeded = 20, .blobs_done = 1,
                      .blobs_total = 4, .blobs_failed = 1};
    job->drives.push_back(drive);
    return job;
}

RecordedEngine make_record() {
    RecordedEngine record;
    record.jobs.push_back(make_job());
    DeviceEntry device;
    device.device = {.id = "sdb_17", .serial = "WD-1", .model = "WD\xff Elements", .node = "/dev/sdb",
                     .bus = "usb", .bay = "pci-1", .size = 1000, .signature = "crypto_LUKS",
                     .volume_uuid = "", .is_image = false};
    device.job = "lyon-17";
    device.serial = "WD-1";
    record.devices.push_back(device);
    record.stores.push_back({.name = "vault", .type = "directory", .url = "file:///srv/vault",
                             .is_reachable = true, .is_encrypted = false, .problem = ""});
    return record;
}

}  // namespace

BusFixture::BusFixture() {
    recorded_engine() = make_record();
    thread_.run([this] {
        auto opened = bus::Connection::open(thread_.loop(), [] {});
        connection_.emplace(std::move(opened).value());
        objects_.emplace(connection_->get());
        objects_->publish().value();
        engine_ = make_recorded_engine(thread_.loop(), *objects_);
        objects_->show(engine_.get());
        connection_->take_name().value();
    });
    client_ = bus_.connect();
}

BusFixture::~BusFixture() {
    client_.reset();
    thread_.run([this] {
        engine_.reset();
        recorded_engine() = {};
        objects_.reset();
        connection_.reset();
    });
}

Answer BusFixture::send(sd_bus* client, sd_bus_message* message) {
    constexpr std::uint64_t kTimeoutUsec = 20'000'000;
    bus::BusErrorBuffer error;
    sd_bus_message* reply = nullptr;
    const int result = sd_bus_call(client, message, kTimeoutUsec, error.get(), &reply);
    Answer answer{error.name(), error.message(), bus::BusMessage(reply)};
    if (result < 0 && answer.error.empty())
        answer.error = errno_text(-result);
    return answer;
}

std::vector<std::string> BusFixture::calls() {
    std::vector<std::string> calls;
    with_engine([&](RecordedEngine& engine) { calls.swap(engine.calls); });
    return calls;
}

void BusFixture::with_engine(const std::function<void(RecordedEngine&)>& change) {
    thread_.run([&] { change(recorded_engine()); });
}

void BusFixture::with_objects(const std::function<void(bus::Objects&)>& act) {
    thread_.run([&] { act(*objects_); });
}

}  // namespace dray::test
