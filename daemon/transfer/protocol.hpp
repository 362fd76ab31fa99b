// SPDX-License-Identifier: Apache-2.0
//
// What drayd and dray-transfer say to each other over a SEQPACKET pair. Schema and limits: FORMAT.md.
//
// dray-transfer is started with descriptor 3 its socket to drayd and 4 its socket to dray-drive (absent
// for tasks without a drive). The first message is Task; the store's secrets travel beside it as sealed memfds.
// It ends after it has sent Report, or when its socket to drayd closes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "config/config.hpp"
#include "daemon/base/message_socket.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"
#include "daemon/model/drive.hpp"

namespace dray::transfer {

inline constexpr int kEngineFd = 3;
inline constexpr int kDriveFd = 4;

/// Of preview.json.
inline constexpr Bytes kMaxPreview = 16 * kMiB;

enum class TaskKind {
    /// Copies a drive into the store.
    Import,
    /// No drive: throws away what an unfinished import left uncommitted in the store, and writes its
    /// error log from the journal and spool if there are any (Release, or a drain whose disk is gone).
    Abandon,
    /// No drive: looks whether the store can be used.
    CheckStore,
    /// Fills a drive from the store: its part of the plan that lies in plan_directory, or is made there.
    Export,
    /// No drive: what an export would take and need, as preview.json in the directory, where selection.xml lies unless
    /// there is a list blob.
    PreviewExport,
};

/// Whether a dray-drive is at work beside it.
constexpr bool has_drive(TaskKind kind) { return kind == TaskKind::Import || kind == TaskKind::Export; }

struct Task {
    TaskKind kind = TaskKind::Import;
    std::string job;
    std::string serial;
    StoreConfig store;
    /// Which memfds come beside the message, in this order: the store's credential, the key of its encryption.
    bool has_credential = false;
    bool has_encryption_key = false;
    /// What the store said of itself when it was last used; "" the first time.
    std::string store_identity;
    std::string manifest;
    std::string manifest_hash;
    /// Unless empty: the volume must have this identifier.
    std::string volume_id;
    /// As parse_header_hash() takes it.
    std::string header_hash;
    /// 0: the first for data.
    std::uint32_t partition = 0;
    std::string diagnostics_path;
    bool is_verbose_log = false;
    bool backup_manifest = false;
    /// For journal, spool and undelivered logs; made by drayd, this transfer's own.
    std::string directory;
    Bytes ring = 96 * kMiB;
    std::uint32_t requests = 64;
    Bytes unlock_memory = kGiB;
    bool allow_plain = false;
    bool strict_header_hash = false;
    /// A drain that was already going on (rules.md 19).
    bool is_draining = false;
    DrainMode drain = DrainMode::Drive;
    /// drive status for Abandon's log.
    std::string status;
    /// Of an export: the blob that lists what it takes, or "": selection.xml lies in plan_directory then.
    std::string list_blob;
    /// Export: for what all drives of the job share; made by drayd. PreviewExport has it in directory.
    std::string plan_directory;
    /// PreviewExport: how large each drive would be. Export: how large this one is.
    Bytes drive_size = 0;
    /// Export: whether what the drive holds may be lost.
    bool may_overwrite = false;
    /// Export: between two checkpoints.
    Microseconds checkpoint = std::chrono::seconds(5);
};

/// This drive's turn to unlock has come.
struct UnlockGranted {};
/// End after the drive, the blobs or the pieces in hand. May be sent again, only to tighten.
struct Drain {
    DrainMode mode = DrainMode::Drive;
};
/// The job's wishes have changed; those hold that are known when the logs are written.
struct Logs {
    bool is_verbose = false;
    bool backup_manifest = false;
};
/// Checkpoint and leave within a few seconds; the journal knows where to go on.
struct Stop {};
/// The store's credential as it is from now on, in one memfd beside the message.
struct Credential {};

using ToTransfer = std::variant<Task, UnlockGranted, Drain, Stop, Logs, Credential>;

/// How many descriptors come beside a message.
std::size_t descriptors_beside(const ToTransfer& message);

/// Ready to unlock; waits for UnlockGranted.
struct UnlockWanted {
    std::string store_identity;
};
/// The drive is open. Frees the turn.
struct Unlocked {
    std::string volume_type;
    std::string volume_id;
    std::string filesystem;
    /// "gpt", "dos", or "" for a device that is one volume.
    std::string partition_table;
};
/// At most four a second, and once before Report.
struct Progress {
    /// Word of azure-import-export.md 3.5.
    std::string phase;
    Counters counters;
    /// Pieces newly journaled since the start: a crash after progress is no crash in a row.
    std::uint64_t pieces_journaled = 0;
    /// The file that is being read, for the sentence after a crash.
    std::string file;
};
/// One line for the operator's log.
struct Note {
    bool is_warning = false;
    std::string text;
};

/// Status of an export that found nothing to go on with: what drayd knows of the drive's volume is to be forgotten.
inline constexpr const char* kBeginAnew = "BeginAnew";

enum class Ending {
    /// The drive is done; `status` says how (6.3).
    Finished,
    /// The site can mend it: `kind` and `message` say what (rules.md 2).
    Faulted,
    /// The device went away; nothing was journaled as failed (rules.md 1).
    DeviceGone,
    /// Stop was obeyed.
    Stopped,
    /// Drained to the asked point before the end.
    Cancelled,
};

struct Report {
    Ending ending = Ending::Finished;
    std::string status;
    ErrorKind kind = ErrorKind::Internal;
    std::string message;
    /// Of CheckStore alone; an import tells it with UnlockWanted.
    std::string store_identity;
    Counters counters;
    std::string volume_id;
    std::string error_log_uri;
    std::string verbose_log_uri;
    std::string manifest_uri;
    /// Of an export: the manifest's path on the drive and its MD5, and where what did not fit is listed, or "".
    std::string manifest;
    std::string manifest_hash;
    std::string incomplete_list_uri;
};

using FromTransfer = std::variant<UnlockWanted, Unlocked, Progress, Note, Report>;

std::vector<std::byte> encode(const ToTransfer& message);
std::vector<std::byte> encode(const FromTransfer& message);
/// Corrupt: not of the schema.
Result<ToTransfer> decode_to_transfer(std::span<const std::byte> bytes);
Result<FromTransfer> decode_from_transfer(std::span<const std::byte> bytes);

}  // namespace dray::transfer
