// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ext4/ext4_format.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "drivers/volume/uuid.hpp"

namespace dray::fs {
namespace {

/// 1 to 10 are reserved, 11 is lost+found.
constexpr std::uint64_t kOwnInodes = 11;
constexpr std::uint16_t kInodeSize = 256;
constexpr std::uint16_t kExtraInodeSize = sizeof(ext2_inode_large) - EXT2_GOOD_OLD_INODE_SIZE;
/// Groups whose bitmaps and tables lie together: content has longer runs between them.
constexpr std::uint8_t kLogGroupsPerFlex = 4;
/// The drive is filled without its journal; 64 MiB are plenty for whoever mounts it.
constexpr int kMostJournalBlocks = 16384;

ext2_super_block parameters_of(std::uint64_t blocks, std::uint64_t inodes) {
    ext2_super_block super{};
    super.s_rev_level = EXT2_DYNAMIC_REV;
    super.s_log_block_size = 2;  // 1024 << 2
    super.s_log_cluster_size = 2;
    super.s_inode_size = kInodeSize;
    super.s_min_extra_isize = kExtraInodeSize;
    super.s_want_extra_isize = kExtraInodeSize;
    super.s_inodes_count = static_cast<std::uint32_t>(inodes);
    super.s_log_groups_per_flex = kLogGroupsPerFlex;
    super.s_errors = EXT2_ERRORS_CONTINUE;
    super.s_default_mount_opts = EXT2_DEFM_XATTR_USER | EXT2_DEFM_ACL;
    super.s_feature_compat = EXT2_FEATURE_COMPAT_EXT_ATTR | EXT2_FEATURE_COMPAT_DIR_INDEX;
    super.s_feature_incompat = EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS |
                               EXT4_FEATURE_INCOMPAT_64BIT | EXT4_FEATURE_INCOMPAT_FLEX_BG;
    super.s_feature_ro_compat =
        EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER | EXT2_FEATURE_RO_COMPAT_LARGE_FILE |
        EXT4_FEATURE_RO_COMPAT_HUGE_FILE | EXT4_FEATURE_RO_COMPAT_DIR_NLINK |
        EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE | EXT4_FEATURE_RO_COMPAT_METADATA_CSUM;
    ext2fs_blocks_count_set(&super, blocks);
    return super;
}

Result<Ext4Handle> initialize(BlockIo& io, const Ext4Format& format) {
    if (format.inodes > std::numeric_limits<std::uint32_t>::max() - 2 * kOwnInodes)
        return fail(ErrorKind::LimitReached, "an ext4 cannot hold {} files and directories",
                    format.inodes);
    const Bytes size = io.device().size();
    ext2_super_block parameters = parameters_of(size / kExt4Block, format.inodes + kOwnInodes);
    ext2_filsys bare = nullptr;
    const errcode_t error =
        ext2fs_initialize(io.name(), EXT2_FLAG_64BITS, &parameters, BlockIo::manager(), &bare);
    Ext4Handle fs(bare);
    if (error == EXT2_ET_TOOSMALL || error == EXT2_ET_TOO_MANY_INODES)
        return fail(ErrorKind::NoSpace,
                    "a volume of {} is too small for a file system with {} files and "
                    "directories",
                    format_bytes(size), format.inodes);
    if (error != 0)
        return fail(io.error_of(error, "an ext4 cannot be begun", ErrorKind::Internal));
    return fs;
}

Result<void> name_it(ext2_filsys fs, const std::string& label) {
    ext2_super_block& super = *fs->super;
    DRAY_LET(const volume::Uuid uuid, volume::random_uuid());
    DRAY_LET(const volume::Uuid hash_seed, volume::random_uuid());
    static_assert(sizeof super.s_uuid == sizeof uuid &&
                  sizeof super.s_hash_seed == sizeof hash_seed);
    std::memcpy(super.s_uuid, uuid.data(), sizeof super.s_uuid);
    std::memcpy(super.s_hash_seed, hash_seed.data(), sizeof super.s_hash_seed);
    super.s_def_hash_version = EXT2_HASH_HALF_MD4;
    super.s_checksum_type = EXT2_CRC32C_CHKSUM;
    super.s_max_mnt_count = -1;
    super.s_kbytes_written = 1;
    std::size_t length = std::min(label.size(), sizeof super.s_volume_name);
    // Not within a character of UTF-8.
    while (length < label.size() && length > 0 &&
           (static_cast<unsigned char>(label[length]) & 0xc0) == 0x80)
        --length;
    std::memcpy(super.s_volume_name, label.data(), length);
    ext2fs_init_csum_seed(fs);
    return {};
}

/// All tables of inodes, in runs: those of neighbouring groups follow each other.
Result<void> zero_inode_tables(ext2_filsys fs, BlockIo& io) {
    Bytes begin = 0;
    Bytes length = 0;
    for (dgrp_t group = 0; group < fs->group_desc_count; ++group) {
        const Bytes table = ext2fs_inode_table_loc(fs, group) * kExt4Block;
        if (table != begin + length) {
            DRAY_TRY(io.zero(begin, length));
            begin = table;
            length = 0;
        }
        length += Bytes{fs->inode_blocks_per_group} * kExt4Block;
        ext2fs_bg_flags_set(fs, group, EXT2_BG_INODE_ZEROED);
    }
    return io.zero(begin, length);
}

Result<void> lay_out(ext2_filsys fs, BlockIo& io) {
    // Every bitmap is to be written: libext2fs believes these marks rather than its own bitmaps,
    // and what was on the device before must not show. Whether a group is unused,
    // ext2fs_set_gdt_csum finds out.
    for (dgrp_t group = 0; group < fs->group_desc_count; ++group)
        ext2fs_bg_flags_clear(fs, group, EXT2_BG_BLOCK_UNINIT | EXT2_BG_INODE_UNINIT);
    if (const errcode_t error = ext2fs_allocate_tables(fs); error != 0)
        return fail(io.error_of(error, "there is no room for the tables of the file system",
                                ErrorKind::NoSpace));
    DRAY_TRY(zero_inode_tables(fs, io));
    // The root is taken when it is made.
    for (ext2_ino_t inode = 1; inode < EXT2_FIRST_INODE(fs->super); ++inode)
        if (inode != EXT2_ROOT_INO)
            ext2fs_inode_alloc_stats2(fs, inode, +1, 0);
    return {};
}

/// mkdir numbers it as the first free inode, 11, as everybody expects.
Result<void> make_first_directories(ext2_filsys fs, BlockIo& io) {
    errcode_t error = ext2fs_mkdir(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, nullptr);
    if (error == 0)
        error = ext2fs_mkdir(fs, EXT2_ROOT_INO, 0, "lost+found");
    if (error == 0)
        error = ext2fs_update_bb_inode(fs, nullptr);
    if (error != 0)
        return fail(io.error_of(error, "the first directories cannot be made", ErrorKind::NoSpace));
    return {};
}

Result<void> make_journal(ext2_filsys fs, BlockIo& io) {
    const int wanted = ext2fs_default_journal_size(ext2fs_blocks_count(fs->super));
    // Too small for one; then it is an ext4 without.
    if (wanted <= 0)
        return {};
    const errcode_t error =
        ext2fs_add_journal_inode2(fs, static_cast<blk_t>(std::min(wanted, kMostJournalBlocks)),
                                  ~0ULL, EXT2_MKJOURNAL_NO_MNT_CHECK);
    if (error != 0)
        return fail(io.error_of(error, "there is no room for the journal of the file system",
                                ErrorKind::NoSpace));
    return {};
}

}  // namespace

Result<Ext4Handle> make_ext4(BlockIo& io, const Ext4Format& format) {
    DRAY_LET(Ext4Handle fs, initialize(io, format));
    DRAY_TRY(name_it(fs.get(), format.label));
    DRAY_TRY(lay_out(fs.get(), io));
    DRAY_TRY(make_first_directories(fs.get(), io));
    DRAY_TRY(make_journal(fs.get(), io));
    return fs;
}

}  // namespace dray::fs
