// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/path.hpp"

#include <algorithm>

namespace dray::fs {

Result<std::vector<std::string_view>> components_of(std::string_view path) {
    std::vector<std::string_view> components;
    std::size_t position = 0;
    while (position <= path.size()) {
        const std::size_t slash = std::min(path.find('/', position), path.size());
        const std::string_view component = path.substr(position, slash - position);
        if (component == "." || component == "..")
            return fail(ErrorKind::InvalidArgument, "a path may not contain \"{}\"", component);
        if (component.find('\0') != std::string_view::npos)
            return fail(ErrorKind::InvalidArgument, "a path may not contain a zero byte");
        if (!component.empty())
            components.push_back(component);
        position = slash + 1;
    }
    return components;
}

}  // namespace dray::fs
