// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ntfs/ntfs_state.hpp"

#include <array>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "drivers/filesystem/ntfs/attribute_map.hpp"
#include "drivers/filesystem/ntfs/ntfs_bytes.hpp"
#include "drivers/filesystem/ntfs/ntfs_library.hpp"

namespace dray::fs {
namespace {

using ntfs::load;

/// All that UTF-16 has in one unit.
constexpr Bytes kUpcaseBytes = Bytes{65536} * 2;
constexpr std::size_t kVolumeFlags = 10;
constexpr unsigned kIsDirty = 1;
/// The log begins with two pages that say how it was left; the one that was written last counts.
constexpr std::size_t kRestartPage = 4096;
constexpr unsigned kNobody = 0xffff;
constexpr unsigned kWasCleanlyClosed = 2;

Result<AttributeMap> open_part(NtfsVolume& volume, MftReference reference, Part part) {
    DRAY_LET(const NtfsInode inode, volume.open_inode(reference));
    return AttributeMap::open(volume, *inode, reference, part);
}

Result<std::vector<std::byte>> read_start(NtfsVolume& volume, MftReference reference, Part part, Bytes length) {
    DRAY_LET(AttributeMap map, open_part(volume, reference, part));
    if (map.size() < length)
        return fail(ErrorKind::NotFound, "it is too short");
    std::vector<std::byte> start(static_cast<std::size_t>(length));
    DRAY_TRY(map.read_cached(0, start));
    return start;
}

/// What cannot be read says nothing; only the end of the device is an error.
template <typename Value>
Result<std::optional<Value>> unless_gone(Result<Value> result) {
    if (result)
        return std::optional<Value>(*std::move(result));
    if (result.error().kind() == ErrorKind::Gone)
        return fail(std::move(result.error()));
    return std::nullopt;
}

bool is_dirty(std::span<const std::byte> information) {
    return (load<std::uint16_t>(information, kVolumeFlags) & kIsDirty) != 0;
}

struct Restart {
    std::uint64_t number = 0;
    bool is_clean = false;
};

std::optional<Restart> restart_of(std::span<const std::byte> page) {
    const std::size_t area = load<std::uint16_t>(page, 24);
    if (load<std::uint32_t>(page, 0) != ntfs::kRestartMagic || area + 16 > 510)
        return std::nullopt;
    const unsigned user = load<std::uint16_t>(page, area + 12);
    const unsigned flags = load<std::uint16_t>(page, area + 14);
    return Restart{load<std::uint64_t>(page, area), user == kNobody || (flags & kWasCleanlyClosed) != 0};
}

/// An emptied log is no sign of anything.
bool is_log_in_use(std::span<const std::byte> start) {
    const std::optional<Restart> first = restart_of(start.first(kRestartPage));
    const std::optional<Restart> second = restart_of(start.subspan(kRestartPage));
    const std::optional<Restart>& last = !second || (first && first->number >= second->number) ? first : second;
    return last && !last->is_clean;
}

bool is_hibernated(std::span<const std::byte> start) {
    const std::string_view magic(reinterpret_cast<const char*>(start.data()), 4);
    return magic == "hibr" || magic == "HIBR";
}

Result<std::vector<std::byte>> read_hibernation(NtfsVolume& volume, NtfsDirectory& root) {
    DRAY_LET(const MftReference file, root.find(u"hiberfil.sys"));
    return read_start(volume, file, Part::Content, 512);
}

}  // namespace

Result<void> load_upcase(NtfsVolume& volume) {
    DRAY_LET(const auto table, unless_gone(read_start(volume, FILE_UpCase, Part::Content, kUpcaseBytes)));
    if (!table)
        return {};
    std::vector<char16_t> upcase(table->size() / 2);
    for (std::size_t i = 0; i < upcase.size(); ++i)
        upcase[i] = static_cast<char16_t>(load<std::uint16_t>(*table, 2 * i));
    volume.set_upcase(std::move(upcase));
    return {};
}

Result<std::string> notice_of(NtfsVolume& volume, NtfsDirectory& root) {
    DRAY_LET(const auto hibernation, unless_gone(read_hibernation(volume, root)));
    if (hibernation && is_hibernated(*hibernation))
        return "Windows hibernated with the NTFS in use: changes that it had not written yet are missing here";
    DRAY_LET(const auto information, unless_gone(read_start(volume, FILE_Volume, Part::VolumeInformation, 12)));
    DRAY_LET(const auto log, unless_gone(read_start(volume, FILE_LogFile, Part::Content, 2 * kRestartPage)));
    if ((information && is_dirty(*information)) || (log && is_log_in_use(*log)))
        return "the NTFS was not unmounted cleanly: changes that only its log knows are missing here";
    return "";
}

}  // namespace dray::fs
