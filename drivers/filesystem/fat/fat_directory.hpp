// SPDX-License-Identifier: Apache-2.0
//
// The directories of FAT: short names in an old code page, long ones in UTF-16 spread over entries before them.
#pragma once

#include <memory>
#include <string>

#include "drivers/filesystem/cluster/cluster_directory.hpp"

namespace dray::fs {

class FatRules : public DirectoryRules {
public:
    /// Only FAT32 keeps the upper half of a cluster's number.
    explicit FatRules(bool is_fat32) : is_fat32_(is_fat32) {}

    std::unique_ptr<EntryParser> parser() const override;
    /// By simple case folding of Unicode. Short names count as what code page 850 makes of them.
    std::u16string folded(std::u16string_view name) const override;
    Result<FileRecord> record_of(EntryBytes entry) const override;
    /// 65,536 entries.
    Bytes most_directory() const override { return 2 * kMiB; }

private:
    bool is_fat32_;
};

}  // namespace dray::fs
