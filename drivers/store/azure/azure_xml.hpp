// SPDX-License-Identifier: Apache-2.0
//
// Answers in XML, read with expat; documents with a DTD are refused. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "drivers/store/blob_store.hpp"

namespace dray::store::azure {

/// What an answer's <Error> says; empty strings where it says nothing.
struct ServiceError {
    std::string code;
    std::string message;
};

ServiceError parse_error(std::string_view xml);

struct Listing {
    /// Their names have no container yet.
    std::vector<BlobStatus> blobs;
    std::string marker;
};

/// Corrupt: no listing.
Result<Listing> parse_listing(std::string_view xml);

struct ContainerListing {
    std::vector<std::string> names;
    std::string marker;
};

Result<ContainerListing> parse_containers(std::string_view xml);

struct StoredBlock {
    std::string id;
    Bytes size = 0;
    bool is_committed = false;
};

Result<std::vector<StoredBlock>> parse_block_list(std::string_view xml);

struct PageListing {
    /// First byte and length.
    std::vector<std::pair<Bytes, Bytes>> ranges;
    std::string marker;
};

/// Corrupt: no list of pages, or a range that ends before it begins.
Result<PageListing> parse_page_list(std::string_view xml);

std::string write_block_list(const std::vector<std::string>& ids);

/// RFC 1123 dates, entity tags without quotes, values back as they were given: what HEAD's headers and listings have
/// in common.
std::string unquoted(std::string_view etag);
/// The service keeps ASCII alone; other text goes as an encoded word of RFC 2047, which says what it is.
std::string to_metadata_value(const std::string& value);
std::string from_metadata_value(const std::string& value);
/// What the service says where nothing was set.
std::string content_type_of(const std::string& value);

}  // namespace dray::store::azure
