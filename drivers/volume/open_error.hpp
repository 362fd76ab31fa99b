// SPDX-License-Identifier: Apache-2.0
//
// Why a drive cannot be opened: the error, and the word that the drive's log uses for it.
#pragma once

#include <expected>
#include <string>
#include <utility>

#include "daemon/base/error.hpp"

namespace dray::volume {

struct OpenError {
    Error error;
    /// Drive status of azure-import-export.md 6.3; LUKS volumes reuse the BitLocker words.
    std::string status;
};

template <typename T>
using OpenResult = std::expected<T, OpenError>;

inline std::unexpected<OpenError> refuse(Error error, std::string status) {
    return std::unexpected(OpenError{std::move(error), std::move(status)});
}

// The words in use here.
inline constexpr const char* kDiskNotFound = "DiskNotFound";
inline constexpr const char* kDiskOperationFailed = "DiskOperationFailed";
inline constexpr const char* kVolumeNotFound = "BitLockerVolumeNotFound";
inline constexpr const char* kNotActivated = "BitLockerNotActivated";
inline constexpr const char* kProtectorNotFound = "BitLockerProtectorNotFound";
inline constexpr const char* kKeyInvalid = "BitLockerKeyInvalid";
inline constexpr const char* kUnlockVolumeFailed = "BitLockerUnlockVolumeFailed";
inline constexpr const char* kFailed = "BitLockerFailed";
inline constexpr const char* kFileSystemUnknown = "VolumeNotNtfs";
inline constexpr const char* kInternalError = "InternalError";

}  // namespace dray::volume
