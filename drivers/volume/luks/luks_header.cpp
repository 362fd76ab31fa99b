// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/luks/luks_header.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "daemon/base/memfd.hpp"

namespace dray::volume {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kPrimaryMagic = "LUKS\xba\xbe"sv;
constexpr std::string_view kSecondaryMagic = "SKUL\xba\xbe"sv;
constexpr std::size_t kBinaryHeader = 4096;
constexpr Bytes kMinHeader = 16 * kKiB;
constexpr Bytes kMaxHeader = 4 * kMiB;

std::uint64_t big_endian(std::span<const std::byte> bytes) {
    std::uint64_t value = 0;
    for (const std::byte byte : bytes)
        value = value << 8 | static_cast<std::uint64_t>(byte);
    return value;
}

bool begins_with(std::span<const std::byte> bytes, std::string_view magic) {
    return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

std::optional<std::uint64_t> decimal(const nlohmann::json& value) {
    if (!value.is_string())
        return std::nullopt;
    const auto& text = value.get_ref<const std::string&>();
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size())
        return std::nullopt;
    return number;
}

/// The size of the key slot area, from the JSON behind the binary header at `offset`.
Result<Bytes> read_keyslots_size(BlockDevice& device, Bytes offset, Bytes header_size) {
    std::vector<std::byte> area(static_cast<std::size_t>(header_size - kBinaryHeader));
    DRAY_TRY(device.read(offset + kBinaryHeader, area));
    const auto end = std::find(area.begin(), area.end(), std::byte{0});
    const std::string_view text(reinterpret_cast<const char*>(area.data()),
                                static_cast<std::size_t>(end - area.begin()));
    const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
    if (!json.is_object() || !json.contains("config") || !json["config"].is_object() ||
        !json["config"].contains("keyslots_size"))
        return fail(ErrorKind::Corrupt, "the LUKS2 header at {} is damaged", offset);
    const std::optional<std::uint64_t> size = decimal(json["config"]["keyslots_size"]);
    if (!size)
        return fail(ErrorKind::Corrupt, "the LUKS2 header at {} has no size of its key slots", offset);
    return *size;
}

Result<LuksHeader> read_luks2(BlockDevice& device, Bytes offset, std::span<const std::byte> binary) {
    const std::uint64_t header_size = big_endian(binary.subspan(8, 8));
    if (!std::has_single_bit(header_size) || header_size < kMinHeader || header_size > kMaxHeader)
        return fail(ErrorKind::Corrupt, "the LUKS2 header at {} names an impossible size of {}", offset,
                    header_size);
    DRAY_LET(const Bytes keyslots, read_keyslots_size(device, offset, header_size));
    if (keyslots > kMaxHeaderCopy || 2 * header_size + keyslots > kMaxHeaderCopy)
        return fail(ErrorKind::LimitReached, "the LUKS2 header is longer than {} bytes", kMaxHeaderCopy);
    return LuksHeader{2, 2 * header_size + keyslots};
}

Result<LuksHeader> read_luks1(std::span<const std::byte> binary) {
    const Bytes length = big_endian(binary.subspan(104, 4)) * 512;
    // A header of its own, detached from the data, says 0.
    if (length == 0)
        return fail(ErrorKind::Unsupported, "the LUKS1 header belongs to data elsewhere");
    if (length > kMaxHeaderCopy)
        return fail(ErrorKind::LimitReached, "the LUKS1 header is longer than {} bytes", kMaxHeaderCopy);
    return LuksHeader{1, length};
}

Result<LuksHeader> read_primary(BlockDevice& device, std::span<const std::byte> binary) {
    const std::uint64_t version = big_endian(binary.subspan(6, 2));
    if (version == 1)
        return read_luks1(binary);
    if (version == 2)
        return read_luks2(device, 0, binary);
    return fail(ErrorKind::Unsupported, "LUKS version {} is not known", version);
}

/// Where libcryptsetup, too, looks for the second header when the first one is damaged.
std::optional<LuksHeader> find_secondary(BlockDevice& device) {
    std::vector<std::byte> binary(kBinaryHeader);
    for (Bytes offset = kMinHeader; offset <= kMaxHeader; offset *= 2) {
        if (offset + kBinaryHeader > device.size() || !device.read(offset, binary))
            return std::nullopt;
        if (!begins_with(binary, kSecondaryMagic))
            continue;
        if (const Result<LuksHeader> header = read_luks2(device, offset, binary))
            return *header;
    }
    return std::nullopt;
}

}  // namespace

Result<LuksHeader> find_luks_header(BlockDevice& device) {
    if (device.size() < kBinaryHeader)
        return fail(ErrorKind::NotFound, "there is no LUKS header");
    std::vector<std::byte> binary(kBinaryHeader);
    DRAY_TRY(device.read(0, binary));
    Result<LuksHeader> header = fail(ErrorKind::NotFound, "there is no LUKS header");
    if (begins_with(binary, kPrimaryMagic))
        header = read_primary(device, binary);
    if (!header && (header.error().kind() == ErrorKind::NotFound ||
                    header.error().kind() == ErrorKind::Corrupt))
        if (const std::optional<LuksHeader> secondary = find_secondary(device))
            header = *secondary;
    if (header && header->length > device.size())
        return fail(ErrorKind::Corrupt, "the device ends at {}, within its LUKS header of {} bytes",
                    device.size(), header->length);
    return header;
}

Result<FileDescriptor> copy_luks_header(BlockDevice& device, const LuksHeader& header) {
    std::vector<std::byte> copy(static_cast<std::size_t>(header.length));
    DRAY_TRY(device.read(0, copy));
    return make_sealed_memfd("dray-header", copy);
}

}  // namespace dray::volume
