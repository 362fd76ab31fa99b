// SPDX-License-Identifier: Apache-2.0
//
// Paths of files on a drive, as manifests write them.
#include "daemon/format/drive_manifest.hpp"
#include "daemon/format/xml_text.hpp"
#include "daemon/model/utf8.hpp"

#include <algorithm>

namespace dray::format {

namespace {

constexpr std::size_t kMaxComponent = 255;
constexpr std::size_t kMaxPath = 32'767;

bool is_drive_letter(std::string_view component) {
    return component.size() >= 2 && component[1] == ':' &&
           ((component[0] >= 'A' && component[0] <= 'Z') || (component[0] >= 'a' && component[0] <= 'z'));
}

}  // namespace

Result<std::vector<std::string>> split_drive_path(std::string_view path) {
    if (path.find('\0') != std::string_view::npos)
        return fail(ErrorKind::InvalidArgument, "path \"{}\" has a NUL character", shown(path));
    const std::optional<TextLength> length = measure_utf8(path);
    if (!length)
        return fail(ErrorKind::InvalidArgument, "path \"{}\" is not UTF-8", shown(path));
    if (length->utf16_units > kMaxPath)
        return fail(ErrorKind::LimitReached, "path \"{}\" has {} characters, more than {}", shown(path),
                    length->utf16_units, kMaxPath);
    std::vector<std::string> components;
    for (std::size_t start = 0; start < path.size();) {
        // '/' is no legal character of a name on any file system we read, so it can only separate.
        const std::size_t end = std::min(path.find_first_of("\\/", start), path.size());
        const std::string_view component = path.substr(start, end - start);
        start = end + 1;
        if (component.empty())
            continue;
        if (component == "." || component == "..")
            return fail(ErrorKind::InvalidArgument, "path \"{}\" has a component \"{}\"", shown(path),
                        component);
        if (components.empty() && is_drive_letter(component))
            return fail(ErrorKind::InvalidArgument, "path \"{}\" starts with a drive letter", shown(path));
        const TextLength units = measure_utf8(component).value_or(TextLength{});
        if (units.utf16_units > kMaxComponent)
            return fail(ErrorKind::LimitReached, "path \"{}\" has a component of {} characters, more than {}",
                        shown(path), units.utf16_units, kMaxComponent);
        components.emplace_back(component);
    }
    if (components.empty())
        return fail(ErrorKind::InvalidArgument, "path \"{}\" names no file", shown(path));
    return components;
}

Result<std::string> to_lookup_path(std::string_view path) {
    DRAY_LET(const std::vector<std::string> components, split_drive_path(path));
    std::string result = components.front();
    for (std::size_t i = 1; i < components.size(); ++i)
        result += "/" + components[i];
    return result;
}

std::string to_manifest_path(std::string_view path) {
    std::string result = "\\" + std::string(path);
    std::ranges::replace(result, '/', '\\');
    return result;
}

}  // namespace dray::format
