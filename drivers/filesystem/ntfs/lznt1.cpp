// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ntfs/lznt1.hpp"

#include <algorithm>

#include "drivers/filesystem/ntfs/ntfs_bytes.hpp"

namespace dray::fs::ntfs {
namespace {

constexpr std::size_t kChunk = 4096;
constexpr unsigned kLengthMask = 0x0fff;
constexpr unsigned kIsCompressed = 0x8000;
constexpr std::size_t kShortestMatch = 3;

auto damaged() { return fail(ErrorKind::Corrupt, "compressed content is damaged"); }

/// How many bits of a reference are its length depends on how much there is to refer to.
unsigned length_bits(std::size_t position) {
    unsigned bits = 12;
    for (std::size_t reach = position - 1; reach >= 16; reach >>= 1)
        --bits;
    return bits;
}

Result<void> decompress_chunk(std::span<const std::byte> packed, std::span<std::byte> chunk) {
    std::size_t in = 0;
    std::size_t out = 0;
    while (in < packed.size()) {
        const auto flags = static_cast<unsigned>(packed[in++]);
        for (unsigned token = 0; token < 8 && in < packed.size(); ++token) {
            if ((flags >> token & 1) == 0) {
                if (out == chunk.size())
                    return damaged();
                chunk[out++] = packed[in++];
                continue;
            }
            if (out == 0 || packed.size() - in < 2)
                return damaged();
            const unsigned reference = load<std::uint16_t>(packed, in);
            in += 2;
            const unsigned bits = length_bits(out);
            const std::size_t back = (reference >> bits) + 1;
            const std::size_t length = (reference & ((1U << bits) - 1)) + kShortestMatch;
            if (back > out || length > chunk.size() - out)
                return damaged();
            // Byte by byte: what is copied may be what was just written.
            for (std::size_t i = 0; i < length; ++i, ++out)
                chunk[out] = chunk[out - back];
        }
    }
    std::fill(chunk.begin() + static_cast<std::ptrdiff_t>(out), chunk.end(), std::byte{0});
    return {};
}

}  // namespace

Result<void> decompress(std::span<const std::byte> packed, std::span<std::byte> content) {
    while (!content.empty() && packed.size() >= 2) {
        const unsigned header = load<std::uint16_t>(packed, 0);
        if (header == 0)
            break;
        const std::size_t length = (header & kLengthMask) + 1;
        const std::span<std::byte> chunk = content.first(std::min(kChunk, content.size()));
        packed = packed.subspan(2);
        if (length > packed.size())
            return damaged();
        if ((header & kIsCompressed) != 0)
            DRAY_TRY(decompress_chunk(packed.first(length), chunk));
        else if (length != chunk.size())
            return damaged();
        else
            std::copy_n(packed.begin(), length, chunk.begin());
        packed = packed.subspan(length);
        content = content.subspan(chunk.size());
    }
    std::fill(content.begin(), content.end(), std::byte{0});
    return {};
}

}  // namespace dray::fs::ntfs
