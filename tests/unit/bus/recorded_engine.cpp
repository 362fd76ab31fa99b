// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/bus/recorded_engine.hpp"

#include <algorithm>

#include "daemon/base/memfd.hpp"

namespace dray::test {

RecordedEngine& recorded_engine() {
    static RecordedEngine record;
    return record;
}

namespace {

template <typename... Args>
Result<void> note(fmt::format_string<Args...> format, Args&&... args) {
    RecordedEngine& record = recorded_engine();
    record.calls.push_back(fmt::format(format, std::forward<Args>(args)...));
    if (record.refusal)
        return fail(*record.refusal);
    return {};
}

std::string words(const std::map<std::string, std::string>& texts) {
    std::string result;
    for (const auto& [key, value] : texts)
        result.append(key).append("=").append(value).append(";");
    return result;
}

std::string key_text(const std::optional<SecretBytes>& key) {
    return key ? std::string(key->text()) : "none";
}

}  // namespace

std::unique_ptr<JobEngine> make_recorded_engine(EventLoop& loop, EngineObserver& observer) {
    // The record needs neither; it never looks behind these references.
    static const SystemClock clock;
    alignas(Catalog) static char no_catalog[sizeof(Catalog)];
    return std::make_unique<JobEngine>(recorded_engine().config, *reinterpret_cast<Catalog*>(no_catalog), clock,
                                       loop, observer);
}

}  // namespace dray::test

namespace dray {

using test::key_text;
using test::note;
using test::recorded_engine;
using test::words;

struct JobEngine::State {
    EngineObserver& observer;
};

JobEngine::JobEngine(const Config& /*config*/, Catalog& /*catalog*/, const Clock& /*clock*/,
                     EventLoop& /*loop*/, EngineObserver& observer, TransferStarter /*start*/,
                     const EnginePace& /*pace*/)
    : state_(std::make_unique<State>(observer)) {}
JobEngine::~JobEngine() = default;

Result<void> JobEngine::start() { return note("start"); }

void JobEngine::stop(std::function<void()> stopped) { stopped(); }

void JobEngine::device_present(const Device& /*device*/) {}

void JobEngine::device_removed(const std::string& /*id*/) {}

Result<const Job*> JobEngine::create_job(CreateJobRequest request) {
    if (request.type == JobType::Export)
        DRAY_TRY(note("export list={} selection={}", request.list_blob, format::write_blob_list(request.selection)));
    DRAY_TRY(note("create {} {} {} diagnostics={} level={} backup={} tags={} drives={}", request.name,
                  to_string(request.type), request.store, request.diagnostics_path.value_or("default"),
                  to_string(request.log_level), request.backup_manifest, words(request.tags),
                  request.expected_drives));
    auto job = std::make_unique<Job>();
    job->name = request.name;
    recorded_engine().jobs.push_back(std::move(job));
    return recorded_engine().jobs.back().get();
}

Result<const Drive*> JobEngine::add_drive(const std::string& name, AddDriveRequest request) {
    DRAY_TRY(note("add-drive {} {} key={} manifest={} hash={} header={} volume={} partition={}", name, request.serial,
                  key_text(request.key), request.manifest, request.manifest_hash, request.header_hash,
                  request.volume_id, request.partition));
    if (request.may_overwrite)
        DRAY_TRY(note("overwrite"));
    for (const auto& job : recorded_engine().jobs) {
        if (job->name == name) {
            Drive drive;
            drive.serial = request.serial;
            job->drives.push_back(std::move(drive));
            return &job->drives.back();
        }
    }
    return fail(ErrorKind::NotFound, "there is no job {}", name);
}

Result<void> JobEngine::update(const std::string& job, const UpdateJobRequest& request) {
    return note("update {} tags={} level={} backup={} carrier={} tracking={} cancel={}", job,
                request.tags ? words(*request.tags) : "-",
                request.log_level ? to_string(*request.log_level) : "-",
                request.backup_manifest ? fmt::format("{}", *request.backup_manifest) : "-",
                request.carrier.value_or("-"), request.tracking.value_or("-"),
                request.cancel_requested ? fmt::format("{}", *request.cancel_requested) : "-");
}

Result<void> JobEngine::ship(const std::string& job, const ShipRequest& request) {
    return note("ship {} carrier={} tracking={} address={}", job, request.carrier, request.tracking,
                request.return_address ? words(*request.return_address) : "-");
}

Result<void> JobEngine::cancel(const std::string& job, std::optional<DrainMode> drain) {
    return note("cancel {} {}", job, drain ? to_string(*drain) : "default");
}

Result<void> JobEngine::close(const std::string& job) { return note("close {}", job); }

Result<void> JobEngine::remove(const std::string& job, bool force) { return note("delete {} {}", job, force); }

Result<void> JobEngine::retry(const std::string& job, const std::string& serial, RetryRequest request) {
    return note("retry {} {} key={} manifest={} hash={}{}", job, serial, key_text(request.key),
                request.manifest.value_or("-"), request.manifest_hash.value_or("-"), request.may_overwrite ? " overwrite" : "");
}

Result<SecretBytes> JobEngine::read_key(const std::string& job, const std::string& serial) {
    DRAY_TRY(note("read-key {} {}", job, serial));
    return SecretBytes(std::string_view("sesame"));
}

Result<void> JobEngine::release(const std::string& job, const std::string& serial) {
    return note("release {} {}", job, serial);
}

Result<void> JobEngine::assign(const std::string& device_id, const std::string& job, const std::string& serial,
                               bool may_overwrite) {
    return note("assign {} {} {}{}", device_id, job, serial, may_overwrite ? " overwrite" : "");
}

Result<void> JobEngine::check_store(const std::string& store, std::function<void(Result<void>)> done) {
    DRAY_TRY(note("check {}", store));
    recorded_engine().checks.push_back(std::move(done));
    return {};
}

// It is there at once: the sentence that the engine was asked for.
Result<void> JobEngine::preview_export(const PreviewRequest& request, PreviewDone done) {
    const std::string wish = fmt::format("preview {} size={} list={} selection={}", request.store, request.drive_size,
                                         request.list_blob, format::write_blob_list(request.selection));
    DRAY_TRY(note("{}", wish));
    done(make_sealed_memfd("preview", std::as_bytes(std::span(wish))));
    return {};
}

const Job* JobEngine::find_job(const std::string& name) const {
    for (const auto& job : recorded_engine().jobs) {
        if (fold_job_name(job->name) == fold_job_name(name))
            return job.get();
    }
    return nullptr;
}

std::vector<const Job*> JobEngine::jobs() const {
    std::vector<const Job*> result;
    for (const auto& job : recorded_engine().jobs)
        result.push_back(job.get());
    return result;
}

const DeviceEntry* JobEngine::find_device(const std::string& id) const {
    for (const DeviceEntry& entry : recorded_engine().devices) {
        if (entry.device.id == id)
            return &entry;
    }
    return nullptr;
}

const DeviceEntry* JobEngine::device_of(const Job& job, const Drive& drive) const {
    for (const DeviceEntry& entry : recorded_engine().devices) {
        if (entry.job == job.name && entry.serial == drive.serial)
            return &entry;
    }
    return nullptr;
}

std::vector<const DeviceEntry*> JobEngine::devices() const {
    std::vector<const DeviceEntry*> result;
    for (const DeviceEntry& entry : recorded_engine().devices)
        result.push_back(&entry);
    return result;
}

const StoreEntry* JobEngine::find_store(const std::string& name) const {
    for (const StoreEntry& entry : recorded_engine().stores) {
        if (entry.name == name)
            return &entry;
    }
    return nullptr;
}

std::vector<const StoreEntry*> JobEngine::stores() const {
    std::vector<const StoreEntry*> result;
    for (const StoreEntry& entry : recorded_engine().stores)
        result.push_back(&entry);
    return result;
}

Rate JobEngine::rate_of(const Job& /*job*/, const Drive& /*drive*/) const { return {1000, Microseconds(2000)}; }
Rate JobEngine::rate_of(const Job& /*job*/) const { return {3000, Microseconds(4000)}; }

unsigned JobEngine::drives_here(const Job& job) const {
    return static_cast<unsigned>(std::ranges::count(recorded_engine().devices, job.name, &DeviceEntry::job));
}

unsigned JobEngine::active_transfers() const { return recorded_engine().active_transfers; }
const Config& JobEngine::config() const { return recorded_engine().config; }
std::vector<std::string> JobEngine::obstacles_to(const Config& /*next*/) const { return {}; }
void JobEngine::reconfigured(const Config& /*before*/) {}
std::vector<std::string> JobEngine::problems() const { return recorded_engine().problems; }

}  // namespace dray
