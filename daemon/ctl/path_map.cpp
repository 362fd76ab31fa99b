// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/path_map.hpp"

#include <algorithm>

#include "daemon/format/drive_manifest.hpp"

namespace dray::ctl {

Result<PathMap> read_path_map(std::string_view text) {
    PathMap map;
    for (unsigned line = 1; !text.empty(); ++line) {
        std::string_view row = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(row.size() + 1, text.size()));
        if (row.ends_with('\r'))
            row.remove_suffix(1);
        if (row.empty())
            continue;
        const std::size_t tab = row.find('\t');
        const std::string path(row.substr(0, tab));
        const std::string real(tab == std::string_view::npos ? std::string_view() : row.substr(tab + 1));
        if (const auto components = format::split_drive_path(path); !components)
            return fail(Error(components.error()), "line {}", line);
        const auto [found, is_new] = map.try_emplace(path, real);
        if (!is_new && !real.empty() && !found->second.empty() && found->second != real)
            return fail(ErrorKind::InvalidArgument, "line {}: {} has two real paths", line, path);
        if (found->second.empty())
            found->second = real;
    }
    return map;
}

std::string write_path_map(const PathMap& map) {
    std::string text;
    for (const auto& [path, real] : map) {
        text += path;
        if (!real.empty())
            text.append("\t").append(real);
        text += '\n';
    }
    return text;
}

}  // namespace dray::ctl
