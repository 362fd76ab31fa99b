// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/signature.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <vector>

namespace dray::volume {
namespace {

using namespace std::string_view_literals;

struct Magic {
    Signature signature;
    std::size_t offset;
    std::string_view bytes;
};

/// The first that fits counts: NTFS, exFAT and FAT also carry the mark of a partition table at 510.
constexpr auto kMagics = std::to_array<Magic>({
    Magic{Signature::Luks, 0, "LUKS\xba\xbe"sv},
    Magic{Signature::BitLocker, 3, "-FVE-FS-"sv},
    Magic{Signature::Ntfs, 3, "NTFS    "sv},
    Magic{Signature::ExFat, 3, "EXFAT   "sv},
    Magic{Signature::ReFs, 3, "ReFS\0\0\0\0"sv},
    Magic{Signature::Xfs, 0, "XFSB"sv},
    Magic{Signature::Apfs, 32, "NXSB"sv},
    Magic{Signature::Ext, 1024 + 56, "\x53\xef"sv},
    Magic{Signature::HfsPlus, 1024, "H+\x00\x04"sv},
    Magic{Signature::HfsPlus, 1024, "HX\x00\x05"sv},
    Magic{Signature::Btrfs, 65536 + 64, "_BHRfS_M"sv},
    Magic{Signature::Fat, 54, "FAT12   "sv},
    Magic{Signature::Fat, 54, "FAT16   "sv},
    Magic{Signature::Fat, 82, "FAT32   "sv},
    Magic{Signature::F2fs, 1024, "\x10\x20\xf5\xf2"sv},
    Magic{Signature::Lvm, 512 + 24, "LVM2 001"sv},
    Magic{Signature::LinuxRaid, 0, "\xfc\x4e\x2b\xa9\x01\0\0\0"sv},
    Magic{Signature::LinuxRaid, 4096, "\xfc\x4e\x2b\xa9\x01\0\0\0"sv},
    // The pool's description; its first pair has this name.
    Magic{Signature::Zfs, 16384 + 24, "version"sv},
});

/// These count when nothing of the above fits.
constexpr auto kTables = std::to_array<Magic>({
    Magic{Signature::PartitionTable, 512, "EFI PART"sv},
    Magic{Signature::PartitionTable, 4096, "EFI PART"sv},
    Magic{Signature::PartitionTable, 510, "\x55\xaa"sv},
    // The second boot region of an exFAT, for each size of sector: the first one is gone.
    Magic{Signature::ExFat, 12 * 512 + 3, "EXFAT   "sv},
    Magic{Signature::ExFat, 12 * 1024 + 3, "EXFAT   "sv},
    Magic{Signature::ExFat, 12 * 2048 + 3, "EXFAT   "sv},
    Magic{Signature::ExFat, 12 * 4096 + 3, "EXFAT   "sv},
});

bool fits(std::span<const std::byte> start, const Magic& magic) {
    return start.size() >= magic.offset + magic.bytes.size() &&
           std::memcmp(start.data() + magic.offset, magic.bytes.data(), magic.bytes.size()) == 0;
}

/// "To Go" volumes look like FAT32 at first glance; the GUID of BitLocker stands at 424, with another one while
/// encrypt-on-write is under way.
bool is_to_go(std::span<const std::byte> start) {
    constexpr std::string_view kGuid = "\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01"sv;
    constexpr std::string_view kOnWrite = "\x3b\x4d\xa8\x92\x80\xdd\x0e\x4d\x9e\x4e\xb1\xe3\x28\x4e\xae\xd8"sv;
    return fits(start, {Signature::BitLocker, 3, "MSWIN4.1"sv}) &&
           (fits(start, {Signature::BitLocker, 424, kGuid}) || fits(start, {Signature::BitLocker, 424, kOnWrite}));
}

/// A FAT that does not call itself one: the name is for people, what counts are the numbers in front of it.
bool is_nameless_fat(std::span<const std::byte> start) {
    constexpr std::size_t kSector = 512;
    if (start.size() < kSector)
        return false;
    const auto byte = [start](std::size_t place) { return std::to_integer<unsigned>(start[place]); };
    const auto number = [byte](std::size_t place) { return byte(place) | byte(place + 1) << 8U; };
    const bool is_jump = (byte(0) == 0xeb && byte(2) == 0x90) || byte(0) == 0xe9;
    const unsigned sector = number(11);
    return is_jump && number(510) == 0xaa55 && std::has_single_bit(sector) && sector >= kSector && sector <= 4096 &&
           std::has_single_bit(byte(13)) && number(14) != 0 && (byte(16) == 1 || byte(16) == 2) && byte(21) >= 0xf0;
}

/// UDF and ISO 9660 say what they are from 32 KiB on, in descriptors of 2 KiB; what is both is UDF.
Signature optical(std::span<const std::byte> start) {
    Signature found = Signature::Nothing;
    for (std::size_t place = 32768; place + 2048 <= start.size(); place += 2048) {
        if (fits(start, {Signature::Udf, place + 1, "NSR0"sv}))
            return Signature::Udf;
        if (fits(start, {Signature::Iso9660, place + 1, "CD001"sv}))
            found = Signature::Iso9660;
    }
    return found;
}

Signature first_of(std::span<const Magic> magics, std::span<const std::byte> start) {
    const auto found = std::ranges::find_if(magics, [&](const Magic& magic) { return fits(start, magic); });
    return found == magics.end() ? Signature::Nothing : found->signature;
}

}  // namespace

std::string_view to_string(Signature signature) {
    switch (signature) {
        case Signature::Nothing: return "nothing known";
        case Signature::Luks: return "LUKS";
        case Signature::BitLocker: return "BitLocker";
        case Signature::PartitionTable: return "a partition table";
        case Signature::LinuxRaid: return "a member of a Linux RAID";
        case Signature::Lvm: return "a member of an LVM volume group";
        case Signature::Ext: return "ext4";
        case Signature::Ntfs: return "NTFS";
        case Signature::ExFat: return "exFAT";
        case Signature::Fat: return "FAT";
        case Signature::Xfs: return "XFS";
        case Signature::Btrfs: return "Btrfs";
        case Signature::HfsPlus: return "HFS+";
        case Signature::Apfs: return "APFS";
        case Signature::ReFs: return "ReFS";
        case Signature::F2fs: return "F2FS";
        case Signature::Zfs: return "ZFS";
        case Signature::Udf: return "UDF";
        case Signature::Iso9660: return "ISO 9660";
    }
    return "nothing known";
}

bool is_filesystem(Signature signature) { return signature >= Signature::Ext; }

Signature signature_of(std::span<const std::byte> start) {
    if (is_to_go(start))
        return Signature::BitLocker;
    Signature found = first_of(kMagics, start);
    if (found == Signature::Nothing && is_nameless_fat(start))
        found = Signature::Fat;
    if (found == Signature::Nothing)
        found = optical(start);
    return found == Signature::Nothing ? first_of(kTables, start) : found;
}

Result<Signature> read_signature(BlockDevice& device) {
    const Bytes sector = device.sector_size();
    const Bytes length = std::min<Bytes>(kSignatureBytes, device.size()) / sector * sector;
    std::vector<std::byte> start(static_cast<std::size_t>(length));
    const Result<void> whole = device.read(0, start);
    if (!whole && whole.error().kind() != ErrorKind::Internal)
        return fail(whole.error());
    // A place that cannot be read need not be one that a signature stands in.
    constexpr std::size_t kStep = 4 * kKiB;
    for (std::size_t at = 0; !whole && at < start.size(); at += kStep) {
        const std::span<std::byte> part = std::span(start).subspan(at, std::min(kStep, start.size() - at));
        const Result<void> read = device.read(at, part);
        if (!read && (at == 0 || read.error().kind() != ErrorKind::Internal))
            return fail(read.error());
        if (!read)
            std::ranges::fill(part, std::byte{0});
    }
    return signature_of(start);
}

}  // namespace dray::volume
