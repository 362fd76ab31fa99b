// SPDX-License-Identifier: Apache-2.0
//
// From names to object paths and back. Parts are encoded with sd_bus_path_encode, so "lyon-17" is
// /org/dray1/job/lyon_2d17.
#pragma once

#include <optional>
#include <string>

namespace dray::bus {

std::string job_path(const std::string& job);
std::string drive_path(const std::string& job, const std::string& serial);
std::string device_path(const std::string& id);
std::string store_path(const std::string& name);

struct DriveName {
    std::string job;
    std::string serial;
};

/// The name in a path of that kind; nothing for any other path.
std::optional<std::string> job_of_path(const char* path);
std::optional<DriveName> drive_of_path(const char* path);
std::optional<std::string> device_of_path(const char* path);
std::optional<std::string> store_of_path(const char* path);

}  // namespace dray::bus
