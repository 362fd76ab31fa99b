// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a LUKS header, up to where a key would be tried on it: it passes the policy with a segment that lies
// within the device, or is refused with a sentence and a word of the logs. First the bytes are a device's start as they
// are; then, for version 2, the first 512 are the binary header and the rest its JSON, from which both copies are made
// with checksums that are right, so that mutations come past them.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "daemon/base/digest.hpp"
#include "drivers/volume/luks/luks_unlock.hpp"
#include "tests/unit/filesystem/memory_device.hpp"

namespace {

using Content = std::vector<std::byte>;

constexpr std::size_t kDevice = 768 * 1024;
constexpr std::size_t kBinary = 512;
constexpr std::size_t kJson = 4096;
constexpr std::size_t kHeader = 16384;
constexpr std::size_t kChecksum = 448;

void look_at(Content content) {
    dray::test::MemoryDevice device(std::move(content), 512);
    const auto header = dray::volume::find_luks_header(device);
    if (!header) {
        if (header.error().error.text().empty() || header.error().status.empty())
            std::abort();
        return;
    }
    if (header->length > device.size() || (header->version != 1 && header->version != 2))
        std::abort();
    const auto luks = dray::volume::load_luks(device, *header, dray::kGiB);
    if (!luks) {
        if (luks.error().error.text().empty() || luks.error().status.empty())
            std::abort();
        return;
    }
    const dray::volume::LuksSegment& segment = luks->segment;
    if (segment.size == 0 || segment.offset > device.size() || segment.size > device.size() - segment.offset ||
        segment.sector_size < 512 || segment.sector_size > 4096)
        std::abort();
}

void seal(Content& device, std::size_t start, const char* magic) {
    std::byte* header = device.data() + start;
    std::memcpy(header, magic, 6);
    for (std::size_t i = 0; i < 8; ++i) {
        header[8 + i] = static_cast<std::byte>(kHeader >> (8 * (7 - i)));
        header[256 + i] = static_cast<std::byte>(start >> (8 * (7 - i)));
    }
    std::memset(header + 72, 0, 32);
    std::memcpy(header + 72, "sha256", 6);
    std::memset(header + kChecksum, 0, 64);
    dray::Digest digest(dray::DigestKind::Sha256);
    digest.update(std::span<const std::byte>(header, kHeader));
    std::ranges::copy(digest.finish(), header + kChecksum);
}

Content expanded(const std::uint8_t* data, std::size_t size) {
    Content device(kDevice);
    for (const std::size_t start : {std::size_t{0}, kHeader}) {
        std::memcpy(device.data() + start, data, kBinary);
        std::memcpy(device.data() + start + kJson, data + kBinary, std::min(size - kBinary, kHeader - kJson - 1));
        seal(device, start, start == 0 ? "LUKS\xba\xbe" : "SKUL\xba\xbe");
    }
    return device;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const bool is_warm = dray::volume::warm_up_crypt_library().has_value();
    if (!is_warm)
        std::abort();
    Content device(kDevice);
    std::memcpy(device.data(), data, std::min(size, kDevice));
    look_at(std::move(device));
    if (size > kBinary && data[6] == 0 && data[7] == 2)
        look_at(expanded(data, size));
    return 0;
}
