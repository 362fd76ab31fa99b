// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ext4/ext4_file_map.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "daemon/base/handle.hpp"
#include "drivers/filesystem/ext4/block_map.hpp"
#include "drivers/filesystem/ext4/inline_data.hpp"
#include "drivers/volume/span_read.hpp"

namespace dray::fs {
namespace {

using ExtentHandle = Handle<ext2_extent_handle, ext2fs_extent_free>;

/// The kernel makes trees of at most this depth.
constexpr unsigned kMaxDepth = 5;
constexpr std::size_t kWindow = 1024;
/// Steps through a tree in a row that lead to no further extent. An honest tree takes one down and one up
/// for each of its levels.
constexpr int kMaxIdleSteps = 16;
/// Then the window is closed early: so many reads of the device are enough for one call.
constexpr int kMaxSteps = 4096;
/// The same for files without extents; their tables hold hundreds of blocks each.
constexpr int kMaxMapSteps = 16384;
constexpr std::uint64_t kMaxExtentLength = 32768;
/// Blocks of a file are counted in 32 bits.
constexpr std::uint64_t kMaxFileBlocks = std::numeric_limits<std::uint32_t>::max();

/// eh_depth: behind magic, entries and maximum, each 16 bits little-endian.
unsigned depth_of(const ext2_inode& inode) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(inode.i_block);
    return bytes[6] | static_cast<unsigned>(bytes[7]) << 8;
}

/// The next entry of this node, or of the nearest one above that has a next. EXT2_ET_EXTENT_NO_UP: that
/// was the last. (libext2fs' own way to the next leaf does not go on after a search.)
errcode_t next_sibling(ext2_extent_handle_t tree, ext2fs_extent& found) {
    for (;;) {
        errcode_t error = ext2fs_extent_get(tree, EXT2_EXTENT_NEXT_SIB, &found);
        if (error != EXT2_ET_EXTENT_NO_NEXT)
            return error;
        error = ext2fs_extent_get(tree, EXT2_EXTENT_UP, &found);
        if (error != 0)
            return error;
    }
}

}  // namespace

FileMap::FileMap(ext2_filsys fs, BlockIo& io, ext2_ino_t number) : fs_(fs), io_(&io), number_(number) {}

Error FileMap::broken(errcode_t code, std::string_view what) const {
    return io_->error_of(code, fmt::format("{} of inode {} cannot be read", what, number_));
}

// After an error libext2fs' own cache of inodes may hold another one than it says.
Result<void> FileMap::read_inode(std::span<std::byte> inode) {
    const errcode_t error = ext2fs_read_inode_full(
        fs_, number_, reinterpret_cast<ext2_inode*>(inode.data()), static_cast<int>(inode.size()));
    if (error == 0)
        return {};
    ext2fs_flush_icache(fs_);
    return fail(io_->error_of(error, fmt::format("inode {} cannot be read", number_)));
}

Result<void> FileMap::check_kind() const {
    const auto mode = inode_.i_mode;
    if (LINUX_S_ISLNK(mode))
        return fail(ErrorKind::Denied, "it is a symbolic link");
    if (mode == 0)
        return fail(ErrorKind::Corrupt, "inode {} is not in use", number_);
    if ((!LINUX_S_ISREG(mode) && !LINUX_S_ISDIR(mode)) || (inode_.i_flags & EXT4_EA_INODE_FL) != 0)
        return fail(ErrorKind::Denied, "it is a special file");
    if ((inode_.i_flags & EXT4_ENCRYPT_FL) != 0)
        return fail(ErrorKind::Unsupported, "it is encrypted by the file system (fscrypt)");
    if ((inode_.i_flags & EXT4_VERITY_FL) != 0)
        return fail(ErrorKind::Unsupported, "it is protected by fs-verity");
    if ((inode_.i_flags & EXT2_COMPRBLK_FL) != 0)
        return fail(ErrorKind::Unsupported, "it is compressed by the file system");
    return {};
}

Result<void> FileMap::check_size() const {
    const std::uint64_t most = has_extents() || is_inline()
                                   ? kMaxFileBlocks
                                   : std::min(kMaxFileBlocks, BlockMap::most_blocks(fs_->blocksize));
    if (size_ > most * fs_->blocksize)
        return fail(ErrorKind::Corrupt, "inode {} has an impossible size of {} bytes", number_, size_);
    return {};
}

Result<FileMap> FileMap::open(ext2_filsys fs, BlockIo& io, ext2_ino_t inode) {
    FileMap map(fs, io, inode);
    // The journal, the list of bad blocks and the like are no files.
    if (inode != EXT2_ROOT_INO && inode < EXT2_FIRST_INODE(fs->super))
        return fail(ErrorKind::Corrupt, "inode {} is the file system's own", inode);
    DRAY_TRY(map.read_inode(std::as_writable_bytes(std::span(&map.inode_, 1))));
    DRAY_TRY(map.check_kind());
    map.size_ = EXT2_I_SIZE(&map.inode_);
    DRAY_TRY(map.check_size());
    if (map.is_inline()) {
        std::vector<std::byte> whole(EXT2_INODE_SIZE(fs->super));
        DRAY_TRY(map.read_inode(whole));
        Result<std::vector<std::byte>> content = inline_content(whole, map.size_);
        if (!content)
            return fail(std::move(content.error()), "inode {}", inode);
        map.inline_ = *std::move(content);
    }
    return map;
}

bool FileMap::is_hashed() const {
    return is_directory() && !is_inline() && (inode_.i_flags & EXT2_INDEX_FL) != 0 &&
           ext2fs_has_feature_dir_index(fs_->super);
}

Result<std::uint32_t> FileMap::name_hash(unsigned version, std::string_view name) const {
    if (version <= EXT2_HASH_TEA && (fs_->super->s_flags & EXT2_FLAGS_UNSIGNED_HASH) != 0)
        version += EXT2_HASH_LEGACY_UNSIGNED;
    ext2_dirhash_t hash = 0;
    const errcode_t error =
        ext2fs_dirhash2(static_cast<int>(version), name.data(), static_cast<int>(name.size()), fs_->encoding,
                        static_cast<int>(inode_.i_flags & EXT4_CASEFOLD_FL), fs_->super->s_hash_seed, &hash,
                        nullptr);
    if (error != 0)
        return fail(ErrorKind::Unsupported, "the hash tree of directory {} cannot be read: {}", number_,
                    error_message(error));
    return hash;
}

Result<void> FileMap::add_extent(const Extent& extent) {
    const std::uint64_t total = ext2fs_blocks_count(fs_->super);
    if (extent.length == 0 || extent.length > kMaxExtentLength ||
        extent.physical < fs_->super->s_first_data_block || extent.physical > total ||
        extent.length > total - extent.physical)
        return fail(ErrorKind::Corrupt, "an extent of inode {} lies outside the file system", number_);
    if (!extents_.empty() && extent.logical < extents_.back().logical + extents_.back().length)
        return fail(ErrorKind::Corrupt, "the extents of inode {} are out of order", number_);
    extents_.push_back(extent);
    return {};
}

Result<void> FileMap::load_extents(std::uint64_t block) {
    if (depth_of(inode_) > kMaxDepth)
        return fail(ErrorKind::Corrupt, "the extent tree of inode {} is too deep", number_);
    ext2_extent_handle_t bare = nullptr;
    errcode_t error = ext2fs_extent_open2(fs_, number_, &inode_, &bare);
    if (error != 0)
        return fail(broken(error, "the extents"));
    const ExtentHandle tree(bare);
    error = ext2fs_extent_goto(tree.get(), block);
    if (error != 0 && error != EXT2_ET_EXTENT_NOT_FOUND)
        return fail(broken(error, "the extents"));

    ext2fs_extent found{};
    error = ext2fs_extent_get(tree.get(), EXT2_EXTENT_CURRENT, &found);
    int idle = 0;
    for (int step = 0; error == 0 && extents_.size() < kWindow; ++step) {
        if (step >= kMaxSteps && !extents_.empty())
            break;
        if (++idle > kMaxIdleSteps)
            return fail(ErrorKind::Corrupt, "the extent tree of inode {} leads nowhere", number_);
        if ((found.e_flags & EXT2_EXTENT_FLAGS_LEAF) == 0) {
            error = ext2fs_extent_get(tree.get(), EXT2_EXTENT_DOWN, &found);
            continue;
        }
        const Extent extent{found.e_lblk, found.e_pblk, found.e_len,
                            (found.e_flags & EXT2_EXTENT_FLAGS_UNINIT) != 0};
        if (extent.length == 0 || extent.logical + extent.length > block) {
            DRAY_TRY(add_extent(extent));
            idle = 0;
        }
        error = next_sibling(tree.get(), found);
    }
    if (error != 0 && error != EXT2_ET_EXTENT_NO_UP && error != EXT2_ET_NO_CURRENT_NODE)
        return fail(broken(error, "the extents"));
    window_end_ = error != 0 ? std::numeric_limits<std::uint64_t>::max()
                             : extents_.back().logical + extents_.back().length;
    return {};
}

Result<void> FileMap::add_block(std::uint64_t logical, std::uint64_t physical) {
    if (!extents_.empty() && physical < ext2fs_blocks_count(fs_->super)) {
        Extent& last = extents_.back();
        if (last.logical + last.length == logical && last.physical + last.length == physical) {
            ++last.length;
            return {};
        }
    }
    return add_extent({logical, physical, 1, false});
}

Result<void> FileMap::load_block_map(std::uint64_t block) {
    const std::uint64_t blocks = (size_ + fs_->blocksize - 1) / fs_->blocksize;
    BlockMap map(fs_, *io_, inode_);
    std::uint64_t logical = block;
    for (int step = 0; logical < blocks && step < kMaxMapSteps && extents_.size() < kWindow; ++step) {
        Result<BlockMap::Place> place = map.at(logical);
        if (!place)
            return fail(std::move(place.error()), "inode {}", number_);
        if (place->block != 0)
            DRAY_TRY(add_block(logical, place->block));
        logical += place->length;
    }
    window_end_ = logical >= blocks ? std::numeric_limits<std::uint64_t>::max() : logical;
    return {};
}

Result<void> FileMap::load(std::uint64_t block) {
    extents_.clear();
    window_begin_ = 0;
    window_end_ = 0;
    Result<void> loaded = has_extents() ? load_extents(block) : load_block_map(block);
    if (loaded)
        window_begin_ = block;
    else
        window_end_ = 0;
    return loaded;
}

Result<FileMap::Run> FileMap::run_at(Bytes offset) {
    const Bytes block_size = fs_->blocksize;
    const std::uint64_t block = offset / block_size;
    if (block < window_begin_ || block >= window_end_)
        DRAY_TRY(load(block));
    const auto next =
        std::upper_bound(extents_.begin(), extents_.end(), block,
                         [](std::uint64_t value, const Extent& extent) { return value < extent.logical; });
    if (next != extents_.begin()) {
        const Extent& extent = *std::prev(next);
        if (block < extent.logical + extent.length)
            return Run{(extent.logical + extent.length) * block_size - offset,
                       (extent.physical + (block - extent.logical)) * block_size + offset % block_size,
                       extent.is_unwritten};
    }
    const std::uint64_t end = next != extents_.end() ? next->logical : window_end_;
    // Without an end in sight the hole reaches to the end of the file.
    return Run{end > size_ / block_size ? size_ - offset : end * block_size - offset, 0, true};
}

template <typename ReadPlace>
Result<void> FileMap::read_runs(Bytes offset, std::span<std::byte> content, ReadPlace read_place) {
    if (offset > size_ || content.size() > size_ - offset)
        return fail(ErrorKind::Corrupt, "the file ends at {}, but {} bytes from {} are needed", size_,
                    content.size(), offset);
    if (is_inline()) {
        const std::size_t there =
            offset < inline_.size() ? std::min(inline_.size() - offset, content.size()) : 0;
        if (there > 0)
            std::memcpy(content.data(), inline_.data() + offset, there);
        std::fill(content.begin() + static_cast<std::ptrdiff_t>(there), content.end(), std::byte{0});
        return {};
    }
    while (!content.empty()) {
        DRAY_LET(const Run run, run_at(offset));
        const std::span<std::byte> part =
            content.first(static_cast<std::size_t>(std::min<Bytes>(run.length, content.size())));
        if (run.is_hole)
            std::fill(part.begin(), part.end(), std::byte{0});
        else
            DRAY_TRY(read_place(run.place, part));
        content = content.subspan(part.size());
        offset += part.size();
    }
    return {};
}

Result<Bytes> FileMap::end_of_hole(Bytes offset) {
    while (!is_inline() && offset < size_) {
        DRAY_LET(const Run run, run_at(offset));
        if (!run.is_hole)
            break;
        offset += std::min(run.length, size_ - offset);
    }
    return offset;
}

Result<void> FileMap::read(Bytes offset, std::span<std::byte> content) {
    return read_runs(offset, content, [this](Bytes place, std::span<std::byte> part) {
        static thread_local std::vector<std::byte> scratch;
        return volume::read_span(io_->device(), place, part, scratch);
    });
}

Result<void> FileMap::read_cached(Bytes offset, std::span<std::byte> content) {
    return read_runs(offset, content,
                     [this](Bytes place, std::span<std::byte> part) { return io_->read(place, part); });
}

}  // namespace dray::fs
