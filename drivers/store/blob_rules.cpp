// SPDX-License-Identifier: Apache-2.0
#include "drivers/store/blob_rules.hpp"

#include <algorithm>
#include <set>

namespace dray::store {
namespace {

constexpr std::size_t kMaxUploadId = 100;

char folded(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool is_id_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

}  // namespace

Result<void> check_name(const BlobName& name) {
    DRAY_LET(const BlobName parsed, parse_blob_path(name.path()));
    if (parsed != name)
        return fail(ErrorKind::InvalidArgument, "\"{}\" is no container",
                    name.container.substr(0, 64));
    return {};
}

Result<void> check_upload_id(const std::string& id) {
    if (id.empty() || id.size() > kMaxUploadId || !std::ranges::all_of(id, is_id_character))
        return fail(ErrorKind::InvalidArgument, "\"{}\" is no upload id",
                    id.substr(0, kMaxUploadId));
    return {};
}

Result<void> check_metadata(const BlobMetadata& metadata) {
    std::set<std::string> seen;
    for (const auto& [name, value] : metadata) {
        std::string key = name;
        std::ranges::transform(key, key.begin(), folded);
        if (!seen.insert(std::move(key)).second)
            return fail(ErrorKind::InvalidArgument, "the metadata has the name \"{}\" twice", name);
    }
    return {};
}

}  // namespace dray::store
