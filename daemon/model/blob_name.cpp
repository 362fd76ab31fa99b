// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/blob_name.hpp"

#include "daemon/model/utf8.hpp"

namespace dray {

namespace {

constexpr std::size_t kMaxNameCharacters = 1024;
constexpr unsigned kMaxRename = 9999;
constexpr std::string_view kRootContainer = "$root";

bool is_letter_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

}  // namespace

Result<void> check_container(std::string_view container) {
    if (container == kRootContainer)
        return {};
    if (container.size() < 3 || container.size() > 63)
        return fail(ErrorKind::InvalidArgument, "container name \"{}\" has not 3 to 63 characters",
                    container.substr(0, 64));
    for (std::size_t i = 0; i < container.size(); ++i) {
        const bool is_single_hyphen = container[i] == '-' && i > 0 && i + 1 < container.size() &&
                                      container[i - 1] != '-';
        if (!is_letter_or_digit(container[i]) && !is_single_hyphen)
            return fail(ErrorKind::InvalidArgument,
                        "container name \"{}\" may have lower-case letters, digits and single hyphens "
                        "between them only",
                        container);
    }
    return {};
}

Result<BlobName> parse_blob_path(std::string_view path) {
    const std::size_t slash = path.find('/');
    if (slash == std::string_view::npos || slash == 0)
        return fail(ErrorKind::InvalidArgument, "blob path \"{}\" does not start with a container",
                    path.substr(0, 100));
    BlobName blob{std::string(path.substr(0, slash)), std::string(path.substr(slash + 1))};
    DRAY_TRY(check_container(blob.container));
    if (blob.name.empty())
        return fail(ErrorKind::InvalidArgument, "blob path \"{}\" names no blob", path);
    if (blob.name.find('\0') != std::string::npos)
        return fail(ErrorKind::InvalidArgument, "a blob name in container \"{}\" has a NUL character",
                    blob.container);
    const std::optional<TextLength> length = measure_utf8(blob.name);
    if (!length)
        return fail(ErrorKind::InvalidArgument, "a blob name in container \"{}\" is not UTF-8",
                    blob.container);
    if (length->characters > kMaxNameCharacters)
        return fail(ErrorKind::InvalidArgument,
                    "a blob name in container \"{}\" has {} characters, more than {}", blob.container,
                    length->characters, kMaxNameCharacters);
    if (blob.container == kRootContainer && blob.name.find('/') != std::string::npos)
        return fail(ErrorKind::InvalidArgument,
                    "blob \"{}\" has a '/' in its name, which the root container does not allow", path);
    return blob;
}

Result<BlobName> renamed(const BlobName& name, unsigned n) {
    if (n > kMaxRename)
        return fail(ErrorKind::NotFound, "blob \"{}\": no free name up to ({})", name.path(), kMaxRename);
    const std::size_t slash = name.name.rfind('/');
    const std::size_t segment = slash == std::string::npos ? 0 : slash + 1;
    const std::size_t dot = name.name.rfind('.');
    // A dot in a directory does not count, nor does the one that starts a segment.
    const bool has_extension = dot != std::string::npos && dot > segment;
    BlobName result = name;
    result.name.insert(has_extension ? dot : name.name.size(), fmt::format(" ({})", n));
    const std::optional<TextLength> length = measure_utf8(result.name);
    if (!length || length->characters > kMaxNameCharacters)
        return fail(ErrorKind::NotFound, "blob \"{}\": a name with ({}) would have over {} characters",
                    name.path(), n, kMaxNameCharacters);
    return result;
}

}  // namespace dray
