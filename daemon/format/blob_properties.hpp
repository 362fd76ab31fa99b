// SPDX-License-Identifier: Apache-2.0
//
// Metadata and properties files of azure-import-export.md 4.5: small XML files on the drive, at most 64 KiB.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"

namespace dray::format {

inline constexpr std::size_t kMaxSideFile = 64 * kKiB;

struct PropertiesFile {
    std::string content_type;
    std::string content_md5;
    std::string content_encoding;
    std::string content_language;
    std::string cache_control;
};

/// Corrupt: not XML, another root, a DTD, too large, a known element twice, a value with control
/// characters (it becomes a header), a Content-MD5 that is none. Unknown elements are ignored.
Result<PropertiesFile> read_properties(std::string_view xml);
/// Corrupt as above, names that are no ASCII identifiers or come twice (in whatever case), or over 8 KiB
/// together.
Result<std::map<std::string, std::string>> read_metadata(std::string_view xml);
/// Leaves out names that read_metadata() would refuse.
std::string write_metadata(const std::map<std::string, std::string>& metadata);
std::string write_properties(const PropertiesFile& properties);

}  // namespace dray::format
