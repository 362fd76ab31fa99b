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

struct CreateOptions {
    std::string name;
    std::string type = "import";
    std::string store;
    std::string diagnostics_path;
    std::string log_level;
    bool backup_manifest = false;
    std::uint32_t expected_drives = 0;
    Texts tags;
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
                          const std::string& job, const std::string& drive);

}  // namespace dray::ctl
