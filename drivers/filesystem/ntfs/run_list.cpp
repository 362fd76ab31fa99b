// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ntfs/run_list.hpp"

namespace dray::fs::ntfs {
namespace {

constexpr std::size_t kLongestNumber = 8;

std::uint64_t number(std::span<const std::byte> bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = bytes.size(); i-- > 0;)
        value = value << 8 | static_cast<std::uint64_t>(bytes[i]);
    return value;
}

std::int64_t signed_number(std::span<const std::byte> bytes) {
    const std::size_t unused = 64 - 8 * bytes.size();
    return static_cast<std::int64_t>(number(bytes) << unused) >> unused;
}

void add(std::vector<Run>& runs, const Run& run) {
    if (!runs.empty()) {
        Run& last = runs.back();
        if (last.is_hole == run.is_hole && (run.is_hole || last.lcn + last.length == run.lcn)) {
            last.length += run.length;
            return;
        }
    }
    runs.push_back(run);
}

}  // namespace

Result<std::vector<Run>> unpack_runs(std::span<const std::byte> packed, std::uint64_t first, std::uint64_t end,
                                     std::uint64_t clusters) {
    std::vector<Run> runs;
    std::uint64_t vcn = first;
    std::int64_t lcn = 0;
    std::size_t at = 0;
    while (at < packed.size() && packed[at] != std::byte{0}) {
        const std::size_t length_size = static_cast<std::size_t>(packed[at]) & 15;
        const std::size_t place_size = static_cast<std::size_t>(packed[at]) >> 4;
        ++at;
        if (length_size == 0 || length_size > kLongestNumber || place_size > kLongestNumber ||
            length_size + place_size > packed.size() - at)
            return fail(ErrorKind::Corrupt, "the list of its clusters is damaged");
        const std::uint64_t length = number(packed.subspan(at, length_size));
        if (length == 0 || vcn > end || length > end - vcn)
            return fail(ErrorKind::Corrupt, "the list of its clusters has another length than it says");
        Run run{vcn, length, 0, place_size == 0};
        if (!run.is_hole) {
            const std::int64_t step = signed_number(packed.subspan(at + length_size, place_size));
            if (__builtin_add_overflow(lcn, step, &lcn) || lcn < 0 || static_cast<std::uint64_t>(lcn) > clusters ||
                length > clusters - static_cast<std::uint64_t>(lcn))
                return fail(ErrorKind::Corrupt, "some of its clusters lie outside the volume");
            run.lcn = static_cast<std::uint64_t>(lcn);
        }
        add(runs, run);
        vcn += length;
        at += length_size + place_size;
    }
    if (vcn != end)
        return fail(ErrorKind::Corrupt, "the list of its clusters has another length than it says");
    return runs;
}

}  // namespace dray::fs::ntfs
