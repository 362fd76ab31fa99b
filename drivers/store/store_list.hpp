// SPDX-License-Identifier: Apache-2.0
//
// All stores by name, written out by hand.
#pragma once

#include <memory>

#include "config/config.hpp"
#include "drivers/store/blob_store.hpp"

namespace dray::store {

/// Opens the store that `config` describes. Unsupported: no such type. Otherwise what its check() says.
Result<std::unique_ptr<BlobStore>> open_store(const StoreConfig& config);

}  // namespace dray::store
