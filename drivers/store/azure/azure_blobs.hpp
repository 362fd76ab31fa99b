// SPDX-License-Identifier: Apache-2.0
//
// The steps of the protocol that store and writer share: one request each, with what makes it safe to repeat.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "drivers/store/azure/azure_client.hpp"
#include "drivers/store/blob_store.hpp"

namespace dray::store::azure {

/// What a blob is given with its content. InvalidArgument: what the service's headers cannot hold.
struct Dress {
    std::map<std::string, std::string> headers;
    std::map<std::string, std::string> metadata;
};
Result<Dress> dress_of(const BlobProperties& properties, const BlobMetadata& metadata);

/// What HEAD says, and where the blob was copied from if it is a copy.
struct Seen {
    BlobStatus status;
    std::string copy_source;
    std::string copy_status;
};
Result<Seen> look_at(AzureClient& client, const BlobName& name, const std::stop_token& stop);

/// A body whose hash the service checks: the piece's md5, else a CRC64, else an MD5 that is computed here because the
/// service knows no CRC64. Sent again up to three times where only the way can have changed it. Corrupt: the content
/// does not have the piece's hash any more.
Result<Reply> send_checked(AzureClient& client, AzureRequest request, const Piece& piece, const std::stop_token& stop);

/// NotFound is fine.
Result<void> remove_if_there(AzureClient& client, const BlobName& name, const std::stop_token& stop);

/// "If-None-Match: *" unless it may replace.
void add_condition(AzureRequest& request, bool may_replace);
/// Whether a refusal says that the blob is there, for a request with that condition.
bool is_taken(const Reply& reply);
/// The name is held by a blob of another type, which has to go first.
bool is_other_type(const Reply& reply);

}  // namespace dray::store::azure
