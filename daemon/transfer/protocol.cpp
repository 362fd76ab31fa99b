// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/protocol.hpp"

#include <array>
#include <utility>

#include "daemon/base/overloaded.hpp"
#include "daemon/base/wire.hpp"
#include "daemon/model/utf8.hpp"

namespace dray::transfer {
namespace {

// The first byte of a message; FORMAT.md lists them.
enum class ToTag : std::uint8_t { Task = 1, UnlockGranted, Drain, Stop, Logs, Credential };
enum class FromTag : std::uint8_t { UnlockWanted = 65, Unlocked, Progress, Note, Report };

constexpr std::size_t kMaxText = 4096;
constexpr std::uint8_t kErrorKinds = static_cast<std::uint8_t>(ErrorKind::Internal) + 1;
constexpr std::uint8_t kTaskKinds = static_cast<std::uint8_t>(TaskKind::PreviewExport) + 1;
constexpr std::uint8_t kDrainModes = static_cast<std::uint8_t>(DrainMode::Piece) + 1;
constexpr std::uint8_t kCredentialKinds = static_cast<std::uint8_t>(CredentialKind::Token) + 1;
constexpr std::uint8_t kEndings = static_cast<std::uint8_t>(Ending::Cancelled) + 1;

template <typename Enum>
void put_enum(WireWriter& out, Enum value) {
    out.u8(static_cast<std::uint8_t>(value));
}

/// Sentences of ours may have grown out of a drive's names: cut, rather than unreadable to the other side.
void put_text(WireWriter& out, std::string_view text) { out.text(text.substr(0, kMaxText)); }

/// What drayd shows to people may come from a drive, or from a process that was taken over.
std::string take_shown(WireReader& in) { return tame(in.text(kMaxText)); }

void put(WireWriter& out, const Counters& counters) {
    for (const std::uint64_t value : {counters.bytes_done, counters.bytes_total, counters.bytes_succeeded,
                                      counters.blobs_done, counters.blobs_total, counters.blobs_failed})
        out.u64(value);
}

Counters take_counters(WireReader& in) {
    Counters counters;
    for (std::uint64_t* value : {&counters.bytes_done, &counters.bytes_total, &counters.bytes_succeeded,
                                 &counters.blobs_done, &counters.blobs_total, &counters.blobs_failed})
        *value = in.u64();
    return counters;
}

/// The texts of a store in the order of the message.
template <typename Config>
auto texts_of(Config& store) {
    return std::array{&store.name,
                      &store.type,
                      &store.path,
                      &store.azure.endpoint,
                      &store.azure.account,
                      &store.azure.credential,
                      &store.azure.container,
                      &store.azure.ca_file,
                      &store.azure.proxy,
                      &store.azure.api_version,
                      &store.encryption.key,
                      &store.encryption.algorithm,
                      &store.encryption.credential};
}

void put(WireWriter& out, const StoreConfig& store) {
    for (const std::string* text : texts_of(store))
        put_text(out, *text);
    put_enum(out, store.azure.credential_kind);
    out.boolean(store.azure.allow_http);
    for (const Microseconds time : {store.azure.connect_timeout, store.azure.stall_timeout, store.azure.outage})
        out.u64(static_cast<std::uint64_t>(time.count()));
}

StoreConfig take_store(WireReader& in) {
    StoreConfig store;
    for (std::string* text : texts_of(store))
        *text = in.text(kMaxText);
    store.azure.credential_kind = in.enumerator<CredentialKind>(kCredentialKinds);
    store.azure.allow_http = in.boolean();
    for (Microseconds* time : {&store.azure.connect_timeout, &store.azure.stall_timeout, &store.azure.outage})
        *time = Microseconds(static_cast<std::int64_t>(in.u64()));
    return store;
}

void put(WireWriter& out, const Task& task) {
    put_enum(out, task.kind);
    for (const std::string* text : {&task.job, &task.serial, &task.store_identity, &task.manifest, &task.manifest_hash,
                                    &task.volume_id, &task.header_hash, &task.diagnostics_path, &task.directory, &task.status,
                                    &task.list_blob, &task.plan_directory})
        put_text(out, *text);
    put(out, task.store);
    out.boolean(task.has_credential);
    out.boolean(task.has_encryption_key);
    out.boolean(task.is_verbose_log);
    out.boolean(task.backup_manifest);
    out.u64(task.ring);
    out.u32(task.requests);
    out.u64(task.unlock_memory);
    out.boolean(task.allow_plain);
    out.boolean(task.strict_header_hash);
    out.u32(task.partition);
    out.boolean(task.is_draining);
    put_enum(out, task.drain);
    out.u64(task.drive_size);
    out.boolean(task.may_overwrite);
    out.u64(static_cast<std::uint64_t>(task.checkpoint.count()));
}

Task take_task(WireReader& in) {
    Task task;
    task.kind = in.enumerator<TaskKind>(kTaskKinds);
    for (std::string* text : {&task.job, &task.serial, &task.store_identity, &task.manifest, &task.manifest_hash,
                              &task.volume_id, &task.header_hash, &task.diagnostics_path, &task.directory, &task.status,
                              &task.list_blob, &task.plan_directory})
        *text = in.text(kMaxText);
    task.store = take_store(in);
    task.has_credential = in.boolean();
    task.has_encryption_key = in.boolean();
    task.is_verbose_log = in.boolean();
    task.backup_manifest = in.boolean();
    task.ring = in.u64();
    task.requests = in.u32();
    task.unlock_memory = in.u64();
    task.allow_plain = in.boolean();
    task.strict_header_hash = in.boolean();
    task.partition = in.u32();
    task.is_draining = in.boolean();
    task.drain = in.enumerator<DrainMode>(kDrainModes);
    task.drive_size = in.u64();
    task.may_overwrite = in.boolean();
    task.checkpoint = Microseconds(static_cast<std::int64_t>(in.u64()));
    return task;
}

void put(WireWriter& out, const Report& report) {
    put_enum(out, report.ending);
    put_enum(out, report.kind);
    put(out, report.counters);
    for (const std::string* text : {&report.status, &report.message, &report.store_identity, &report.volume_id,
                                    &report.error_log_uri, &report.verbose_log_uri, &report.manifest_uri, &report.manifest,
                                    &report.manifest_hash, &report.incomplete_list_uri})
        put_text(out, *text);
}

Report take_report(WireReader& in) {
    Report report;
    report.ending = in.enumerator<Ending>(kEndings);
    report.kind = in.enumerator<ErrorKind>(kErrorKinds);
    report.counters = take_counters(in);
    for (std::string* text : {&report.status, &report.message})
        *text = take_shown(in);
    report.store_identity = in.text(kMaxText);
    for (std::string* text : {&report.volume_id, &report.error_log_uri, &report.verbose_log_uri, &report.manifest_uri,
                              &report.manifest, &report.manifest_hash, &report.incomplete_list_uri})
        *text = take_shown(in);
    return report;
}

std::vector<std::byte> bytes_of(const WireWriter& out) { return {out.bytes().begin(), out.bytes().end()}; }

ToTransfer take_to(WireReader& in) {
    switch (static_cast<ToTag>(in.u8())) {
        case ToTag::Task: return take_task(in);
        case ToTag::UnlockGranted: return UnlockGranted{};
        case ToTag::Drain: return Drain{in.enumerator<DrainMode>(kDrainModes)};
        case ToTag::Stop: return Stop{};
        case ToTag::Credential: return Credential{};
        case ToTag::Logs: {
            Logs logs;
            logs.is_verbose = in.boolean();
            logs.backup_manifest = in.boolean();
            return logs;
        }
    }
    in.reject();
    return Stop{};
}

FromTransfer take_from(WireReader& in) {
    switch (static_cast<FromTag>(in.u8())) {
        case FromTag::UnlockWanted: return UnlockWanted{in.text(kMaxText)};
        case FromTag::Unlocked: {
            Unlocked unlocked;
            unlocked.volume_type = take_shown(in);
            unlocked.volume_id = take_shown(in);
            unlocked.filesystem = take_shown(in);
            unlocked.partition_table = take_shown(in);
            return unlocked;
        }
        case FromTag::Progress: {
            Progress progress;
            progress.phase = take_shown(in);
            progress.counters = take_counters(in);
            progress.pieces_journaled = in.u64();
            progress.file = take_shown(in);
            return progress;
        }
        case FromTag::Note: {
            Note note;
            note.is_warning = in.boolean();
            note.text = take_shown(in);
            return note;
        }
        case FromTag::Report: return take_report(in);
    }
    in.reject();
    return UnlockWanted{};
}

}  // namespace

std::size_t descriptors_beside(const ToTransfer& message) {
    if (const auto* task = std::get_if<Task>(&message))
        return static_cast<std::size_t>(task->has_credential) + static_cast<std::size_t>(task->has_encryption_key);
    return std::holds_alternative<Credential>(message) ? 1 : 0;
}

std::vector<std::byte> encode(const ToTransfer& message) {
    WireWriter out;
    std::visit(Overloaded{
                   [&](const Task& task) {
                       put_enum(out, ToTag::Task);
                       put(out, task);
                   },
                   [&](const UnlockGranted&) { put_enum(out, ToTag::UnlockGranted); },
                   [&](const Drain& drain) {
                       put_enum(out, ToTag::Drain);
                       put_enum(out, drain.mode);
                   },
                   [&](const Stop&) { put_enum(out, ToTag::Stop); },
                   [&](const Credential&) { put_enum(out, ToTag::Credential); },
                   [&](const Logs& logs) {
                       put_enum(out, ToTag::Logs);
                       out.boolean(logs.is_verbose);
                       out.boolean(logs.backup_manifest);
                   },
               },
               message);
    return bytes_of(out);
}

std::vector<std::byte> encode(const FromTransfer& message) {
    WireWriter out;
    std::visit(Overloaded{
                   [&](const UnlockWanted& wanted) {
                       put_enum(out, FromTag::UnlockWanted);
                       put_text(out, wanted.store_identity);
                   },
                   [&](const Unlocked& unlocked) {
                       put_enum(out, FromTag::Unlocked);
                       put_text(out, unlocked.volume_type);
                       put_text(out, unlocked.volume_id);
                       put_text(out, unlocked.filesystem);
                       put_text(out, unlocked.partition_table);
                   },
                   [&](const Progress& progress) {
                       put_enum(out, FromTag::Progress);
                       put_text(out, progress.phase);
                       put(out, progress.counters);
                       out.u64(progress.pieces_journaled);
                       put_text(out, progress.file);
                   },
                   [&](const Note& note) {
                       put_enum(out, FromTag::Note);
                       out.boolean(note.is_warning);
                       put_text(out, note.text);
                   },
                   [&](const Report& report) {
                       put_enum(out, FromTag::Report);
                       put(out, report);
                   },
               },
               message);
    return bytes_of(out);
}

Result<ToTransfer> decode_to_transfer(std::span<const std::byte> bytes) {
    WireReader in(bytes);
    ToTransfer message = take_to(in);
    DRAY_TRY(in.finish());
    return message;
}

Result<FromTransfer> decode_from_transfer(std::span<const std::byte> bytes) {
    WireReader in(bytes);
    FromTransfer message = take_from(in);
    DRAY_TRY(in.finish());
    return message;
}

}  // namespace dray::transfer
