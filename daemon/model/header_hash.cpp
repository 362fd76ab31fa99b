// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/header_hash.hpp"

#include <charconv>
#include <optional>

#include "daemon/base/encoding.hpp"

namespace dray {
namespace {

constexpr std::size_t kSha512Digits = 128;

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view kSpace = " \t\r\n";
    const std::size_t start = text.find_first_not_of(kSpace);
    return start == std::string_view::npos ? "" : text.substr(start, text.find_last_not_of(kSpace) - start + 1);
}

/// Cuts `text` at the first `mark`; what is behind it stays in `text`.
std::string_view cut(std::string_view& text, char mark) {
    const std::size_t end = std::min(text.find(mark), text.size());
    const std::string_view part = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return part;
}

std::optional<Bytes> number_of(std::string_view text) {
    Bytes value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || error != std::errc() || end != text.data() + text.size())
        return std::nullopt;
    return value;
}

Result<HeaderRegion> parse_region(std::string_view text) {
    std::string_view rest = text;
    const std::optional<Bytes> offset = number_of(cut(rest, ':'));
    const std::optional<Bytes> length = number_of(cut(rest, ':'));
    const auto hash = from_hex(rest);
    if (!offset || !length || !hash || rest.size() != kSha512Digits)
        return fail(ErrorKind::InvalidArgument,
                    "\"{}\" in header-hash is no OFFSET:LENGTH:SHA512 (two decimal numbers of bytes and {} hex digits)",
                    text.substr(0, 60), kSha512Digits);
    if (*length == 0 || *length > kMaxHeaderBytes || *offset > ~Bytes{0} - *length)
        return fail(ErrorKind::InvalidArgument, "header-hash names {} bytes at offset {}, which cannot be; from 1 byte to {} are right",
                    *length, *offset, format_bytes(kMaxHeaderBytes));
    return HeaderRegion{*offset, *length, *hash};
}

}  // namespace

Result<std::vector<HeaderRegion>> parse_header_hash(std::string_view text) {
    std::vector<HeaderRegion> regions;
    std::string_view rest = trimmed(text);
    if (rest.ends_with(';'))
        return fail(ErrorKind::InvalidArgument, "header-hash ends in \";\"");
    Bytes sum = 0;
    while (!rest.empty()) {
        DRAY_LET(HeaderRegion region, parse_region(cut(rest, ';')));
        sum += region.length;
        regions.push_back(std::move(region));
        if (regions.size() > kMaxHeaderRegions || sum > kMaxHeaderBytes)
            return fail(ErrorKind::InvalidArgument, "header-hash names more than {} places or {} altogether", kMaxHeaderRegions,
                        format_bytes(kMaxHeaderBytes));
    }
    return regions;
}

}  // namespace dray
