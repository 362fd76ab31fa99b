// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/unlock.hpp"

#include <algorithm>
#include <cctype>
#include <string_view>
#include <utility>

#include "daemon/base/overloaded.hpp"
#include "drivers/volume/bitlocker/bitlocker_unlock.hpp"
#include "drivers/volume/bitlocker/bitlocker_volume.hpp"
#include "drivers/volume/crypt_library.hpp"
#include "drivers/volume/luks/luks_unlock.hpp"
#include "drivers/volume/luks/luks_volume.hpp"
#include "drivers/volume/partition/partition_table.hpp"
#include "drivers/volume/signature.hpp"
#include "drivers/volume/slice.hpp"

namespace dray::volume {
namespace {

bool same_identifier(std::string_view left, std::string_view right) {
    return std::equal(left.begin(), left.end(), right.begin(), right.end(), [](char a, char b) {
        return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
    });
}

OpenResult<void> check_identifier(const std::string& found, const std::string& expected) {
    if (expected.empty() || same_identifier(found, expected))
        return {};
    return refuse({ErrorKind::Denied,
                   fmt::format("the volume has the identifier {}, but {} was expected",
                               found.empty() ? "none" : found, expected)},
                  kDiskOperationFailed);
}

bool is_unreadable(const Error& error) {
    return error.kind() == ErrorKind::Gone || error.kind() == ErrorKind::Internal;
}

/// Of these the first sector itself tells, so that what looks like an MBR in it is none.
bool is_in_first_sector(Signature signature) {
    switch (signature) {
        case Signature::BitLocker:
        case Signature::Ntfs:
        case Signature::ExFat:
        case Signature::Fat:
        case Signature::ReFs:
        case Signature::Xfs: return true;
        default: return false;
    }
}

void add_notice(std::string& notice, std::string_view sentence) {
    if (!sentence.empty())
        notice += (notice.empty() ? "" : "; ") + std::string(sentence);
}

OpenResult<UnlockedVolume> unlock_luks(BlockDevice& device, const LuksHeader& header, const SecretBytes& key,
                                       const UnlockPolicy& policy) {
    DRAY_LET(const LoadedLuks luks, load_luks(device, header, policy.memory));
    DRAY_TRY(check_identifier(luks.identity.id, policy.volume_id));
    UnlockedVolume volume;
    volume.identity = luks.identity;
    volume.segment = luks.segment;
    DRAY_LET(volume.key, open_luks(luks, key));
    if (!header.is_first_whole)
        volume.notice = "the first LUKS header is damaged; the second one was used";
    return volume;
}

OpenResult<UnlockedVolume> unlock_bitlocker(BlockDevice& device, const SecretBytes& key, const UnlockPolicy& policy) {
    DRAY_LET(BitLockerHeader header, find_bitlocker_header(device));
    DRAY_TRY(check_identifier(header.id, policy.volume_id));
    DRAY_TRY(check_protectors(header));
    UnlockedVolume volume;
    DRAY_LET(volume.key, open_bitlocker(header, key));
    volume.identity = {"bitlocker", std::move(header.id)};
    volume.segment = header.segment;
    volume.notice = std::move(header.notice);
    return volume;
}

/// No LUKS here: open what there is instead, or say what it is.
OpenResult<UnlockedVolume> unlock_other(BlockDevice& device, Signature signature, const SecretBytes& key,
                                        const UnlockPolicy& policy) {
    if (signature == Signature::BitLocker)
        return unlock_bitlocker(device, key, policy);
    if (is_filesystem(signature) && policy.allow_plain) {
        DRAY_TRY(check_identifier("", policy.volume_id));
        UnlockedVolume volume;
        volume.identity.type = "plain";
        volume.segment = PlainSegment{0, device.size()};
        return volume;
    }
    if (is_filesystem(signature))
        return refuse({ErrorKind::Denied,
                       fmt::format("the drive is not encrypted: it holds {}; drives without encryption are taken "
                                   "only with drives.allow-plain: true in dray.yaml",
                                   to_string(signature))},
                      kNotActivated);
    return refuse({ErrorKind::Unsupported, fmt::format("the drive has no encrypted volume: it holds {}",
                                                       to_string(signature))},
                  kVolumeNotFound);
}

/// A partition, or a device that has none.
OpenResult<UnlockedVolume> unlock_inside(BlockDevice& device, const SecretBytes& key, const UnlockPolicy& policy) {
    const OpenResult<LuksHeader> header = find_luks_header(device);
    if (header)
        return unlock_luks(device, *header, key, policy);
    if (header.error().error.kind() != ErrorKind::NotFound)
        return std::unexpected(header.error());
    const Result<Signature> signature = read_signature(device);
    if (!signature)
        return refuse(signature.error(), kDiskOperationFailed);
    return unlock_other(device, *signature, key, policy);
}

OpenResult<UnlockedVolume> unlock_partition(BlockDevice& device, const PartitionTable& table, const SecretBytes& key,
                                            const UnlockPolicy& policy) {
    const Partition* partition = policy.partition == 0 ? table.first_data() : table.find(policy.partition);
    if (partition == nullptr && policy.partition != 0)
        return refuse({ErrorKind::Unsupported, fmt::format("the job names partition {}, which the drive's partition table ({}) has "
                                                           "not ({})",
                                                           policy.partition, table_name(table), table.describe())},
                      kVolumeNotFound);
    if (partition == nullptr)
        return refuse({ErrorKind::Unsupported, fmt::format("the drive has a partition table ({}) without a partition "
                                                           "for data ({})",
                                                           table_name(table), table.describe())},
                      kVolumeNotFound);
    Slice slice(device, partition->offset, partition->size);
    OpenResult<UnlockedVolume> volume = unlock_inside(slice, key, policy);
    if (!volume)
        return refuse(Error(std::move(volume.error().error), fmt::format("partition {}", partition->number)),
                      std::move(volume.error().status));
    std::visit([&](auto& segment) { segment.offset += partition->offset; }, volume->segment);
    volume->partition_table = table.type;
    add_notice(volume->notice, table.notice);
    if (table.data_count() > 1 && policy.partition == 0)
        add_notice(volume->notice, fmt::format("the disk has {} partitions for data; only the first one, number {}, "
                                               "is read",
                                               table.data_count(), partition->number));
    return volume;
}

}  // namespace

Result<void> warm_up_unlocking() { return warm_up_crypt_library(); }

OpenResult<UnlockedVolume> unlock_volume(BlockDevice& device, const SecretBytes& key,
                                         const UnlockPolicy& policy) {
    const OpenResult<LuksHeader> header = find_luks_header(device);
    if (header && header->is_first_whole && policy.partition == 0)
        return unlock_luks(device, *header, key, policy);
    if (!header && is_unreadable(header.error().error))
        return std::unexpected(header.error());

    const Result<PartitionTable> table = read_partition_table(device);
    // A first sector that cannot be read was a header's, if the key opens the second one.
    if (!table && table.error().kind() == ErrorKind::Internal && header)
        if (OpenResult<UnlockedVolume> volume = unlock_luks(device, *header, key, policy);
            volume || volume.error().error.kind() != ErrorKind::WrongKey)
            return volume;
    if (!table && is_unreadable(table.error()))
        return refuse(table.error(), kDiskOperationFailed);
    const Result<Signature> signature = read_signature(device);
    if (!signature)
        return refuse(signature.error(), kDiskOperationFailed);
    if (table && policy.partition != 0)
        return unlock_partition(device, *table, key, policy);
    if (policy.partition != 0)
        return refuse({ErrorKind::Unsupported, fmt::format("the job names partition {}, and the drive has no partition table that "
                                                           "makes sense: {}",
                                                           policy.partition, table.error().text())},
                      kVolumeNotFound);
    // What is left of an earlier use of the disk does not count against a table that makes sense.
    if (table && (table->type == "gpt" || !is_in_first_sector(*signature)))
        return unlock_partition(device, *table, key, policy);

    if (header || header.error().error.kind() != ErrorKind::NotFound)
        return unlock_inside(device, key, policy);
    if (!table && table.error().kind() == ErrorKind::Corrupt && *signature == Signature::PartitionTable)
        return refuse(table.error(), kDiskOperationFailed);
    return unlock_other(device, *signature, key, policy);
}

Result<std::unique_ptr<BlockDevice>> open_volume(BlockDevice& device, const UnlockedVolume& volume) {
    using Opened = Result<std::unique_ptr<BlockDevice>>;
    return std::visit(Overloaded{
                          [&](const PlainSegment& plain) -> Opened {
                              return std::make_unique<Slice>(device, plain.offset, plain.size);
                          },
                          [&](const LuksSegment& luks) -> Opened { return LuksVolume::open(device, volume.key, luks); },
                          [&](const BitLockerSegment& bitlocker) -> Opened {
                              return BitLockerVolume::open(device, volume.key, bitlocker);
                          },
                      },
                      volume.segment);
}

}  // namespace dray::volume
