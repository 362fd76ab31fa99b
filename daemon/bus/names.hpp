// SPDX-License-Identifier: Apache-2.0
//
// The names of dray on the bus, for the daemon and its clients.
#pragma once

namespace dray::bus {

inline constexpr const char* kService = "org.dray1";
inline constexpr const char* kRootPath = "/org/dray1";
inline constexpr const char* kJobPath = "/org/dray1/job";
inline constexpr const char* kDevicePath = "/org/dray1/device";
inline constexpr const char* kStorePath = "/org/dray1/store";
inline constexpr const char* kManagerInterface = "org.dray1.Manager";
inline constexpr const char* kJobInterface = "org.dray1.Job";
inline constexpr const char* kDriveInterface = "org.dray1.Drive";
inline constexpr const char* kDeviceInterface = "org.dray1.Device";
inline constexpr const char* kStoreInterface = "org.dray1.Store";
/// Followed by an error name: InvalidArgument, NotFound, Exists, StateConflict, LimitExceeded, AccessDenied,
/// WrongKey, StoreUnreachable, DeviceGone, Corrupt, Unsupported, Internal.
inline constexpr const char* kErrorPrefix = "org.dray1.Error.";

}  // namespace dray::bus
