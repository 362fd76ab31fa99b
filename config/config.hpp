// SPDX-License-Identifier: Apache-2.0
//
// The typed settings with their defaults. What each means is said in config/dray.yaml.
#pragma once  // NOLINTBEGIN(readability-redundant-member-init): whoever names some members may leave the others out.

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "daemon/base/log.hpp"
#include "daemon/base/units.hpp"
#include "daemon/model/drive.hpp"

namespace dray {

/// How an Azure store is signed on to (blob-rest.md A.2).
enum class CredentialKind { SharedKey, Sas, Token };

/// Options of stores of type azure.
struct AzureConfig {
    /// With scheme, without a slash at its end; path style has the account in it.
    std::string endpoint{};
    std::string account{};
    CredentialKind credential_kind = CredentialKind::SharedKey;
    /// Where the secret is: a name in $CREDENTIALS_DIRECTORY, or an absolute path. Never the secret itself.
    std::string credential{};
    /// The one that must be there for the store to be usable; "": none in particular.
    std::string container{};
    /// The certificates that are trusted, PEM; empty: the system's.
    std::string ca_file{};
    /// http://HOST:PORT; empty: none, whatever the environment says.
    std::string proxy{};
    bool allow_http = false;
    Microseconds connect_timeout = std::chrono::seconds(10);
    /// A request that moves less than 1 KiB/s for this long is given up.
    Microseconds stall_timeout = std::chrono::seconds(60);
    /// So long without one success, and the store counts as unreachable.
    Microseconds outage = std::chrono::minutes(30);
    /// x-ms-version.
    std::string api_version = "2021-12-02";

    bool operator==(const AzureConfig&) const = default;
};

/// Client-side encryption of a store: what `keys` says of the key that the store names.
struct EncryptionConfig {
    /// The key's name, and its id in what is written; empty: not encrypted.
    std::string key{};
    /// A128KW, A192KW, A256KW, RSA-OAEP or RSA-OAEP-256.
    std::string algorithm{};
    /// As AzureConfig::credential.
    std::string credential{};

    bool operator==(const EncryptionConfig&) const = default;
};

/// One place for blobs. Which options a type knows is its driver's matter; the reader has checked them.
struct StoreConfig {
    std::string name{};
    /// "directory" or "azure".
    std::string type{};
    /// type directory: the root, an absolute path.
    std::string path{};
    AzureConfig azure{};
    EncryptionConfig encryption{};

    bool operator==(const StoreConfig&) const = default;
};

struct DevicesConfig {
    bool use_udev = true;
    bool use_images = false;
    /// The watched directory of the source `images`.
    std::string images = "/var/lib/dray/drives";
    bool allow_loop = false;

    bool operator==(const DevicesConfig&) const = default;
};

struct DrivesConfig {
    bool allow_plain = false;
    bool strict_header_hash = false;
    Bytes unlock_memory = kGiB;

    bool operator==(const DrivesConfig&) const = default;
};

struct TransfersConfig {
    unsigned max = 4;
    /// On one bus; 0: as many as there may be at all.
    unsigned per_bus = 0;
    unsigned requests = 64;
    Bytes ring = 96 * kMiB;
    /// Of an export: how long what was written may be lost by a crash.
    Microseconds checkpoint = std::chrono::seconds(5);

    bool operator==(const TransfersConfig&) const = default;
};

/// What counts as having handed a finished drive back.
enum class HandBack { Release, Unplug, AtOnce };

struct LifecycleConfig {
    bool auto_ship = false;
    HandBack hand_back = HandBack::Unplug;
    bool require_shipping = false;
    Microseconds retention = std::chrono::days(90);
    Microseconds unshipped = std::chrono::days(14);
    Microseconds overdue = std::chrono::days(14);
    Microseconds no_reply = std::chrono::days(30);
    bool auto_close = false;

    bool operator==(const LifecycleConfig&) const = default;
};

struct JobsConfig {
    unsigned max = 2000;
    unsigned drives = 10;

    bool operator==(const JobsConfig&) const = default;
};

struct Config {
    /// Empty: $STATE_DIRECTORY, else /var/lib/dray.
    std::string state_directory;
    DevicesConfig devices;
    DrivesConfig drives;
    std::map<std::string, StoreConfig> stores;
    TransfersConfig transfers;
    LifecycleConfig lifecycle;
    DrainMode cancel_drain = DrainMode::Drive;
    JobsConfig jobs;
    bool require_clock_sync = true;
    log::Level log_level = log::Level::Info;

    bool operator==(const Config&) const = default;
};

}  // namespace dray, NOLINTEND(readability-redundant-member-init)
