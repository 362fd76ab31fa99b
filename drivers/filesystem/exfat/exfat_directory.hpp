// SPDX-License-Identifier: Apache-2.0
//
// The directories of exFAT: a file is a set of entries with a checksum over all of them.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "drivers/filesystem/cluster/cluster_directory.hpp"
#include "drivers/filesystem/exfat/upcase_table.hpp"

namespace dray::fs {

class ExfatRules : public DirectoryRules {
public:
    explicit ExfatRules(UpcaseTable upcase) : upcase_(std::move(upcase)) {}

    std::unique_ptr<EntryParser> parser() const override;
    /// By the volume's own up-case table.
    std::u16string folded(std::u16string_view name) const override;
    Result<FileRecord> record_of(EntryBytes entry) const override;
    Bytes most_directory() const override { return 256 * kMiB; }

private:
    UpcaseTable upcase_;
};

/// Where a volume has its up-case table, as an entry of the root says it.
struct UpcaseEntry {
    std::uint32_t checksum = 0;
    std::uint32_t first_cluster = 0;
    Bytes size = 0;
};
/// Among the first entries of the root. Errors as read; NotFound.
Result<UpcaseEntry> find_upcase_table(ClusterFile& root);

}  // namespace dray::fs
