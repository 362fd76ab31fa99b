// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/exfat/exfat_reader.hpp"

#include <utility>
#include <vector>

#include "drivers/filesystem/exfat/exfat_directory.hpp"

namespace dray::fs {
namespace {

/// For finding the up-case table: the rest of the root is looked at later.
constexpr Bytes kStartOfRoot = 32 * kMiB;

}  // namespace

Result<UpcaseTable> ExfatReader::read_upcase(FatTable& table, const FileRecord& root) {
    DRAY_LET(ClusterFile directory, ClusterFile::open(table, root));
    // A chain that is damaged further behind does no harm here.
    (void)directory.measure(kStartOfRoot);
    DRAY_LET(const UpcaseEntry entry, find_upcase_table(directory));
    if (entry.size > UpcaseTable::kMostBytes)
        return fail(ErrorKind::Corrupt, "the up-case table is damaged");
    FileRecord record;
    record.size = entry.size;
    record.valid_size = entry.size;
    record.first_cluster = entry.first_cluster;
    DRAY_LET(ClusterFile file, ClusterFile::open(table, record));
    std::vector<std::byte> bytes(static_cast<std::size_t>(entry.size));
    DRAY_TRY(file.read_cached(0, bytes));
    return UpcaseTable::parse(bytes, entry.checksum);
}

Result<std::unique_ptr<ExfatReader>> ExfatReader::open(volume::BlockDevice& device) {
    std::unique_ptr<ExfatReader> reader(new ExfatReader(device));
    DRAY_LET(const ExfatBoot boot, read_exfat_boot(reader->cache()));
    if (boot.is_backup)
        reader->add_notice("the first boot region of the exFAT is damaged; the second one was used");
    if (boot.is_dirty)
        reader->add_notice("the exFAT was not unmounted cleanly: what was written last may be missing or damaged");
    if (boot.has_media_failed)
        reader->add_notice("the exFAT is marked as having had read or write errors before it came here");
    FatTable table(reader->cache(), boot.heap, boot.table);
    FileRecord root;
    root.is_directory = true;
    root.is_sized = false;
    root.first_cluster = boot.root_cluster;
    Result<UpcaseTable> upcase = reader->read_upcase(table, root);
    if (!upcase && upcase.error().kind() == ErrorKind::Gone)
        return fail(std::move(upcase.error()));
    if (!upcase) {
        reader->add_notice("the up-case table of the exFAT cannot be used; names are compared by the standard one");
        upcase = UpcaseTable::standard();
    }
    DRAY_TRY(reader->start(table, std::make_unique<ExfatRules>(*std::move(upcase)), root, 0));
    return reader;
}

}  // namespace dray::fs
