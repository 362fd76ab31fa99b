// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a BitLocker volume, up to where a key would be tried on it: it is refused with a sentence and a word of the
// logs, or has a segment that lies within the device and can be read to its end. First the bytes are a device's start as
// they are; then the first 512 are the boot sector and the rest the block of metadata, which is put where the boot sector
// must name it, three times and with a checksum that is right, so that mutations come past them.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "drivers/volume/bitlocker/bitlocker_key.hpp"
#include "drivers/volume/bitlocker/bitlocker_volume.hpp"
#include "drivers/volume/little_endian.hpp"
#include "tests/unit/filesystem/memory_device.hpp"

namespace {

using Content = std::vector<std::byte>;

constexpr std::size_t kBoot = 512;
constexpr std::size_t kPlaces[] = {65536, 131072, 262144};
constexpr std::size_t kDevice = 512 * 1024;

void check(bool is_right) {
    if (!is_right)
        std::abort();
}

void look_at(Content content) {
    using namespace dray::volume;
    dray::test::MemoryDevice device(std::move(content), 512);
    const auto header = find_bitlocker_header(device);
    if (!header) {
        check(!header.error().error.text().empty() && !header.error().status.empty());
        return;
    }
    check(!names_of(header->protectors).empty() && header->protectors.size() <= kMaxProtectors);
    const auto protectors = check_protectors(*header);
    check(protectors || !protectors.error().error.text().empty());
    const BitLockerSegment& segment = header->segment;
    check(segment.size != 0 && segment.offset == 0 && segment.size <= device.size());
    const dray::SecretBytes key(key_size(segment.algorithm));
    const auto volume = BitLockerVolume::open(device, key, segment);
    check(volume.has_value());
    Content plain(static_cast<std::size_t>(segment.size));
    check((*volume)->read(0, plain).has_value());
}

Content expanded(const std::uint8_t* data, std::size_t size) {
    Content device(kDevice);
    std::memcpy(device.data(), data, kBoot);
    const std::size_t places = (data[3] == 'M' ? 424 : 160) + dray::volume::kGuidBytes;
    for (std::size_t copy = 0; copy < 3; ++copy) {
        const std::span<std::byte> area = std::span(device).subspan(kPlaces[copy], dray::volume::kMetadataArea);
        std::memcpy(area.data(), data + kBoot, std::min(size - kBoot, area.size()));
        for (std::size_t i = 0; i < 3; ++i)
            for (std::size_t byte = 0; byte < 8; ++byte) {
                const auto value = static_cast<std::byte>(kPlaces[i] >> (8 * byte));
                area[32 + 8 * i + byte] = value;
                device[places + 8 * i + byte] = value;
            }
        const std::size_t length = std::size_t{dray::volume::little_endian<std::uint16_t>(area, 8)} * 16;
        if (length > area.size() - 8)
            continue;
        const std::uint32_t crc = dray::volume::crc32(area.first(length));
        for (std::size_t byte = 0; byte < 4; ++byte)
            area[length + 4 + byte] = static_cast<std::byte>(crc >> (8 * byte));
    }
    return device;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Content device(kDevice);
    std::memcpy(device.data(), data, std::min(size, kDevice));
    look_at(std::move(device));
    if (size > kBoot)
        look_at(expanded(data, size));
    // The same bytes as a key.
    const dray::SecretBytes bytes(std::as_bytes(std::span(data, size)));
    const dray::volume::BitLockerKey key = dray::volume::bitlocker_key_of(bytes);
    (void)dray::volume::check_digits(key);
    (void)dray::volume::hint_about(key);
    return 0;
}
