// SPDX-License-Identifier: Apache-2.0
//
// All stores by name, written out by hand.
#pragma once

#include <memory>
#include <string>

#include "config/config.hpp"
#include "drivers/store/blob_store.hpp"

namespace dray::store {

/// Opens the store that `config` describes. `known_identity`: what identity() was there before, "" the first time; with
/// it a store that would be made anew is refused as Unreachable, because it is only not mounted. Unsupported: no such
/// type. Otherwise what its check() says.
Result<std::unique_ptr<BlobStore>> open_store(const StoreConfig& config, const std::string& known_identity = {});

}  // namespace dray::store
