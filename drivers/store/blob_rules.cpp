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
    if (parsed.container != name.container)
        return fail(ErrorKind::InvalidArgument, "\"{}\" is no container",
                    name.container.substr(0, 64));
    return {};
}

Result<void> check_target(const BlobName& name) {
    DRAY_TRY(check_name(name));
    if (!name.snapshot.empty())
        return fail(ErrorKind::InvalidArgument, "{} is a snapshot of {} and cannot be written", name.snapshot, name.path());
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

bool are_kept(const BlobProperties& given, const BlobProperties& found) {
    const auto type_of = [](const std::string& type) { return type == "application/octet-stream" ? std::string() : type; };
    BlobProperties expected = given;
    expected.content_type = type_of(given.content_type) == type_of(found.content_type) ? found.content_type : given.content_type;
    if (given.content_md5.empty())
        expected.content_md5 = found.content_md5;
    return expected == found;
}

}  // namespace dray::store
