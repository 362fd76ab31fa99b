// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/line_cache.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "drivers/volume/span_read.hpp"

namespace dray::fs {
namespace {

constexpr std::size_t kMostLines = 128;
constexpr std::uint64_t kNoLine = std::numeric_limits<std::uint64_t>::max();
/// Longer reads go past the cache: they are content or tables that are read once.
constexpr std::size_t kPastCache = 128 * kKiB;
constexpr std::size_t kMostBadLines = 256;

}  // namespace

LineCache::LineCache(volume::BlockDevice& device)
    : device_(device),
      tags_(static_cast<std::size_t>(std::clamp<Bytes>(device.size() / kLine + 1, 1, kMostLines)), kNoLine) {
    lines_.resize(tags_.size() * kLine);
}

std::span<std::byte> LineCache::cached_line_at(Bytes offset) {
    const std::uint64_t tag = offset / kLine;
    const std::size_t slot = tag % tags_.size();
    if (tags_[slot] != tag)
        return {};
    const Bytes length = std::min<Bytes>(kLine, device_.size() - tag * kLine);
    return {lines_.data() + slot * kLine, static_cast<std::size_t>(length)};
}

Result<std::span<std::byte>> LineCache::line_at(Bytes offset) {
    if (const std::span<std::byte> cached = cached_line_at(offset); !cached.empty())
        return cached;
    const std::uint64_t tag = offset / kLine;
    const std::size_t slot = tag % tags_.size();
    const Bytes length = std::min<Bytes>(kLine, device_.size() - tag * kLine);
    const std::span<std::byte> line(lines_.data() + slot * kLine, static_cast<std::size_t>(length));
    tags_[slot] = kNoLine;
    ++misses_;
    DRAY_TRY(device_.read(tag * kLine, line));
    tags_[slot] = tag;
    return line;
}

void LineCache::forget(Bytes offset, Bytes length) {
    if (length / kLine >= tags_.size()) {
        std::fill(tags_.begin(), tags_.end(), kNoLine);
        return;
    }
    for (std::uint64_t tag = offset / kLine; tag * kLine < offset + length; ++tag)
        if (tags_[tag % tags_.size()] == tag)
            tags_[tag % tags_.size()] = kNoLine;
}

Result<void> LineCache::read(Bytes offset, std::span<std::byte> content) {
    if (offset > device_.size() || content.size() > device_.size() - offset)
        return fail(ErrorKind::Corrupt, "the file system points to {}, behind the end of the volume at {}",
                    offset + content.size(), device_.size());
    const Bytes sector = device_.sector_size();
    if (content.size() >= kPastCache && offset % sector == 0 && content.size() % sector == 0)
        return device_.read(offset, content);
    while (!content.empty()) {
        const std::size_t skip = offset % kLine;
        const std::size_t part = std::min(kLine - skip, content.size());
        DRAY_TRY(read_in_line(offset, content.first(part)));
        content = content.subspan(part);
        offset += part;
    }
    return {};
}

/// A sector that cannot be read is no reason to give up its neighbours: what is asked for is then read by
/// itself, and the whole line is not tried again.
Result<void> LineCache::read_in_line(Bytes offset, std::span<std::byte> part) {
    const std::uint64_t tag = offset / kLine;
    if (std::ranges::find(bad_lines_, tag) == bad_lines_.end()) {
        const Result<std::span<std::byte>> line = line_at(offset);
        if (line) {
            std::memcpy(part.data(), line->data() + offset % kLine, part.size());
            return {};
        }
        if (line.error().kind() == ErrorKind::Gone)
            return fail(line.error());
        if (bad_lines_.size() >= kMostBadLines)
            bad_lines_.erase(bad_lines_.begin());
        bad_lines_.push_back(tag);
    }
    ++misses_;
    return volume::read_span(device_, offset, part, scratch_);
}

}  // namespace dray::fs
