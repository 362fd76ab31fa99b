// SPDX-License-Identifier: Apache-2.0
#include "daemon/drive/header_check.hpp"

#include <algorithm>
#include <vector>

#include "daemon/base/digest.hpp"
#include "drivers/volume/span_read.hpp"

namespace dray::drive {

Result<std::string> check_header(volume::BlockDevice& device, std::span<const HeaderRegion> regions) {
    constexpr Bytes kStep = kMiB;
    std::vector<std::byte> scratch;
    std::vector<std::byte> buffer;
    for (const HeaderRegion& region : regions) {
        if (region.offset > device.size() || region.length > device.size() - region.offset)
            return fmt::format("the drive header hash does not agree: it names {} bytes at offset {}, and the disk has {} bytes",
                               region.length, region.offset, device.size());
        Digest digest(DigestKind::Sha512);
        for (Bytes done = 0; done < region.length; done += buffer.size()) {
            buffer.resize(std::min(kStep, region.length - done));
            DRAY_TRY(volume::read_span(device, region.offset + done, buffer, scratch));
            digest.update(buffer);
        }
        if (digest.finish() != region.sha512)
            return fmt::format("the drive header hash does not agree: {} bytes at offset {} of the disk are not what they were "
                               "when it was made",
                               region.length, region.offset);
    }
    return std::string();
}

}  // namespace dray::drive
