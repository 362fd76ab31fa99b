// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/span_read.hpp"

#include <algorithm>
#include <cstring>

namespace dray::volume {
namespace {

/// Up to this size one read and a copy are cheaper than two reads.
constexpr std::size_t kCopyUpTo = 32 * kKiB;

Result<void> read_over_scratch(BlockDevice& device, Bytes offset, std::span<std::byte> content,
                               std::vector<std::byte>& scratch) {
    const Bytes sector = device.sector_size();
    const Bytes start = offset / sector * sector;
    const Bytes end = (offset + content.size() + sector - 1) / sector * sector;
    scratch.resize(static_cast<std::size_t>(end - start));
    DRAY_TRY(device.read(start, scratch));
    std::memcpy(content.data(), scratch.data() + (offset - start), content.size());
    return {};
}

}  // namespace

Result<void> read_span(BlockDevice& device, Bytes offset, std::span<std::byte> content,
                       std::vector<std::byte>& scratch) {
    if (offset > device.size() || content.size() > device.size() - offset)
        return fail(ErrorKind::Corrupt, "the volume ends at {}, but {} bytes from {} are needed",
                    device.size(), content.size(), offset);
    const Bytes sector = device.sector_size();
    const std::size_t head = static_cast<std::size_t>((sector - offset % sector) % sector);
    if (head == 0 && content.size() % sector == 0)
        return device.read(offset, content);
    if (content.size() <= kCopyUpTo)
        return read_over_scratch(device, offset, content, scratch);
    if (head > 0)
        DRAY_TRY(read_over_scratch(device, offset, content.first(head), scratch));
    const std::size_t middle = (content.size() - head) / sector * sector;
    DRAY_TRY(device.read(offset + head, content.subspan(head, middle)));
    if (head + middle == content.size())
        return {};
    return read_over_scratch(device, offset + head + middle, content.subspan(head + middle), scratch);
}

}  // namespace dray::volume
