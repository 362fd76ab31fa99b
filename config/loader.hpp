// SPDX-License-Identifier: Apache-2.0
//
// Finds, reads and checks the configuration.
#pragma once

#include <string>
#include <vector>

#include "config/config.hpp"
#include "daemon/base/result.hpp"

namespace dray {

inline constexpr const char* kDefaultConfigFile = "/etc/dray/dray.yaml";

/// `file` alone, or with "" /etc/dray/dray.yaml and /etc/dray/dray.yaml.d/*.yaml in order of name (a
/// missing default file means all defaults). InvalidArgument carries every mistake found, one a line:
/// "/etc/dray/dray.yaml:12: transfers.max: \"many\" is not a whole number from 1 to 64".
Result<Config> load_config(const std::string& file);

/// What load_config("") does, with other places. A `file` or `directory` that is not there is empty.
Result<Config> load_config_with_drop_ins(const std::string& file, const std::string& directory);

/// The same from a text; `name` stands for the file in messages.
Result<Config> parse_config(const std::string& text, const std::string& name);

/// All settings ("transfers.max"), for tests that compare documents with them. "stores" stands for all
/// stores.
std::vector<std::string> config_keys();

}  // namespace dray
