// SPDX-License-Identifier: Apache-2.0
//
// The drive: what a job expects, by serial number, and what became of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/base/units.hpp"

namespace dray {

/// azure-import-export.md 3.2.
enum class DriveState {
    Specified,
    Received,
    NeverReceived,
    Transferring,
    Completed,
    CompletedMoreInfo,
    ShippedBack
};

/// How a running copy ends after a cancel, from the most patient to the strictest.
enum class DrainMode { Drive, Blob, Piece };

std::string_view to_string(DriveState state);
/// "drive", "blob", "piece".
std::string_view to_string(DrainMode mode);
std::optional<DriveState> parse_drive_state(std::string_view text);
std::optional<DrainMode> parse_drain_mode(std::string_view text);

/// Progress of a drive or the sum of a job's.
struct Counters {
    /// Bytes dealt with, failed and skipped ones included.
    Bytes bytes_done = 0;
    Bytes bytes_total = 0;
    /// Verified and in the store.
    Bytes bytes_succeeded = 0;
    std::uint64_t blobs_done = 0;
    std::uint64_t blobs_total = 0;
    std::uint64_t blobs_failed = 0;
    bool operator==(const Counters&) const = default;
};

struct Drive {
    /// As given by the caller, spaces removed.
    std::string serial;
    DriveState state = DriveState::Specified;
    /// Status word of azure-import-export.md 6.3, "Cancelled", or a phase (3.5); "" before the first copy.
    std::string copy_status;
    /// "" until finished, then "completed", "completed-more-info" or "cancelled"; kept in ShippedBack.
    std::string outcome;
    /// Something the site can mend stopped it (rules.md 2); the reason is a sentence for the operator.
    bool is_faulted = false;
    std::string fault_reason;
    /// An error kind's name ("WrongKey", "Unreachable", ...) while faulted.
    std::string fault_kind;
    std::string manifest;
    std::string manifest_hash;
    std::string header_hash;
    /// LUKS or BitLocker identifier: given, or remembered at the first unlock.
    std::string volume_id;
    /// Which partition of the disk holds the volume, as the kernel counts; 0: the first for data.
    std::uint32_t partition = 0;
    bool has_key = false;
    /// Of an export: what the disk holds may be lost; and whether somebody has read the key that was made for it.
    bool may_overwrite = false;
    bool is_key_read = false;
    /// A cancelled job's copy that runs to its drain point (rules.md 19).
    bool is_draining = false;
    DrainMode drain = DrainMode::Drive;
    /// Assign waived the hardware serial: the disk is recognised by this fingerprint instead.
    std::string assigned_device;
    Counters counters;
    /// Pair crashes in a row without a newly journaled piece (rules.md 9).
    std::uint32_t crashes = 0;
    std::string error_log_uri;
    std::string verbose_log_uri;
    std::string manifest_uri;
    TimePoint started;
    TimePoint finished;
    /// When a drive that has not come counts as overdue; 0 before Ship.
    TimePoint overdue;

    bool is_finished() const {
        return state == DriveState::Completed || state == DriveState::CompletedMoreInfo ||
               state == DriveState::ShippedBack;
    }
};

/// Spaces removed. InvalidArgument: empty, over 128 bytes, or not printable ASCII.
Result<std::string> check_serial(std::string_view serial);
/// The form in which serials are compared: spaces removed, case folded (rules.md 5).
std::string fold_serial(std::string_view serial);

}  // namespace dray
