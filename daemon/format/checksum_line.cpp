// SPDX-License-Identifier: Apache-2.0
#include "daemon/format/checksum_line.hpp"

#include "daemon/base/encoding.hpp"

namespace dray::format {
namespace {

std::string escaped(std::string_view path) {
    std::string result;
    for (const char c : path) {
        if (c == '\\')
            result += "\\\\";
        else if (c == '\n')
            result += "\\n";
        else if (c == '\r')
            result += "\\r";
        else
            result += c;
    }
    return result;
}

}  // namespace

std::string checksum_line(std::span<const std::byte> digest, std::string_view path) {
    std::string hex = to_hex(digest);
    for (char& c : hex)
        if (c >= 'A' && c <= 'F')
            c = static_cast<char>(c - 'A' + 'a');
    const std::string name = escaped(path);
    return (name.size() == path.size() ? "" : "\\") + hex + "  " + name + "\n";
}

Bytes checksum_line_size(std::size_t digest_size, std::string_view path) {
    const std::size_t name = escaped(path).size();
    return digest_size * 2 + 3 + name + (name == path.size() ? 0 : 1);
}

}  // namespace dray::format
