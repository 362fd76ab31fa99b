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
/// The same for a name to write to: not a snapshot's, either.
Result<void> check_target(const BlobName& name);
/// Not [A-Za-z0-9-]{1,100}.
Result<void> check_upload_id(const std::string& id);
/// Two names that differ in case alone.
Result<void> check_metadata(const BlobMetadata& metadata);

/// Whether a blob that was given `given` would say `found`: stores fill in what was not given, the type of any bytes and
/// the content's own hash.
bool are_kept(const BlobProperties& given, const BlobProperties& found);

}  // namespace dray::store
