// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ext4/ext4_writer.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <iterator>
#include <limits>
#include <utility>

namespace dray::fs {
namespace {

using ExtentHandle = Handle<ext2_extent_handle, ext2fs_extent_free>;

constexpr std::size_t kLongestName = 255;
/// A file's blocks are numbered with 32 bits.
constexpr Bytes kLargestFile = (Bytes{1} << 32) * kExt4Block - kExt4Block;
/// Kept free of content: a directory's growth, and the nodes of a small file's extents.
constexpr std::uint64_t kReserve = 80;
/// A file's runs end where a group's metadata lies, at the latest; so many extents one node takes
/// at least.
constexpr std::uint64_t kGroupBlocks = 32768;
constexpr std::uint64_t kRunsPerNode = 64;

/// In 2446: 34 bits, the lower 32 of them signed.
constexpr std::int64_t kLatest = (std::int64_t{3} << 32) + (std::int64_t{1} << 31) - 1;

std::uint64_t blocks_of(Bytes size) {
    return size / kExt4Block + (size % kExt4Block != 0 ? 1 : 0);
}

/// Seconds in 34 bits, as ext4 has them, and nanoseconds above their two upper bits.
void set_time(TimePoint time, std::uint32_t& seconds, std::uint32_t& extra) {
    const std::int64_t usec =
        std::clamp<std::int64_t>(time.time_since_epoch().count(), 0, kLatest * 1'000'000);
    const std::int64_t whole = usec / 1'000'000;
    seconds = static_cast<std::uint32_t>(whole);
    // The lower 32 bits are read as a signed number; the bits above count from it.
    const std::int64_t epoch = (whole - static_cast<std::int32_t>(seconds)) >> 32;
    extra = static_cast<std::uint32_t>(usec % 1'000'000 * 1000) << 2 |
            (static_cast<std::uint32_t>(epoch) & 3U);
}

ext2_inode_large new_inode(std::uint16_t mode, TimePoint modified) {
    ext2_inode_large inode{};
    inode.i_mode = mode;
    inode.i_links_count = 1;
    inode.i_flags = EXT4_EXTENTS_FL;
    inode.i_extra_isize = sizeof inode - EXT2_GOOD_OLD_INODE_SIZE;
    set_time(modified, inode.i_mtime, inode.i_mtime_extra);
    inode.i_atime = inode.i_mtime;
    inode.i_atime_extra = inode.i_mtime_extra;
    const TimePoint now =
        std::chrono::time_point_cast<Microseconds>(std::chrono::system_clock::now());
    set_time(now, inode.i_ctime, inode.i_ctime_extra);
    inode.i_crtime = inode.i_ctime;
    inode.i_crtime_extra = inode.i_ctime_extra;
    return inode;
}

ext2_inode* small(ext2_inode_large& inode) {
    return reinterpret_cast<ext2_inode*>(&inode);
}

Result<void> check_name(std::string_view name) {
    if (name == "." || name == "..")
        return fail(ErrorKind::InvalidArgument, "a path may not contain \"{}\"", name);
    if (name.find('\0') != std::string_view::npos)
        return fail(ErrorKind::InvalidArgument, "a path may not contain a zero byte");
    if (name.size() > kLongestName)
        return fail(ErrorKind::InvalidArgument, "a name of {} bytes is too long: an ext4 takes {}",
                    name.size(), kLongestName);
    return {};
}

/// Without empty components.
Result<std::string> normal_form(std::string_view path) {
    std::string normal;
    while (!path.empty()) {
        const std::string_view component = path.substr(0, path.find('/'));
        path.remove_prefix(std::min(component.size() + 1, path.size()));
        if (component.empty())
            continue;
        DRAY_TRY(check_name(component));
        if (!normal.empty())
            normal += '/';
        normal += component;
    }
    if (normal.empty())
        return fail(ErrorKind::InvalidArgument, "the path is empty");
    return normal;
}

}  // namespace

bool NewFile::is_touched(Bytes begin, Bytes end) const {
    auto next = written_.lower_bound(end);
    return next != written_.begin() && std::prev(next)->second > begin;
}

Bytes NewFile::begun() const {
    return written_.empty() || written_.begin()->first != 0 ? 0 : written_.begin()->second;
}

void NewFile::mark(Bytes begin, Bytes end) {
    auto next = written_.upper_bound(begin);
    if (next != written_.begin() && std::prev(next)->second >= begin) {
        --next;
        begin = next->first;
    }
    while (next != written_.end() && next->first <= end) {
        end = std::max(end, next->second);
        next = written_.erase(next);
    }
    written_[begin] = end;
}

Result<std::unique_ptr<Ext4Writer>> Ext4Writer::format(volume::BlockDevice& device,
                                                       const Ext4Format& format) {
    std::unique_ptr<Ext4Writer> writer(new Ext4Writer(device));
    DRAY_LET(writer->fs_, make_ext4(writer->io_, format));
    writer->entries_.emplace(writer->fs_.get(), writer->io_);
    DRAY_TRY(writer->open_first_directories());
    return writer;
}

Result<void> Ext4Writer::open_first_directories() {
    last_inode_ = EXT2_FIRST_INODE(fs_->super);
    goal_ = fs_->super->s_first_data_block;
    Directory& root = directories_[""];
    DRAY_LET(root.end, entries_->find_end(EXT2_ROOT_INO));
    root.subdirectories = 1;
    names_.insert(NameHashes::hash(EXT2_ROOT_INO, kLostAndFound));
    Directory& lost = directories_[std::string(kLostAndFound)];
    DRAY_LET(lost.end, entries_->find_end(last_inode_));
    return {};
}

Result<Ext4Writer::Place> Ext4Writer::place_of(std::string_view path) {
    Place place;
    DRAY_LET(place.path, normal_form(path));
    const std::size_t slash = place.path.rfind('/');
    const std::string parent = slash == std::string::npos ? "" : place.path.substr(0, slash);
    DRAY_LET(place.parent, find_directory(parent));
    return place;
}

Result<ext2_ino_t> Ext4Writer::next_inode() const {
    const ext2_ino_t count = fs_->super->s_inodes_count;
    ext2_ino_t found = 0;
    if (last_inode_ >= count ||
        ext2fs_find_first_zero_inode_bitmap2(fs_->inode_map, last_inode_ + 1, count, &found) != 0)
        return fail(ErrorKind::LimitReached,
                    "the file system was made for {} files and directories, and has them",
                    count - EXT2_FIRST_INODE(fs_->super));
    return found;
}

Result<void> Ext4Writer::check_broken() const {
    if (broken_)
        return fail(*broken_, "the file system was left half-way");
    return {};
}

Result<void> Ext4Writer::check_new(const Place& place) {
    const DirectoryEnd& parent = place.parent->end;
    if (!names_.contains(NameHashes::hash(parent.inode, place.name())))
        return {};
    DRAY_LET(const bool is_taken, entries_->contains(parent, place.name()));
    if (is_taken)
        return fail(ErrorKind::Exists, "it exists already");
    return {};
}

Result<void> Ext4Writer::check_room(std::uint64_t blocks) const {
    const std::uint64_t free = ext2fs_free_blocks_count(fs_->super);
    const std::uint64_t nodes = 2 * (blocks / kGroupBlocks) / kRunsPerNode;
    if (blocks + nodes + kReserve > free)
        return fail(ErrorKind::NoSpace, "{} are needed, and the file system has {} left",
                    format_bytes(blocks * kExt4Block),
                    format_bytes((free > kReserve ? free - kReserve : 0) * kExt4Block));
    return {};
}

Result<void> Ext4Writer::allocate(ext2_ino_t inode, ext2_inode_large& status,
                                  std::uint64_t blocks) {
    // An empty tree of extents.
    ExtentHandle tree;
    ext2_extent_handle_t bare = nullptr;
    errcode_t error = ext2fs_extent_open2(fs_.get(), inode, small(status), &bare);
    tree.reset(bare);
    if (error == 0 && blocks != 0)
        error = ext2fs_fallocate(fs_.get(), EXT2_FALLOCATE_FORCE_INIT, inode, small(status), goal_,
                                 0, blocks);
    if (error != 0)
        return fail(io_.error_of(
            error, "there are no blocks for it",
            error == EXT2_ET_BLOCK_ALLOC_FAIL ? ErrorKind::NoSpace : ErrorKind::Internal));
    return {};
}

Result<std::vector<NewFile::Run>> Ext4Writer::runs_of(ext2_ino_t inode, ext2_inode_large& status) {
    std::vector<NewFile::Run> runs;
    ext2_extent_handle_t bare = nullptr;
    errcode_t error = ext2fs_extent_open2(fs_.get(), inode, small(status), &bare);
    const ExtentHandle tree(bare);
    ext2fs_extent extent{};
    for (int step = EXT2_EXTENT_ROOT; error == 0; step = EXT2_EXTENT_NEXT_LEAF) {
        error = ext2fs_extent_get(tree.get(), step, &extent);
        if (error != 0 || (extent.e_flags & EXT2_EXTENT_FLAGS_LEAF) == 0 ||
            (extent.e_flags & EXT2_EXTENT_FLAGS_SECOND_VISIT) != 0)
            continue;
        if (!runs.empty() && runs.back().physical + runs.back().length == extent.e_pblk &&
            runs.back().logical + runs.back().length == extent.e_lblk)
            runs.back().length += extent.e_len;
        else
            runs.push_back({extent.e_lblk, extent.e_pblk, extent.e_len});
    }
    // No tree, or its end.
    if (error != EXT2_ET_EXTENT_NO_NEXT && error != EXT2_ET_NO_CURRENT_NODE)
        return fail(io_.error_of(error, "its blocks are not found", ErrorKind::Internal));
    return runs;
}

/// Writes the inode and its entry, and counts it.
Result<void> Ext4Writer::enter(const Place& place, ext2_ino_t inode, ext2_inode_large& status,
                               int type) {
    const errcode_t error =
        ext2fs_write_inode_full(fs_.get(), inode, small(status), static_cast<int>(sizeof status));
    if (error != 0)
        return fail(io_.error_of(error, "its inode cannot be written", ErrorKind::Internal));
    ext2fs_inode_alloc_stats2(fs_.get(), inode, +1, type == EXT2_FT_DIR ? 1 : 0);
    last_inode_ = inode;
    DRAY_TRY(entries_->append(place.parent->end, place.name(), inode, type));
    names_.insert(NameHashes::hash(place.parent->end.inode, place.name()));
    return {};
}

Result<NewFile> Ext4Writer::create(std::string_view path, Bytes size, TimePoint modified) {
    DRAY_TRY(check_broken());
    DRAY_LET(const Place place, place_of(path));
    if (size > kLargestFile)
        return fail(ErrorKind::LimitReached, "a file of {} is too large for an ext4",
                    format_bytes(size));
    DRAY_TRY(check_new(place));
    DRAY_LET(const ext2_ino_t inode, next_inode());
    DRAY_TRY(check_room(blocks_of(size)));
    Result<NewFile> file = make_file(place, inode, size, modified);
    if (!file)
        broken_ = file.error();
    return file;
}

Result<NewFile> Ext4Writer::make_file(const Place& place, ext2_ino_t inode, Bytes size,
                                      TimePoint modified) {
    DRAY_TRY(entries_->reserve(place.parent->end, place.name(), goal_));
    ext2_inode_large status = new_inode(LINUX_S_IFREG | 0644, modified);
    // Before the blocks: extents behind the end would not be taken for written ones.
    const errcode_t error =
        ext2fs_inode_size_set(fs_.get(), small(status), static_cast<ext2_off64_t>(size));
    if (error != 0)
        return fail(io_.error_of(error, "its size cannot be set", ErrorKind::Internal));
    DRAY_TRY(allocate(inode, status, blocks_of(size)));
    NewFile file;
    file.size_ = size;
    file.inode_ = inode;
    DRAY_LET(file.runs_, runs_of(inode, status));
    if (!file.runs_.empty())
        goal_ = file.runs_.back().physical + file.runs_.back().length;
    DRAY_TRY(enter(place, inode, status, EXT2_FT_REG_FILE));
    return file;
}

Result<void> Ext4Writer::set_links(const Directory& directory) {
    ext2_inode inode{};
    errcode_t error = ext2fs_read_inode(fs_.get(), directory.end.inode, &inode);
    // Itself, its parent's entry, and each "..". More than fit are counted as 1: the feature
    // dir_nlink.
    const std::uint32_t links = 2 + directory.subdirectories;
    inode.i_links_count = static_cast<std::uint16_t>(links > EXT2_LINK_MAX ? 1 : links);
    if (error == 0)
        error = ext2fs_write_inode(fs_.get(), directory.end.inode, &inode);
    if (error != 0)
        return fail(
            io_.error_of(error, "its directory's inode cannot be written", ErrorKind::Internal));
    return {};
}

/// Whoever wants a directory of this name wants to see into it.
Result<void> Ext4Writer::adopt_lost_and_found() {
    is_lost_and_found_ours_ = false;
    const ext2_ino_t number = directories_.at(std::string(kLostAndFound)).end.inode;
    ext2_inode inode{};
    errcode_t error = ext2fs_read_inode(fs_.get(), number, &inode);
    inode.i_mode = LINUX_S_IFDIR | 0755;
    if (error == 0)
        error = ext2fs_write_inode(fs_.get(), number, &inode);
    if (error != 0)
        return fail(io_.error_of(error, "its inode cannot be written", ErrorKind::Internal));
    return {};
}

Result<void> Ext4Writer::make_directory(std::string_view path) {
    DRAY_TRY(check_broken());
    DRAY_LET(const Place place, place_of(path));
    const bool is_adopted = place.path == kLostAndFound && is_lost_and_found_ours_;
    ext2_ino_t inode = 0;
    if (!is_adopted) {
        DRAY_TRY(check_new(place));
        DRAY_LET(inode, next_inode());
        DRAY_TRY(check_room(1));
    }
    Result<void> made = is_adopted ? adopt_lost_and_found() : make_directory_at(place, inode);
    if (!made)
        broken_ = made.error();
    return made;
}

Result<void> Ext4Writer::make_directory_at(const Place& place, ext2_ino_t inode) {
    DRAY_TRY(entries_->reserve(place.parent->end, place.name(), goal_));
    const TimePoint now =
        std::chrono::time_point_cast<Microseconds>(std::chrono::system_clock::now());
    ext2_inode_large status = new_inode(LINUX_S_IFDIR | 0755, now);
    status.i_links_count = 2;
    status.i_size = kExt4Block;
    DRAY_TRY(allocate(inode, status, 1));
    DRAY_LET(const std::vector<NewFile::Run> runs, runs_of(inode, status));
    if (runs.empty())
        return fail(ErrorKind::Internal, "its block is not found");
    goal_ = runs.back().physical + 1;
    DRAY_TRY(enter(place, inode, status, EXT2_FT_DIR));
    Directory made;
    DRAY_LET(made.end, entries_->begin(inode, place.parent->end.inode, runs.front().physical));
    ++place.parent->subdirectories;
    DRAY_TRY(set_links(*place.parent));
    directories_.emplace(place.path, made);
    return {};
}

Bytes Ext4Writer::place_in(const NewFile& file, Bytes offset, Bytes& contiguous) const {
    const std::uint64_t block = offset / kExt4Block;
    const auto next = std::upper_bound(
        file.runs_.begin(), file.runs_.end(), block,
        [](std::uint64_t wanted, const NewFile::Run& run) { return wanted < run.logical; });
    const NewFile::Run& run = *std::prev(next);
    contiguous = (run.logical + run.length) * kExt4Block - offset;
    return run.physical * kExt4Block + (offset - run.logical * kExt4Block);
}

Result<void> Ext4Writer::write_blocks(const NewFile& file, Bytes offset,
                                      std::span<std::byte> content) {
    while (!content.empty()) {
        Bytes contiguous = 0;
        const Bytes place = place_in(file, offset, contiguous);
        const auto part =
            content.first(static_cast<std::size_t>(std::min<Bytes>(content.size(), contiguous)));
        DRAY_TRY(content_.write(place, part));
        offset += part.size();
        content = content.subspan(part.size());
    }
    return {};
}

Result<void> Ext4Writer::write_within_block(const NewFile& file, Bytes offset,
                                            std::span<const std::byte> content) {
    Bytes contiguous = 0;
    const Bytes begin = offset / kExt4Block * kExt4Block;
    const Bytes place = place_in(file, begin, contiguous);
    // Whatever the device held there must not be seen, behind the end of the file neither.
    if (file.is_touched(begin, begin + kExt4Block))
        DRAY_TRY(content_.read(place, block_));
    else
        std::fill(block_.begin(), block_.end(), std::byte{0});
    std::memcpy(block_.data() + (offset - begin), content.data(), content.size());
    return content_.write(place, block_);
}

Result<void> Ext4Writer::write(NewFile& file, Bytes offset, std::span<std::byte> content) {
    DRAY_TRY(check_broken());
    if (offset > file.size_ || content.size() > file.size_ - offset)
        return fail(ErrorKind::InvalidArgument,
                    "the file was made with {} bytes, and {} bytes from {} would end behind them",
                    file.size_, content.size(), offset);
    Result<void> written = write_content(file, offset, content);
    if (!written)
        broken_ = written.error();
    return written;
}

Result<void> Ext4Writer::write_content(NewFile& file, Bytes offset, std::span<std::byte> content) {
    while (!content.empty()) {
        const auto skip = static_cast<std::size_t>(offset % kExt4Block);
        std::size_t part = content.size() / kExt4Block * kExt4Block;
        if (skip != 0 || part == 0) {
            part = std::min(content.size(), kExt4Block - skip);
            DRAY_TRY(write_within_block(file, offset, content.first(part)));
        } else {
            DRAY_TRY(write_blocks(file, offset, content.first(part)));
        }
        file.mark(offset, offset + part);
        offset += part;
        content = content.subspan(part);
    }
    return {};
}

Result<void> Ext4Writer::close(NewFile& file) {
    Bytes done = 0;
    while (done < file.size_) {
        const auto next = file.written_.upper_bound(done);
        if (next != file.written_.begin() && std::prev(next)->second > done) {
            done = std::prev(next)->second;
            continue;
        }
        const Bytes gap = (next == file.written_.end() ? file.size_ : next->first) - done;
        std::vector<std::byte> zeros(static_cast<std::size_t>(std::min(gap, kMiB)));
        DRAY_TRY(write(file, done, zeros));
    }
    return {};
}

Result<void> Ext4Writer::finish() {
    DRAY_TRY(check_broken());
    DRAY_TRY(flush());
    fs_.reset();
    DRAY_TRY(content_.sync());
    return cache_.sync();
}

}  // namespace dray::fs
