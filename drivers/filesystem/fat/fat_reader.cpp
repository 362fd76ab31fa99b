// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/fat/fat_reader.hpp"

#include <utility>

#include "drivers/filesystem/fat/fat_boot.hpp"
#include "drivers/filesystem/fat/fat_directory.hpp"

namespace dray::fs {
namespace {

std::string_view name_of(FatTable::Kind kind) {
    switch (kind) {
        case FatTable::Kind::Fat12: return "fat12";
        case FatTable::Kind::Fat16: return "fat16";
        default: return "fat32";
    }
}

}  // namespace

Result<std::unique_ptr<FatReader>> FatReader::open(volume::BlockDevice& device) {
    std::unique_ptr<FatReader> reader(new FatReader(device));
    DRAY_LET(const FatBoot boot, read_fat_boot(reader->cache()));
    reader->type_ = name_of(boot.kind);
    if (boot.is_backup)
        reader->add_notice("the first sector of the FAT is damaged; its copy was used");
    if (boot.is_dirty)
        reader->add_notice("the FAT was not unmounted cleanly: what was written last may be missing or damaged");
    const bool is_fat32 = boot.kind == FatTable::Kind::Fat32;
    FileRecord root;
    root.is_directory = true;
    root.is_sized = !is_fat32;
    root.size = boot.root_size;
    root.valid_size = boot.root_size;
    root.first_cluster = is_fat32 ? boot.root_cluster : 0;
    DRAY_TRY(reader->start(FatTable(reader->cache(), boot.heap, boot.table), std::make_unique<FatRules>(is_fat32),
                           root, boot.root_place));
    return reader;
}

}  // namespace dray::fs
