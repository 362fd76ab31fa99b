// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/luks/luks_unlock.hpp"

#include <cerrno>
#include <string_view>
#include <utility>

namespace dray::volume {
namespace {

/// What the policy refuses, as the drive's log says it.
const char* status_of(const Error& error) {
    switch (error.kind()) {
        case ErrorKind::Corrupt: return kDiskOperationFailed;
        case ErrorKind::NotFound: return kProtectorNotFound;
        default: return kUnlockVolumeFailed;
    }
}

}  // namespace

OpenResult<LoadedLuks> load_luks(BlockDevice& device, const LuksHeader& header, Bytes unlock_memory) {
    if (Result<void> known = check_luks1_hash(header); !known)
        return refuse(std::move(known.error()), kUnlockVolumeFailed);
    Result<HeaderCopy> copy = copy_luks_header(device, header);
    if (!copy)
        return refuse(copy.error(), kDiskOperationFailed);
    Result<CryptDevice> crypt = open_crypt_header(copy->memory.get());
    if (!crypt)
        return refuse(std::move(crypt.error()), kUnlockVolumeFailed);
    const bool is_luks2 = header.version == 2;
    const int loaded = crypt_load(crypt->get(), is_luks2 ? CRYPT_LUKS2 : CRYPT_LUKS1, nullptr);
    if (loaded != 0 && copy->unread)
        return refuse(Error(*std::move(copy->unread), "the LUKS header cannot be read"), kDiskOperationFailed);
    if (loaded != 0)
        return refuse({ErrorKind::Corrupt, is_luks2 ? "both LUKS headers are damaged" : "the LUKS header is damaged"},
                      kFailed);
    LoadedLuks luks;
    Result<LuksSegment> segment = check_luks_policy(crypt->get(), header, device.size(), unlock_memory);
    if (!segment) {
        const char* status = status_of(segment.error());
        return refuse(std::move(segment.error()), status);
    }
    const char* uuid = crypt_get_uuid(crypt->get());
    luks.identity = {is_luks2 ? "luks2" : "luks1", uuid != nullptr ? tame(uuid) : ""};
    luks.segment = *segment;
    luks.device = *std::move(crypt);
    luks.unread = std::move(copy->unread);
    return luks;
}

OpenResult<SecretBytes> open_luks(const LoadedLuks& luks, const SecretBytes& key) {
    SecretBytes volume(static_cast<std::size_t>(crypt_get_volume_key_size(luks.device.get())));
    std::size_t length = volume.size();
    const int error =
        crypt_volume_key_get(luks.device.get(), CRYPT_ANY_SLOT, reinterpret_cast<char*>(volume.data()), &length,
                             reinterpret_cast<const char*>(key.data()), key.size());
    if (error >= 0 && length == volume.size())
        return volume;
    if (error < 0 && luks.unread)
        return refuse(Error(*luks.unread, "the key opens none of the key slots that can be read"),
                      kDiskOperationFailed);
    if (error == -EPERM) {
        const bool ends_in_line_break = key.text().ends_with('\n') || key.text().ends_with('\r');
        return refuse({ErrorKind::WrongKey, std::string("the key does not unlock the volume") +
                                                (ends_in_line_break ? "; the key ends in a line break" : "")},
                      kKeyInvalid);
    }
    if (error == -ENOMEM)
        return refuse({ErrorKind::LimitReached, "there is not enough memory to derive the key"},
                      kUnlockVolumeFailed);
    return refuse({ErrorKind::Corrupt,
                   fmt::format("the volume cannot be unlocked: {}", errno_text(error < 0 ? -error : EINVAL))},
                  kUnlockVolumeFailed);
}

}  // namespace dray::volume
