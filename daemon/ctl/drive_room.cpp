// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/drive_room.hpp"

#include <algorithm>

namespace dray::ctl {
namespace {

constexpr Bytes kBlock = 4 * kKiB;
constexpr Bytes kInode = 256;
/// In front of the volume: both LUKS2 headers and the key slots.
constexpr Bytes kHeader = 16 * kMiB;

constexpr Bytes round_up(Bytes bytes, Bytes to) {
    return (bytes + to - 1) / to * to;
}

/// What the file system sets aside for whoever mounts it; its steps are those of e2fsprogs, taken early.
Bytes journal_of(Bytes content) {
    if (content < 96 * kMiB)
        return 4 * kMiB;
    if (content < 900 * kMiB)
        return 16 * kMiB;
    return content < 1800 * kMiB ? 32 * kMiB : 64 * kMiB;
}

}  // namespace

void DriveRoom::add_name(std::string_view name) {
    ++inodes_;
    names_ += 8 + round_up(name.size(), 4);
}

void DriveRoom::add_directory(std::string_view name) {
    add_name(name);
    // Each has a block of its own, even if it is empty.
    content_ += kBlock;
}

void DriveRoom::add_file(std::string_view name, Bytes size) {
    add_name(name);
    // Without coming round to small numbers again.
    content_ = std::min(content_ + round_up(std::min(size, kMaxFile), kBlock), kMaxContent + kBlock);
}

Bytes DriveRoom::content() const {
    return content_ + round_up(manifest_, kBlock) + round_up(checksums_, kBlock);
}

Bytes DriveRoom::needed() const {
    Bytes bytes = content();
    // Blocks of directories are not always full.
    bytes += round_up(names_ * 2, kBlock);
    bytes += round_up((inodes() + 16) * kInode, kMiB);
    // A group of blocks has as many inodes as blocks at most.
    bytes = std::max(bytes, inodes() * (kBlock + kInode));
    // Bitmaps, group descriptors and their copies, nodes of extents, and a last group that is too short.
    bytes += bytes / 256 + 12 * kMiB;
    return round_up(kHeader + bytes + journal_of(bytes), kMiB);
}

}  // namespace dray::ctl
