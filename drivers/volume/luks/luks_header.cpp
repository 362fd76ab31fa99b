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
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "daemon/base/digest.hpp"
#include "daemon/base/memfd.hpp"

namespace dray::volume {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kPrimaryMagic = "LUKS\xba\xbe"sv;
constexpr std::string_view kSecondaryMagic = "SKUL\xba\xbe"sv;
constexpr std::size_t kBinaryHeader = 4096;
constexpr Bytes kMinHeader = 16 * kKiB;
constexpr Bytes kMaxHeader = 4 * kMiB;
/// Bad places in a header, 4 KiB each; a disk may take seconds over each of them.
constexpr unsigned kMostUnread = 16;

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

std::unexpected<OpenError> damaged(std::string sentence) {
    return refuse({ErrorKind::Corrupt, std::move(sentence)}, kFailed);
}

std::unexpected<OpenError> unreadable(Error error) { return refuse(std::move(error), kDiskOperationFailed); }

std::unexpected<OpenError> too_long() {
    return refuse({ErrorKind::LimitReached, fmt::format("the LUKS header with its key slots is longer than {}",
                                                        format_bytes(kMaxHeaderCopy))},
                  kUnlockVolumeFailed);
}

OpenResult<void> check_length(const LuksHeader& header, const BlockDevice& device) {
    if (header.length > kMaxHeaderCopy)
        return too_long();
    if (header.length > device.size())
        return unreadable({ErrorKind::Corrupt, fmt::format("the device ends at {}, within its LUKS header of {} bytes",
                                                           device.size(), header.length)});
    return {};
}

/// The size of the key slot area, from the JSON behind the binary header.
OpenResult<Bytes> keyslots_size(std::span<const std::byte> area, Bytes offset) {
    const auto end = std::find(area.begin(), area.end(), std::byte{0});
    const std::string_view text(reinterpret_cast<const char*>(area.data()),
                                static_cast<std::size_t>(end - area.begin()));
    const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
    if (!json.is_object() || !json.contains("config") || !json["config"].is_object() ||
        !json["config"].contains("keyslots_size"))
        return damaged(fmt::format("the LUKS2 header at {} is damaged", offset));
    const std::optional<std::uint64_t> size = decimal(json["config"]["keyslots_size"]);
    if (!size)
        return damaged(fmt::format("the LUKS2 header at {} has no size of its key slots", offset));
    return *size;
}

/// Whether the checksum is right; other digests than SHA-256 are left to libcryptsetup.
bool has_right_checksum(std::span<const std::byte> header) {
    constexpr std::size_t kAlgorithm = 72;
    constexpr std::size_t kChecksum = 448;
    constexpr std::size_t kChecksumField = 64;
    constexpr std::array<std::byte, kChecksumField> kZeros{};
    if (!begins_with(header.subspan(kAlgorithm), "sha256\0"sv))
        return false;
    Digest digest(DigestKind::Sha256);
    digest.update(header.first(kChecksum));
    digest.update(kZeros);
    digest.update(header.subspan(kChecksum + kChecksumField));
    return std::ranges::equal(digest.finish(), header.subspan(kChecksum, 32));
}

struct Copy {
    LuksHeader header;
    /// Of this copy of the header alone.
    Bytes size = 0;
    bool is_whole = false;
};

OpenResult<Copy> read_luks2(BlockDevice& device, Bytes offset, std::span<const std::byte> binary) {
    const std::uint64_t size = big_endian(binary.subspan(8, 8));
    if (!std::has_single_bit(size) || size < kMinHeader || size > kMaxHeader)
        return damaged(fmt::format("the LUKS2 header at {} names an impossible size of {}", offset, size));
    std::vector<std::byte> whole(static_cast<std::size_t>(size));
    if (Result<void> read = device.read(offset, whole); !read)
        return unreadable(std::move(read.error()));
    DRAY_LET(const Bytes keyslots, keyslots_size(std::span(whole).subspan(kBinaryHeader), offset));
    Copy copy;
    copy.header.version = 2;
    copy.header.length = 2 * size + std::min(keyslots, kMaxHeaderCopy);
    copy.size = size;
    copy.is_whole = has_right_checksum(whole);
    DRAY_TRY(check_length(copy.header, device));
    return copy;
}

/// Where libcryptsetup, too, looks for the second header when the first one is damaged.
OpenResult<std::optional<Copy>> find_second(BlockDevice& device) {
    std::vector<std::byte> binary(kBinaryHeader);
    for (Bytes offset = kMinHeader; offset <= kMaxHeader; offset *= 2) {
        if (offset + kBinaryHeader > device.size())
            break;
        if (Result<void> read = device.read(offset, binary); !read && read.error().kind() == ErrorKind::Internal)
            continue;  // a bad place is none of the others'
        else if (!read)
            return unreadable(std::move(read.error()));
        if (!begins_with(binary, kSecondaryMagic))
            continue;
        OpenResult<Copy> copy = read_luks2(device, offset, binary);
        if (copy && copy->size == offset)
            return std::optional(*std::move(copy));
    }
    return std::optional<Copy>();
}

OpenResult<LuksHeader> read_luks1(BlockDevice& device, std::span<const std::byte> binary) {
    constexpr std::size_t kHash = 72;
    constexpr std::size_t kHashField = 32;
    constexpr std::size_t kDataOffset = 104;
    constexpr std::size_t kDigestIterations = 164;
    LuksHeader header;
    header.version = 1;
    header.is_first_whole = true;
    header.length = big_endian(binary.subspan(kDataOffset, 4)) * 512;
    const std::span<const std::byte> hash = binary.subspan(kHash, kHashField);
    header.hash.assign(reinterpret_cast<const char*>(hash.data()),
                       static_cast<std::size_t>(std::find(hash.begin(), hash.end(), std::byte{0}) - hash.begin()));
    header.digest_iterations = static_cast<std::uint32_t>(big_endian(binary.subspan(kDigestIterations, 4)));
    // A header of its own, detached from the data, says 0.
    if (header.length == 0)
        return refuse({ErrorKind::Unsupported, "the LUKS1 header belongs to data elsewhere"}, kUnlockVolumeFailed);
    DRAY_TRY(check_length(header, device));
    return header;
}

/// Of two whole copies libcryptsetup takes the newer one, so that the memfd must hold all that either says.
LuksHeader header_of(const OpenResult<Copy>& first, const std::optional<Copy>& second) {
    const bool is_first_whole = first && first->is_whole;
    LuksHeader header = first ? first->header : second->header;
    if (second && second->is_whole)
        header.length = is_first_whole ? std::max(first->header.length, second->header.length)
                                       : second->header.length;
    header.is_first_whole = is_first_whole;
    return header;
}

}  // namespace

OpenResult<LuksHeader> find_luks_header(BlockDevice& device) {
    OpenResult<Copy> first = refuse({ErrorKind::NotFound, "there is no LUKS header"}, kVolumeNotFound);
    if (device.size() < kBinaryHeader)
        return std::unexpected(std::move(first.error()));
    std::vector<std::byte> binary(kBinaryHeader);
    // What cannot be read at the start may be there a second time.
    if (Result<void> read = device.read(0, binary); !read && read.error().kind() == ErrorKind::Internal)
        first = unreadable(std::move(read.error()));
    else if (!read)
        return unreadable(std::move(read.error()));
    else if (begins_with(binary, kPrimaryMagic)) {
        const std::uint64_t version = big_endian(std::span(binary).subspan(6, 2));
        if (version == 1)
            return read_luks1(device, binary);
        if (version != 2)
            return refuse({ErrorKind::Unsupported, fmt::format("LUKS version {} is not known", version)},
                          kUnlockVolumeFailed);
        first = read_luks2(device, 0, binary);
        if (!first && first.error().error.kind() != ErrorKind::Corrupt &&
            first.error().error.kind() != ErrorKind::Internal)
            return std::unexpected(std::move(first.error()));
    }
    DRAY_LET(const std::optional<Copy> second, find_second(device));
    if (!first && !second)
        return std::unexpected(std::move(first.error()));
    return header_of(first, second);
}

Result<HeaderCopy> copy_luks_header(BlockDevice& device, const LuksHeader& header) {
    HeaderCopy copy;
    std::vector<std::byte> bytes(static_cast<std::size_t>(header.length));
    if (Result<void> whole = device.read(0, bytes); !whole) {
        if (whole.error().kind() != ErrorKind::Internal)
            return fail(std::move(whole.error()));
        unsigned failures = 0;
        for (std::size_t done = 0; done < bytes.size(); done += kBinaryHeader) {
            const std::span<std::byte> part =
                std::span(bytes).subspan(done, std::min(kBinaryHeader, bytes.size() - done));
            Result<void> read = device.read(done, part);
            if (read)
                continue;
            if (read.error().kind() != ErrorKind::Internal || ++failures > kMostUnread)
                return fail(std::move(read.error()));
            std::ranges::fill(part, std::byte{0});
            if (!copy.unread)
                copy.unread = std::move(read.error());
        }
    }
    DRAY_LET(copy.memory, make_sealed_memfd("dray-header", bytes));
    return copy;
}

}  // namespace dray::volume
