// SPDX-License-Identifier: Apache-2.0
//
// The verbs that change something: each is one call on the bus. Each answers an exit status.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "daemon/base/result.hpp"
#include "daemon/base/secret.hpp"
#include "daemon/ctl/client.hpp"
#include "daemon/ctl/output.hpp"

namespace dray::ctl {

/// What an export takes.
struct SelectionOptions {
    /// Paths with all their snapshots; the same without; prefixes, which begin with '/'.
    std::vector<std::string> paths;
    std::vector<std::string> base_paths;
    std::vector<std::string> prefixes;
    /// The blob that lists what is taken, instead of all these.
    std::string list_blob;
};
/// As options of a method.
void add_selection(Options& options, const SelectionOptions& selection);

struct CreateOptions {
    std::string name;
    std::string type = "import";
    std::string store;
    std::string diagnostics_path;
    std::string log_level;
    bool backup_manifest = false;
    std::uint32_t expected_drives = 0;
    Texts tags;
    SelectionOptions selection;
};
Result<int> create_job(const Client& client, const OutputOptions& output, const CreateOptions& options);

struct DriveOptions {
    std::string job;
    std::string serial;
    std::string key_file;
    std::string manifest;
    std::string manifest_hash;
    std::string header_hash;
    std::string volume_id;
    std::optional<std::uint32_t> partition;
    /// Of an export: what the disk holds may be lost.
    bool may_overwrite = false;
};
Result<int> add_drive(const Client& client, const OutputOptions& output, const DriveOptions& options);
/// Of `options` only what is not empty is changed.
Result<int> retry_drive(const Client& client, const OutputOptions& output, const DriveOptions& options);
Result<int> release_drive(const Client& client, const OutputOptions& output, const std::string& job,
                          const std::string& serial);

struct ShipOptions {
    std::string job;
    std::string carrier;
    std::string tracking;
    Texts return_address;
};
Result<int> ship_job(const Client& client, const OutputOptions& output, const ShipOptions& options);
/// `drain`: "" for the daemon's own setting.
Result<int> cancel_job(const Client& client, const OutputOptions& output, const std::string& job,
                       const std::string& drain);
Result<int> close_job(const Client& client, const OutputOptions& output, const std::string& job);
Result<int> delete_job(const Client& client, const OutputOptions& output, const std::string& job,
                       bool force);
struct UpdateOptions {
    std::string job;
    std::optional<std::string> log_level;
    std::optional<bool> backup_manifest;
    std::optional<std::string> carrier;
    std::optional<std::string> tracking;
    Texts tags;
};
Result<int> update_job(const Client& client, const OutputOptions& output, const UpdateOptions& options);
/// `drive`: "" when the job has just one that waits.
/// Every mistake on a line to stderr.
Result<int> reload(const Client& client, const OutputOptions& output);
Result<int> assign_device(const Client& client, const OutputOptions& output, const std::string& device,
                          const std::string& job, const std::string& drive, bool may_overwrite);
/// Prints the key of a drive of an export, and nothing else: whoever has the drive and this can read it.
Result<int> read_key(const Client& client, const std::string& job, const std::string& serial);

}  // namespace dray::ctl
