// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ext4/block_io.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <utility>

#include <fmt/format.h>

namespace dray::fs {
namespace {

/// Longer writes go past the cache: they are content.
constexpr std::size_t kPastCache = 128 * kKiB;

/// libext2fs opens by name: this is who answers to which.
std::map<std::string, BlockIo*, std::less<>>& open_devices() {
    static std::map<std::string, BlockIo*, std::less<>> devices;
    return devices;
}

BlockIo& block_io_of(io_channel channel) { return *static_cast<BlockIo*>(channel->private_data); }

/// libext2fs counts in blocks, or in bytes when the count is negative.
Bytes bytes_of(io_channel channel, int count) {
    return count < 0 ? static_cast<Bytes>(-static_cast<std::int64_t>(count))
                     : static_cast<Bytes>(count) * static_cast<Bytes>(channel->block_size);
}

bool place_of(io_channel channel, unsigned long long block, Bytes& offset) {
    return !__builtin_mul_overflow(Bytes{block}, static_cast<Bytes>(channel->block_size), &offset);
}

errcode_t open_channel(const char* name, int /*flags*/, io_channel* channel) {
    const auto found = open_devices().find(std::string_view(name));
    if (found == open_devices().end())
        return EXT2_ET_BAD_DEVICE_NAME;
    // libext2fs frees nothing of a channel itself: both go in close_channel.
    auto made = std::make_unique<struct_io_channel>();
    made->magic = EXT2_ET_MAGIC_IO_CHANNEL;
    made->manager = BlockIo::manager();
    made->name = strdup(name);
    made->block_size = 1024;
    made->refcount = 1;
    made->private_data = found->second;
    *channel = made.release();
    return 0;
}

errcode_t close_channel(io_channel channel) {
    if (--channel->refcount > 0)
        return 0;
    std::free(channel->name);
    const std::unique_ptr<struct_io_channel> owned(channel);
    return 0;
}

errcode_t set_block_size(io_channel channel, int size) {
    channel->block_size = size;
    return 0;
}

errcode_t read_blocks(io_channel channel, unsigned long long block, int count, void* content) {
    BlockIo& io = block_io_of(channel);
    Bytes offset = 0;
    if (!place_of(channel, block, offset))
        return EXT2_ET_BLOCK_BITMAP_READ;
    return io.remember(
        io.read(offset, {static_cast<std::byte*>(content), bytes_of(channel, count)}));
}

errcode_t write_blocks(io_channel channel, unsigned long long block, int count, const void* content) {
    BlockIo& io = block_io_of(channel);
    Bytes offset = 0;
    if (!place_of(channel, block, offset))
        return EXT2_ET_BLOCK_BITMAP_WRITE;
    return io.remember(
        io.write(offset, {static_cast<const std::byte*>(content), bytes_of(channel, count)}));
}

errcode_t read_block(io_channel channel, unsigned long block, int count, void* content) {
    return read_blocks(channel, block, count, content);
}

errcode_t write_block(io_channel channel, unsigned long block, int count, const void* content) {
    return write_blocks(channel, block, count, content);
}

errcode_t write_bytes(io_channel channel, unsigned long offset, int count, const void* content) {
    BlockIo& io = block_io_of(channel);
    if (count < 0)
        return EXT2_ET_INVALID_ARGUMENT;
    return io.remember(io.write(
        offset, {static_cast<const std::byte*>(content), static_cast<std::size_t>(count)}));
}

errcode_t zero_blocks(io_channel channel, unsigned long long block, unsigned long long count) {
    BlockIo& io = block_io_of(channel);
    Bytes offset = 0;
    Bytes length = 0;
    if (!place_of(channel, block, offset) || !place_of(channel, count, length))
        return EXT2_ET_INVALID_ARGUMENT;
    return io.remember(io.zero(offset, length));
}

errcode_t flush(io_channel channel) {
    BlockIo& io = block_io_of(channel);
    return io.remember(io.device().sync());
}

struct_io_manager make_manager() {
    struct_io_manager manager{};
    manager.magic = EXT2_ET_MAGIC_IO_MANAGER;
    manager.name = "dray";
    manager.open = open_channel;
    manager.close = close_channel;
    manager.set_blksize = set_block_size;
    manager.read_blk = read_block;
    manager.write_blk = write_block;
    manager.flush = flush;
    manager.write_byte = write_bytes;
    manager.read_blk64 = read_blocks;
    manager.write_blk64 = write_blocks;
    manager.zeroout = zero_blocks;
    return manager;
}

std::uint64_t next_number() {
    static std::uint64_t last = 0;
    return ++last;
}

}  // namespace

BlockIo::BlockIo(volume::BlockDevice& device)
    : device_(device), name_(fmt::format("volume-{}", next_number())), cache_(device) {
    open_devices().emplace(name_, this);
}

BlockIo::~BlockIo() { open_devices().erase(name_); }

io_manager BlockIo::manager() {
    static struct_io_manager manager = make_manager();
    return &manager;
}

/// Whole sectors, from a copy: the device overwrites what it is given with ciphertext.
Result<void> BlockIo::write_sectors(Bytes offset, std::span<const std::byte> content) {
    while (!content.empty()) {
        const std::size_t part = std::min<std::size_t>(content.size(), kMiB);
        scratch_.assign(content.begin(), content.begin() + static_cast<std::ptrdiff_t>(part));
        DRAY_TRY(device_.write(offset, scratch_));
        content = content.subspan(part);
        offset += part;
    }
    return {};
}

Result<void> BlockIo::write_in_line(Bytes offset, std::span<const std::byte> content) {
    const Bytes sector = device_.sector_size();
    const std::size_t skip = offset % LineCache::kLine;
    const bool is_whole = offset % sector == 0 && content.size() % sector == 0;
    std::span<std::byte> line = cache_.cached_line_at(offset);
    if (line.empty() && is_whole)
        return write_sectors(offset, content);
    if (line.empty()) {
        DRAY_LET(line, cache_.line_at(offset));
    }
    std::memcpy(line.data() + skip, content.data(), content.size());
    const std::size_t first = skip / sector * sector;
    const std::size_t last = (skip + content.size() + sector - 1) / sector * sector;
    Result<void> written = write_sectors(offset - (skip - first), line.subspan(first, last - first));
    if (!written)
        cache_.forget(offset, content.size());
    return written;
}

Result<void> BlockIo::write(Bytes offset, std::span<const std::byte> content) {
    if (offset > device_.size() || content.size() > device_.size() - offset)
        return fail(ErrorKind::Corrupt, "the file system points to {}, behind the end of the volume at {}",
                    offset + content.size(), device_.size());
    const Bytes sector = device_.sector_size();
    if (content.size() >= kPastCache && offset % sector == 0 && content.size() % sector == 0) {
        cache_.forget(offset, content.size());
        return write_sectors(offset, content);
    }
    while (!content.empty()) {
        const std::size_t part = std::min<std::size_t>(LineCache::kLine - offset % LineCache::kLine, content.size());
        DRAY_TRY(write_in_line(offset, content.first(part)));
        content = content.subspan(part);
        offset += part;
    }
    return {};
}

Result<void> BlockIo::zero(Bytes offset, Bytes length) {
    const std::vector<std::byte> zeros(static_cast<std::size_t>(std::min<Bytes>(length, kMiB)));
    while (length > 0) {
        const Bytes part = std::min<Bytes>(length, zeros.size());
        DRAY_TRY(write(offset, std::span(zeros).first(static_cast<std::size_t>(part))));
        offset += part;
        length -= part;
    }
    return {};
}

errcode_t BlockIo::remember(Result<void> result) {
    if (result)
        return 0;
    error_ = std::move(result.error());
    return EIO;
}

Error BlockIo::error_of(errcode_t code, std::string sentence, ErrorKind kind) {
    if (std::optional<Error> cause = std::exchange(error_, std::nullopt))
        return {*std::move(cause), std::move(sentence)};
    return {kind, fmt::format("{}: {}", sentence, error_message(code))};
}

}  // namespace dray::fs
