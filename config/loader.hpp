// SPDX-License-Identifier: Apache-2.0
//
// Finds, reads and checks the configuration.
#pragma once

#include <string>

#include "config/config.hpp"
#include "daemon/base/result.hpp"

namespace dray {

inline constexpr const char* kDefaultConfigFile = "/etc/dray/dray.yaml";

/// `file` alone, or with "" /etc/dray/dray.yaml and /etc/dray/dray.yaml.d/*.yaml in order of name (a
/// missing default file means all defaults). InvalidArgument carries every mistake found, one a line:
/// "/etc/dray/dray.yaml:12: transfers.max: \"many\" is not a whole number from 1 to 64".
Result<Config> load_config(const std::string& file);

/// The same from a text; `name` stands for the file in messages.
Result<Config> parse_config(const std::string& text, const std::string& name);

}  // namespace dray
