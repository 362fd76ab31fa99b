// SPDX-License-Identifier: Apache-2.0
//
// A small device with whatever on it as an exFAT: every call ends with an answer or an error of a kind that is
// promised, after a bounded number of reads.
//
// The input is an image as filesystem_walk.hpp has it. If the number in front has its highest bit set, the checksums are
// mended afterwards, so that what a fuzzer changes is looked at and not just refused.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "drivers/filesystem/cluster/directory_entry.hpp"
#include "drivers/filesystem/exfat/exfat_reader.hpp"
#include "tests/fuzz/filesystem_walk.hpp"

namespace dray::fs {
namespace {

constexpr std::size_t kMostBlocks = 1024;
constexpr std::size_t kMostReads = 2000;

void mend_boot_region(std::vector<std::byte>& image) {
    constexpr std::size_t kSector = 512;
    if (image.size() < 12 * kSector)
        return;
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < 11 * kSector; ++i)
        if (i != 106 && i != 107 && i != 112)
            sum = ((sum & 1U) << 31U) + (sum >> 1U) + byte_in(image, i);
    for (std::size_t i = 11 * kSector; i < 12 * kSector; i += sizeof sum)
        std::memcpy(image.data() + i, &sum, sizeof sum);
}

void mend_entry_sets(std::vector<std::byte>& image) {
    for (std::size_t place = 0; place + 2 * kEntry <= image.size(); place += kEntry) {
        if (byte_in(image, place) != 0x85 || byte_in(image, place + kEntry) != 0xc0)
            continue;
        const std::size_t length = std::min((byte_in(image, place + 1) + 1U) * kEntry, image.size() - place);
        unsigned sum = 0;
        for (std::size_t i = 0; i < length; ++i)
            if (i != 2 && i != 3)
                sum = ((sum << 15U) + (sum >> 1U) + byte_in(image, place + i)) & 0xffffU;
        image[place + 2] = static_cast<std::byte>(sum);
        image[place + 3] = static_cast<std::byte>(sum >> 8U);
    }
}

/// A table of its own: on the volume it has one place, and a checksum that nobody mends.
void parse_upcase(const std::uint8_t* data, std::size_t size) {
    std::uint32_t sum = 0;
    std::vector<std::byte> table(size);
    for (std::size_t i = 0; i < size; ++i) {
        table[i] = std::byte{data[i]};
        sum = ((sum & 1U) << 31U) + (sum >> 1U) + data[i];
    }
    if (const auto parsed = UpcaseTable::parse(table, sum))
        (void)parsed->of(0xffff);
}

}  // namespace
}  // namespace dray::fs

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace dray::fs;
    parse_upcase(data, size);
    std::vector<std::uint8_t> input(data, data + size);
    const bool is_mended = size >= 2 && (input[1] & 0x80U) != 0;
    if (is_mended)
        input[1] &= 0x7fU;
    dray::test::MemoryDevice device(image_of(input.data(), input.size(), kMostBlocks), 512);
    if (is_mended) {
        mend_boot_region(device.content);
        mend_entry_sets(device.content);
    }
    const auto filesystem = ExfatReader::open(device);
    if (device.reads > kMostReads)
        std::abort();
    device.reads = 0;
    if (!filesystem)
        return 0;
    Walk walk(device, **filesystem, kMostReads);
    (void)(*filesystem)->notice();
    walk.directory("", 0);
    for (const char* path : {"file", "DIR/File", "dir/../file", "dir//none", "a name of some length 7", "NA\xc3\x8fVE"})
        walk.file(path);
    return 0;
}
