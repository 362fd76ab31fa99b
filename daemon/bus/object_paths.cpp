// SPDX-License-Identifier: Apache-2.0
#include "daemon/bus/object_paths.hpp"

#include <systemd/sd-bus.h>

#include <cstdlib>
#include <memory>
#include <new>

#include "daemon/base/handle.hpp"
#include "daemon/bus/names.hpp"

namespace dray::bus {
namespace {

using CString = Handle<char, std::free>;

std::string encode(const std::string& prefix, const std::string& part) {
    char* path = nullptr;
    if (sd_bus_path_encode(prefix.c_str(), part.c_str(), &path) < 0)
        throw std::bad_alloc();  // prefixes are our own and valid, so nothing else can fail
    return CString(path).get();
}

/// decode_many, because sd_bus_path_decode would take "a/drive/b" for the name of one object.
std::optional<std::string> decode(const char* path, const char* prefix) {
    const std::string pattern = std::string(prefix) + "/%";
    char* part = nullptr;
    if (sd_bus_path_decode_many(path, pattern.c_str(), &part) <= 0)
        return std::nullopt;
    return CString(part).get();
}

}  // namespace

std::string job_path(const std::string& job) { return encode(kJobPath, job); }

std::string drive_path(const std::string& job, const std::string& serial) {
    return encode(job_path(job) + "/drive", serial);
}

std::string device_path(const std::string& id) { return encode(kDevicePath, id); }

std::string store_path(const std::string& name) { return encode(kStorePath, name); }

std::optional<std::string> job_of_path(const char* path) { return decode(path, kJobPath); }

std::optional<DriveName> drive_of_path(const char* path) {
    static const std::string pattern = std::string(kJobPath) + "/%/drive/%";
    char* job = nullptr;
    char* serial = nullptr;
    if (sd_bus_path_decode_many(path, pattern.c_str(), &job, &serial) <= 0)
        return std::nullopt;
    const CString job_owner(job);
    const CString serial_owner(serial);
    return DriveName{job, serial};
}

std::optional<std::string> device_of_path(const char* path) { return decode(path, kDevicePath); }

std::optional<std::string> store_of_path(const char* path) { return decode(path, kStorePath); }

}  // namespace dray::bus
