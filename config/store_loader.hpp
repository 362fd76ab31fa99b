// SPDX-License-Identifier: Apache-2.0
//
// The sections `stores` and `keys`.
#pragma once

#include <map>
#include <string>

#include "config/config.hpp"
#include "config/reader.hpp"

namespace dray {

/// `keys` is read first: stores name what is in it.
void read_stores(ConfigReader& reader, ConfigSection& root, std::map<std::string, StoreConfig>& stores);

}  // namespace dray
