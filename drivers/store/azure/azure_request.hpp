// SPDX-License-Identifier: Apache-2.0
//
// One request to Azure Blob storage as it goes over the wire: address, headers, signature (blob-rest.md A.1, A.2).
// Pure; any thread.
#pragma once  // NOLINTBEGIN(readability-redundant-member-init): whoever names some members may leave the others out.

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "config/config.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/secret.hpp"
#include "daemon/base/units.hpp"
#include "daemon/model/blob_name.hpp"
#include "drivers/store/http/http_client.hpp"

namespace dray::store::azure {

struct AzureRequest {
    std::string method = "GET";
    /// Below the endpoint: "", "/container", "/container/name", percent-encoded.
    std::string path{};
    /// Not encoded.
    std::map<std::string, std::string> query{};
    /// Of those that are signed on their own: names as in the specification. All others begin with x-ms-, lower case.
    std::map<std::string, std::string> headers{};
    /// As x-ms-meta-NAME, in the case given; ASCII alone.
    std::map<std::string, std::string> metadata{};
    std::span<const std::byte> body{};
    /// As HttpRequest::into.
    std::span<std::byte> into{};
};

/// Each segment of the name percent-encoded, "/" kept.
std::string path_of(const BlobName& name);
/// The blob or the snapshot of it that is named.
AzureRequest request_for(const std::string& method, const BlobName& name, const char* comp = "");
std::string path_of_container(const std::string& container);
std::string percent_encoded(std::string_view text, std::string_view kept = {});

/// "Fri, 01 Mar 2024 12:00:00 GMT", whatever the locale is.
std::string http_date(TimePoint time);
/// Nothing where it is none.
std::optional<TimePoint> parse_http_date(const std::string& text);

/// The text that a shared key signs; `path` is the URL's own.
std::string string_to_sign(const AzureRequest& request, const std::string& account, const std::string& url_path);
/// InvalidArgument: the key is not Base64.
Result<std::string> shared_key_authorization(const std::string& text, const std::string& account, std::string_view key);

/// With date, version and signature. InvalidArgument: the secret is none of its kind.
Result<http::HttpRequest> signed_request(AzureRequest request, const AzureConfig& config, const SecretBytes& secret,
                                         TimePoint now);
/// Where a copy may be read from: with the SAS, if that is the credential.
std::string copy_source(const AzureConfig& config, const SecretBytes& secret, const std::string& path);

/// The query of a SAS without a leading "?" and white space around it.
std::string_view sas_of(const SecretBytes& secret);
/// When a SAS expires (its `se`), if it says so.
std::optional<TimePoint> sas_expiry(const SecretBytes& secret);

}  // namespace dray::store::azure, NOLINTEND(readability-redundant-member-init)
