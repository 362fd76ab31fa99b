// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ext4/metadata_cache.hpp"

#include <cstdlib>
#include <cstring>
#include <new>

namespace dray::fs {
namespace {

/// Writes of this length are worth a journey of their own.
constexpr std::size_t kLongWrite = 128 * kKiB;
constexpr std::size_t kMostKept = 16 * kMiB / MetadataCache::kBlock;
/// What follows each other on the device goes there in one write up to this long.
constexpr std::size_t kLongestRun = kMiB;

}  // namespace

MetadataCache::MetadataCache(volume::BlockDevice& device)
    : device_(device),
      run_(static_cast<std::byte*>(std::aligned_alloc(kBlock, kLongestRun)), &std::free) {
    if (!run_)
        throw std::bad_alloc();  // ends the process, as all lack of memory does
}

Result<void> MetadataCache::check(Bytes offset, std::size_t length) const {
    if (offset % kBlock != 0 || length % kBlock != 0)
        return fail(ErrorKind::Internal, "{} bytes from {} are not whole blocks", length, offset);
    if (offset > size() || length > size() - offset)
        return fail(ErrorKind::Corrupt, "the volume ends at {}, but {} bytes from {} are needed",
                    size(), length, offset);
    return {};
}

Result<void> MetadataCache::read(Bytes offset, std::span<std::byte> content) {
    DRAY_TRY(check(offset, content.size()));
    if (content.size() == kBlock)
        if (const auto kept = kept_.find(offset / kBlock); kept != kept_.end()) {
            std::memcpy(content.data(), kept->second.data(), kBlock);
            return {};
        }
    DRAY_TRY(device_.read(offset, content));
    const std::uint64_t first = offset / kBlock;
    const std::uint64_t end = first + content.size() / kBlock;
    for (auto kept = kept_.lower_bound(first); kept != kept_.end() && kept->first < end; ++kept)
        std::memcpy(content.data() + (kept->first - first) * kBlock, kept->second.data(), kBlock);
    return {};
}

Result<void> MetadataCache::write(Bytes offset, std::span<std::byte> content) {
    DRAY_TRY(check(offset, content.size()));
    const std::uint64_t first = offset / kBlock;
    if (content.size() >= kLongWrite && !is_holding_) {
        kept_.erase(kept_.lower_bound(first), kept_.lower_bound(first + content.size() / kBlock));
        return device_.write(offset, content);
    }
    for (std::uint64_t block = first; !content.empty(); ++block, content = content.subspan(kBlock))
        kept_[block].assign(content.begin(), content.begin() + kBlock);
    return kept_.size() > kMostKept && !is_holding_ ? write_back() : Result<void>();
}

Result<void> MetadataCache::write_back() {
    while (!kept_.empty()) {
        const std::uint64_t first = kept_.begin()->first;
        auto end = kept_.begin();
        std::size_t length = 0;
        for (; end != kept_.end() && end->first == first + length / kBlock && length < kLongestRun;
             ++end) {
            std::memcpy(run_.get() + length, end->second.data(), kBlock);
            length += kBlock;
        }
        DRAY_TRY(device_.write(first * kBlock, {run_.get(), length}));
        kept_.erase(kept_.begin(), end);
    }
    return {};
}

Result<void> MetadataCache::sync() {
    if (is_holding_)
        return {};
    DRAY_TRY(write_back());
    return device_.sync();
}

}  // namespace dray::fs
