// SPDX-License-Identifier: Apache-2.0
//
// What every store refuses alike, as InvalidArgument, before it asks its disk or its network. Pure;
// any thread.
#pragma once

#include <string>

#include "daemon/base/result.hpp"
#include "drivers/store/blob_store.hpp"

namespace dray::store {

/// A name that parse_blob_path() would not have given.
Result<void> check_name(const BlobName& name);
/// Not [A-Za-z0-9-]{1,100}.
Result<void> check_upload_id(const std::string& id);
/// Two names that differ in case alone.
Result<void> check_metadata(const BlobMetadata& metadata);

}  // namespace dray::store
