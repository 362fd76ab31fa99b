// SPDX-License-Identifier: Apache-2.0
#include "daemon/engine/job_engine.hpp"

#include <algorithm>
#include <filesystem>
#include <tuple>
#include <array>
#include <utility>

#include "daemon/base/digest.hpp"
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "daemon/base/log.hpp"
#include "daemon/engine/engine_state.hpp"
#include "daemon/model/blob_name.hpp"
#include "daemon/model/header_hash.hpp"

namespace dray {
namespace {

constexpr std::size_t kMaxText = 4 * kKiB;
constexpr std::size_t kMaxTags = 50;

Result<void> check_text(const char* what, const std::string& text) {
    if (text.size() > kMaxText)
        return fail(ErrorKind::InvalidArgument, "{} has {} bytes, at most {} are allowed", what, text.size(),
                    kMaxText);
    return {};
}

Result<void> check_tags(const std::map<std::string, std::string>& tags) {
    if (tags.size() > kMaxTags)
        return fail(ErrorKind::InvalidArgument, "{} tags are too many, at most {} are allowed", tags.size(),
                    kMaxTags);
    for (const auto& [name, value] : tags) {
        DRAY_TRY(check_text("a tag's name", name));
        DRAY_TRY(check_text("a tag's value", value));
    }
    return {};
}

/// container[/virtual/directory]
Result<void> check_diagnostics_path(const std::string& path) {
    DRAY_TRY(check_text("diagnostics-path", path));
    const std::size_t slash = path.find('/');
    if (Result<void> container = check_container(path.substr(0, slash)); !container)
        return fail(std::move(container.error()), "diagnostics-path \"{}\"", path);
    if (slash != std::string::npos)
        if (Result<BlobName> name = parse_blob_path(path + "/x"); !name)
            return fail(std::move(name.error()), "diagnostics-path \"{}\"", path);
    return {};
}

Result<void> check_manifest(const std::string& manifest, const std::string& hash) {
    DRAY_TRY(check_text("manifest", manifest));
    DRAY_TRY(check_text("manifest-hash", hash));
    DRAY_TRY(digest_kind_of_hex(hash.size()));
    if (hash.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
        return fail(ErrorKind::InvalidArgument, "manifest-hash is not hexadecimal");
    return {};
}

Result<void> check_selection(const CreateJobRequest& request) {
    const bool has_both = !request.selection.empty() && !request.list_blob.empty();
    const bool has_none = request.selection.empty() && request.list_blob.empty();
    if (request.type == JobType::Import && !has_none)
        return fail(ErrorKind::InvalidArgument, "option {} is for export jobs, and this is an import job",
                    request.list_blob.empty() ? "selection" : "list-blob");
    if (request.type == JobType::Export && (has_both || has_none))
        return fail(ErrorKind::InvalidArgument, "an export takes either a selection or a list blob, {}",
                    has_both ? "not both" : "and neither was given");
    if (!request.list_blob.empty())
        DRAY_TRY(parse_blob_path(request.list_blob));
    return {};
}

/// Nobody but drayd knows it until it is read: eight groups of six digits, 16 random bits each, with the check that
/// recovery keys have (azure-import-export.md 3.4).
Result<SecretBytes> new_drive_key() {
    std::array<std::uint16_t, 8> random{};
    if (RAND_bytes(reinterpret_cast<unsigned char*>(random.data()), sizeof random) != 1)
        return fail(ErrorKind::Internal, "there are no random numbers for a drive's key");
    std::string key;
    for (const std::uint16_t part : random)
        key += fmt::format("{}{:06}", key.empty() ? "" : "-", part * 11U);
    SecretBytes secret{std::string_view(key)};
    OPENSSL_cleanse(random.data(), sizeof random);
    OPENSSL_cleanse(key.data(), key.size());
    return secret;
}

/// The drive is made by us: the caller can know nothing of it.
Result<void> check_export_drive(const AddDriveRequest& request) {
    if (request.key || !request.manifest.empty() || !request.manifest_hash.empty() || !request.header_hash.empty() ||
        !request.volume_id.empty() || request.partition != 0)
        return fail(ErrorKind::InvalidArgument,
                    "drive {} is for an export: key, manifest and volume are made for it and cannot be given", request.serial);
    return {};
}

std::string trimmed(std::string text) {
    text.erase(text.find_last_not_of(" \t\r\n") + 1);
    text.erase(0, text.find_first_not_of(" \t\r\n"));
    return text;
}

}  // namespace

JobEngine::JobEngine(const Config& config, Catalog& catalog, const Clock& clock, EventLoop& loop,
                     EngineObserver& observer, TransferStarter start, const EnginePace& pace)
    : state_(std::make_unique<State>(
          config, catalog, clock, loop, observer,
          start ? std::move(start) : TransferStarter(TransferProcess::start), pace)) {}

JobEngine::~JobEngine() = default;

void JobEngine::run_children_as(const ChildUsers& users) { state_->child_users = users; }

Result<void> JobEngine::start() {
    DRAY_LET(std::vector<Job> loaded, state_->catalog.load());
    for (const auto& [name, store] : state_->config.stores)
        state_->stores[name] = State::entry_of(store);
    for (Job& job : loaded) {
        bool is_changed = false;
        for (Drive& drive : job.drives) {
            if (drive.state != DriveState::Transferring)
                continue;
            // What a crash left: the pair is gone with us, the journal knows where it was.
            drive.state = DriveState::Received;
            drive.copy_status.clear();
            is_changed = true;
        }
        if (is_changed)
            DRAY_TRY(state_->save(job));
        if (!is_over(job) && !state_->stores.contains(job.store)) {
            const std::string problem = fmt::format(
                "job {} needs store \"{}\", which is not in the configuration", job.name, job.store);
            state_->stores[job.store] = {job.store, "", "", false, false, problem};
            log::warning("{}", problem);
        }
        const std::string name = fold_job_name(job.name);
        state_->jobs[name] = std::make_unique<Job>(std::move(job));
    }
    state_->sources_settling = state_->loop.after(state_->pace.sources_settle, [state = state_.get()] { state->sources_settled(); });
    state_->probing = state_->loop.every(state_->pace.probe, [state = state_.get()] { state->probe_faults(); });
    state_->watch_secrets();
    return state_->start_timers();
}

Job* JobEngine::State::find(const std::string& name) {
    const auto found = jobs.find(fold_job_name(name));
    return found == jobs.end() ? nullptr : found->second.get();
}

const Job* JobEngine::State::find(const std::string& name) const {
    const auto found = jobs.find(fold_job_name(name));
    return found == jobs.end() ? nullptr : found->second.get();
}

Result<Job*> JobEngine::State::need(const std::string& name) {
    if (Job* job = find(name))
        return job;
    return fail(ErrorKind::NotFound, "there is no job {}", name.substr(0, 64));
}

Result<Drive*> JobEngine::State::need_drive(Job& job, const std::string& serial) {
    if (Drive* drive = job.find_drive(serial))
        return drive;
    return fail(ErrorKind::NotFound, "job {} has no drive {}", job.name, serial.substr(0, 128));
}

std::vector<const Job*> JobEngine::State::all_jobs() const {
    std::vector<const Job*> all;
    all.reserve(jobs.size());
    for (const auto& [name, job] : jobs)
        all.push_back(job.get());
    std::ranges::sort(all, {}, [](const Job* job) { return std::tie(job->created, job->name); });
    return all;
}

Result<const Job*> JobEngine::create_job(CreateJobRequest request) {
    DRAY_TRY(check_job_name(request.name));
    if (!state_->config.stores.contains(request.store))
        return fail(ErrorKind::NotFound, "there is no store \"{}\" in the configuration",
                    request.store.substr(0, 64));
    if (request.diagnostics_path)
        DRAY_TRY(check_diagnostics_path(*request.diagnostics_path));
    DRAY_TRY(check_tags(request.tags));
    if (request.expected_drives > state_->config.jobs.drives)
        return fail(ErrorKind::InvalidArgument, "{} drives are expected, a job has at most {}",
                    request.expected_drives, state_->config.jobs.drives);
    DRAY_TRY(check_selection(request));
    if (state_->find(request.name) != nullptr)
        return fail(ErrorKind::Exists, "there is a job {} already", request.name);
    if (state_->jobs.size() >= state_->config.jobs.max)
        return fail(ErrorKind::LimitReached, "there are {} jobs already, which is the limit (jobs.max); delete some",
                    state_->jobs.size());
    auto job = std::make_unique<Job>();
    job->name = request.name;
    job->type = request.type;
    job->store = request.store;
    job->drain = state_->config.cancel_drain;
    if (request.diagnostics_path)
        job->diagnostics_path = *request.diagnostics_path;
    job->log_level = request.log_level;
    job->backup_manifest = request.backup_manifest;
    job->tags = std::move(request.tags);
    job->expected_drives = request.expected_drives;
    if (!request.selection.empty())
        job->selection = format::write_blob_list(request.selection);
    job->list_blob = request.list_blob;
    job->created = state_->clock.now();
    job->expires = job->created + state_->config.lifecycle.unshipped;
    DRAY_TRY(state_->save(*job));
    const Job* made = job.get();
    state_->jobs[fold_job_name(made->name)] = std::move(job);
    log::info("job {}: Creating", made->name);
    state_->observer.job_added(*made);
    return made;
}

Result<const Drive*> JobEngine::add_drive(const std::string& job_name, AddDriveRequest request) {
    DRAY_LET(Job* const job, state_->need(job_name));
    if (judge(JobOperation::AddDrive, job->state, job->is_cancel_requested) != Verdict::Allowed)
        return fail(refusal(JobOperation::AddDrive, *job));
    Drive drive;
    DRAY_LET(drive.serial, check_serial(request.serial));
    drive.manifest = request.manifest;
    drive.manifest_hash = trimmed(request.manifest_hash);
    drive.header_hash = request.header_hash;
    drive.volume_id = request.volume_id;
    drive.partition = request.partition;
    if (job->type == JobType::Export) {
        DRAY_TRY(check_export_drive(request));
        DRAY_LET(request.key, new_drive_key());
        drive.may_overwrite = request.may_overwrite;
    } else if (request.may_overwrite) {
        return fail(ErrorKind::InvalidArgument, "option overwrite is for export jobs, and this is an import job");
    }
    if (!request.key && !state_->config.drives.allow_plain)
        return fail(ErrorKind::InvalidArgument, "drive {} needs a key", drive.serial);
    if (job->type == JobType::Import && (drive.manifest.empty() || drive.manifest_hash.empty()))
        return fail(ErrorKind::InvalidArgument, "drive {} needs {}", drive.serial,
                    drive.manifest.empty() ? "a manifest, the path of the manifest on the drive"
                                           : "a manifest-hash");
    if (job->type == JobType::Import)
        DRAY_TRY(check_manifest(drive.manifest, drive.manifest_hash));
    DRAY_TRY(check_text("header-hash", drive.header_hash));
    DRAY_TRY(parse_header_hash(drive.header_hash));
    DRAY_TRY(check_text("volume-id", drive.volume_id));
    if (request.key && request.key->empty())
        return fail(ErrorKind::InvalidArgument, "the key of drive {} is empty", drive.serial);
    if (job->find_drive(drive.serial) != nullptr)
        return fail(ErrorKind::InvalidArgument, "job {} has a drive {} already", job->name, drive.serial);
    if (job->drives.size() >= state_->config.jobs.drives)
        return fail(ErrorKind::LimitReached, "job {} has {} drives, which is the limit (jobs.drives)", job->name,
                    job->drives.size());
    for (const auto& [name, other] : state_->jobs)
        if (!is_over(*other) && other->find_drive(drive.serial) != nullptr)
            return fail(ErrorKind::Conflict, "job {} expects drive {} already and is not finished", other->name,
                        drive.serial);
    Job with = *job;
    drive.has_key = request.key.has_value();
    with.drives.push_back(drive);
    with.expires = state_->clock.now() + state_->config.lifecycle.unshipped;
    if (request.key)
        DRAY_TRY(state_->catalog.save_with_key(with, with.drives.back(), *request.key));
    else
        DRAY_TRY(state_->save(with));
    *job = std::move(with);
    log::info("job {}: drive {} is added", job->name, drive.serial);
    const Drive& added = job->drives.back();
    state_->observer.drive_added(*job, added);
    state_->observer.job_changed(*job, Change::State);
    state_->settling = state_->loop.soon([state = state_.get()] { state->settle(); });
    return &added;
}

Result<void> JobEngine::update(const std::string& job_name, const UpdateJobRequest& request) {
    DRAY_LET(Job* const job, state_->need(job_name));
    const auto may = [&](JobOperation operation) -> Result<void> {
        if (judge(operation, job->state, job->is_cancel_requested) == Verdict::Refused)
            return fail(refusal(operation, *job));
        return {};
    };
    Job changed = *job;
    if (request.tags) {
        DRAY_TRY(may(JobOperation::UpdateTags));
        changed.tags = *request.tags;
    }
    if (request.log_level || request.backup_manifest)
        DRAY_TRY(may(JobOperation::UpdateReturn));
    changed.log_level = request.log_level.value_or(job->log_level);
    changed.backup_manifest = request.backup_manifest.value_or(job->backup_manifest);
    if (request.carrier || request.tracking)
        DRAY_TRY(may(JobOperation::UpdateShipping));
    changed.carrier = request.carrier.value_or(job->carrier);
    changed.tracking = request.tracking.value_or(job->tracking);
    DRAY_TRY(State::check_texts(changed));
    if (request.cancel_requested) {
        // False is "unchanged" for a job that is not cancelled; a cancel cannot be withdrawn.
        if (!*request.cancel_requested && job->is_cancel_requested)
            return fail(ErrorKind::Conflict, "job {} was cancelled, and that cannot be withdrawn", job->name);
        if (*request.cancel_requested)
            DRAY_TRY(may(JobOperation::Cancel));
    }
    if (job->state == JobState::Creating)
        changed.expires = state_->clock.now() + state_->config.lifecycle.unshipped;
    DRAY_TRY(state_->save(changed));
    *job = std::move(changed);
    // Copies that are under way write their logs at the end, as is wished then.
    if (request.log_level || request.backup_manifest)
        for (const Drive& drive : job->drives)
            if (const auto* copy = state_->copy_of(*job, drive); copy != nullptr && copy->process)
                copy->process->send(transfer::Logs{job->log_level == LogLevel::Verbose, job->backup_manifest});
    state_->observer.job_changed(*job, Change::State);
    return request.cancel_requested.value_or(false) ? cancel(job_name, std::nullopt) : Result<void>();
}

Result<void> JobEngine::State::check_texts(const Job& job) {
    DRAY_TRY(check_text("carrier", job.carrier));
    DRAY_TRY(check_text("tracking", job.tracking));
    return check_tags(job.tags);
}

Result<void> JobEngine::ship(const std::string& job_name, const ShipRequest& request) {
    DRAY_LET(Job* const job, state_->need(job_name));
    const Verdict verdict = judge(JobOperation::Ship, job->state, job->is_cancel_requested);
    if (verdict == Verdict::Refused)
        return fail(refusal(JobOperation::Ship, *job));
    if (verdict == Verdict::NoOperation)
        return {};
    DRAY_TRY(state_->ship(*job, request));
    state_->settle();
    return {};
}

Result<void> JobEngine::cancel(const std::string& job_name, std::optional<DrainMode> drain) {
    DRAY_LET(Job* const job, state_->need(job_name));
    DRAY_TRY(state_->cancel(*job, drain));
    return {};
}

Result<void> JobEngine::close(const std::string& job_name) {
    DRAY_LET(Job* const job, state_->need(job_name));
    if (judge(JobOperation::Close, job->state, job->is_cancel_requested) != Verdict::Allowed)
        return fail(refusal(JobOperation::Close, *job));
    if (job->is_closed_for_drives)
        return {};
    DRAY_TRY(state_->close(*job));
    state_->settle();
    return {};
}

Result<void> JobEngine::remove(const std::string& job_name, bool force) {
    DRAY_LET(Job* const job, state_->need(job_name));
    if (judge(JobOperation::Delete, job->state, job->is_cancel_requested) != Verdict::Allowed)
        return fail(refusal(JobOperation::Delete, *job));
    if (const Drive* drive = unread_key(*job); drive != nullptr && !force)
        return fail(ErrorKind::Conflict,
                    "the key of drive {} of job {} was never read, and without it nobody can read the drive; read it with "
                    "drayctl key, or delete with force", drive->serial, job->name);
    DRAY_TRY(state_->remove(*job));
    state_->settle();
    return {};
}

Result<SecretBytes> JobEngine::read_key(const std::string& job_name, const std::string& serial) {
    DRAY_LET(Job* const job, state_->need(job_name));
    DRAY_LET(Drive* const drive, state_->need_drive(*job, serial));
    if (job->type != JobType::Export)
        return fail(ErrorKind::Unsupported,
                    "the key of an import job's drive is not given out; only export jobs have keys to read");
    DRAY_LET(SecretBytes key, state_->catalog.read_key(*job, *drive));
    if (!drive->is_key_read) {
        Job changed = *job;
        changed.find_drive(serial)->is_key_read = true;
        DRAY_TRY(state_->save(changed));
        *job = std::move(changed);
    }
    return key;
}

Result<void> JobEngine::retry(const std::string& job_name, const std::string& serial, RetryRequest request) {
    DRAY_LET(Job* const job, state_->need(job_name));
    DRAY_LET(Drive* const drive, state_->need_drive(*job, serial));
    if (judge(JobOperation::RetryDrive, job->state, job->is_cancel_requested) != Verdict::Allowed)
        return fail(refusal(JobOperation::RetryDrive, *job));
    if (!drive->is_faulted)
        return fail(ErrorKind::Conflict, "drive {} of job {} is not faulted but {}", drive->serial, job->name,
                    to_string(drive->state));
    if (state_->copy_of(*job, *drive) != nullptr)
        return fail(ErrorKind::Conflict, "drive {} of job {} is being released", drive->serial, job->name);
    if (request.key && request.key->empty())
        return fail(ErrorKind::InvalidArgument, "the new key of drive {} is empty", drive->serial);
    Job changed = *job;
    Drive& mended = *changed.find_drive(serial);
    mended.manifest = request.manifest.value_or(drive->manifest);
    mended.manifest_hash = trimmed(request.manifest_hash.value_or(drive->manifest_hash));
    if (request.manifest || request.manifest_hash)
        DRAY_TRY(check_manifest(mended.manifest, mended.manifest_hash));
    if (job->type == JobType::Export && (request.key || request.manifest || request.manifest_hash || request.partition))
        return fail(ErrorKind::InvalidArgument, "drive {} is for an export: key and manifest are made for it", drive->serial);
    if (job->type == JobType::Import && request.may_overwrite)
        return fail(ErrorKind::InvalidArgument, "option overwrite is for export jobs, and this is an import job");
    mended.may_overwrite = drive->may_overwrite || request.may_overwrite;
    mended.partition = request.partition.value_or(drive->partition);
    mended.has_key = drive->has_key || request.key.has_value();
    state_->mend(changed, mended);
    mended.crashes = 0;
    if (request.key)
        DRAY_TRY(state_->catalog.save_with_key(changed, mended, *request.key));
    else
        DRAY_TRY(state_->save(changed));
    *job = std::move(changed);
    state_->tell(*job, *job->find_drive(serial), Change::State);
    state_->settle();
    return {};
}

Result<void> JobEngine::assign(const std::string& device_id, const std::string& job_name,
                               const std::string& serial, bool may_overwrite) {
    const DeviceEntry* device = state_->devices.find(device_id);
    if (device == nullptr)
        return fail(ErrorKind::NotFound, "no device {} is plugged in", device_id.substr(0, 128));
    DRAY_LET(Job* const job, state_->need(job_name));
    if (judge(JobOperation::AssignDevice, job->state, job->is_cancel_requested) != Verdict::Allowed)
        return fail(refusal(JobOperation::AssignDevice, *job));
    if (may_overwrite && job->type != JobType::Export)
        return fail(ErrorKind::InvalidArgument, "option overwrite is for export jobs, and job {} is an import job", job->name);
    std::string chosen = serial;
    if (chosen.empty()) {
        for (const Drive& drive : job->drives) {
            if (drive.is_finished() || state_->devices.device_of(*job, drive) != nullptr)
                continue;
            if (!chosen.empty())
                return fail(ErrorKind::InvalidArgument,
                            "job {} waits for more than one drive; say which one the device is (drive)", job->name);
            chosen = drive.serial;
        }
        if (chosen.empty())
            return fail(ErrorKind::Conflict, "job {} waits for no drive", job->name);
    }
    DRAY_LET(const Drive* const drive, state_->need_drive(*job, chosen));
    if (drive->is_finished() || state_->copy_of(*job, *drive) != nullptr)
        return fail(ErrorKind::Conflict, "drive {} of job {} is {} and takes no other device", drive->serial,
                    job->name, to_string(drive->state));
    // The device is waived, not the volume: the drive would end with it (rules.md 5).
    if (has_other_volume(device->device, *drive))
        return fail(ErrorKind::Conflict, "device {} holds volume {}, and drive {} of job {} is known for volume {}",
                    device->device.node, device->device.volume_uuid, drive->serial, job->name, drive->volume_id);
    for (const auto& [key, copy] : state_->copies)
        if (copy->device_id == device_id)
            return fail(ErrorKind::Conflict, "device {} is being copied for job {}", device->device.node, copy->job);
    const std::string fingerprint = fingerprint_of(device->device);
    // The last word counts: a device that was assigned before is taken back from there.
    for (auto& [name, other] : state_->jobs) {
        for (Drive& former : other->drives) {
            if (former.assigned_device != fingerprint || (other.get() == job && &former == drive))
                continue;
            former.assigned_device.clear();
            DRAY_TRY(state_->save(*other));
            log::info("job {}: drive {} is no longer the device {}", other->name, former.serial, device->device.node);
        }
    }
    Job changed = *job;
    Drive& assigned = *changed.find_drive(chosen);
    assigned.assigned_device = fingerprint;
    assigned.may_overwrite = assigned.may_overwrite || may_overwrite;
    DRAY_TRY(state_->save(changed));
    *job = std::move(changed);
    log::info("job {}: device {} (serial \"{}\") is assigned as drive {}", job->name, device->device.node,
              device->device.serial, chosen);
    state_->settle();
    return {};
}

const Job* JobEngine::find_job(const std::string& name) const { return std::as_const(*state_).find(name); }
std::vector<const Job*> JobEngine::jobs() const { return state_->all_jobs(); }
const DeviceEntry* JobEngine::find_device(const std::string& id) const { return state_->devices.find(id); }
const DeviceEntry* JobEngine::device_of(const Job& job, const Drive& drive) const {
    return state_->devices.device_of(job, drive);
}
std::vector<const DeviceEntry*> JobEngine::devices() const { return state_->devices.all(); }

const StoreEntry* JobEngine::find_store(const std::string& name) const {
    const auto found = state_->stores.find(name);
    return found == state_->stores.end() ? nullptr : &found->second;
}

std::vector<const StoreEntry*> JobEngine::stores() const {
    std::vector<const StoreEntry*> all;
    all.reserve(state_->stores.size());
    for (const auto& [name, entry] : state_->stores)
        all.push_back(&entry);
    return all;
}

Rate JobEngine::rate_of(const Job& job, const Drive& drive) const {
    const State::Copy* copy = std::as_const(*state_).copy_of(job, drive);
    if (copy == nullptr || drive.counters.bytes_total <= drive.counters.bytes_done)
        return {};
    Rate rate;
    rate.bytes_per_second = copy->rate.bytes_per_second();
    if (rate.bytes_per_second != 0)
        rate.remaining = std::chrono::seconds((drive.counters.bytes_total - drive.counters.bytes_done) /
                                              rate.bytes_per_second);
    return rate;
}

Rate JobEngine::rate_of(const Job& job) const {
    Rate sum;
    for (const Drive& drive : job.drives) {
        const Rate rate = rate_of(job, drive);
        sum.bytes_per_second += rate.bytes_per_second;
        sum.remaining = std::max(sum.remaining, rate.remaining);
    }
    return sum;
}

unsigned JobEngine::drives_here(const Job& job) const {
    return static_cast<unsigned>(std::ranges::count_if(
        job.drives, [&](const Drive& drive) { return state_->devices.device_of(job, drive) != nullptr; }));
}

unsigned JobEngine::active_transfers() const { return state_->active(); }
const Config& JobEngine::config() const { return state_->config; }

}  // namespace dray
