// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/bitlocker/bitlocker_unlock.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "daemon/base/memfd.hpp"
#include "drivers/volume/bitlocker/bitlocker_key.hpp"
#include "drivers/volume/crypt_library.hpp"

namespace dray::volume {
namespace {

std::unexpected<OpenError> wrong_key(std::string sentence) {
    return refuse({ErrorKind::WrongKey, std::move(sentence)}, kKeyInvalid);
}

bool has_protector(const BitLockerHeader& header, std::uint16_t kind, std::string_view id = {}) {
    return std::ranges::any_of(header.protectors, [&](const BitLockerProtector& protector) {
        return protector.kind == kind && (id.empty() || protector.id == id);
    });
}

/// What can be said without deriving anything.
OpenResult<BitLockerKey> fitting_key(const BitLockerHeader& header, const SecretBytes& given) {
    BitLockerKey key = bitlocker_key_of(given);
    const std::string protectors = names_of(header.protectors);
    switch (key.kind) {
        case BitLockerKeyKind::StartUpKeyFile:
            if (!has_protector(header, kStartUpKey, key.protector))
                return wrong_key(fmt::format("the start-up key file is for the protector {}, which the volume does not have (it is protected by {})",
                                             key.protector, protectors));
            return key;
        case BitLockerKeyKind::RecoveryKey:
            if (Result<void> checked = check_digits(key); !checked)
                return refuse(std::move(checked.error()), kKeyInvalid);
            if (!has_protector(header, kRecoveryPassword))
                return wrong_key(fmt::format("the key is a recovery key, but the volume is protected by {}", protectors));
            return key;
        case BitLockerKeyKind::Password: break;
    }
    if (!has_protector(header, kPassword))
        return wrong_key(fmt::format("the key is a password, but the volume is protected by {}{}", protectors, hint_about(key)));
    return key;
}

/// The volume as far as libcryptsetup has to know it: the copy of the metadata that was checked, in all three places.
Result<FileDescriptor> copy_header(const BitLockerHeader& header) {
    std::array<MemfdPart, 1 + kMetadataCopies> parts{};
    parts[0] = {0, header.start};
    Bytes size = header.start.size();
    for (std::size_t i = 0; i < kMetadataCopies; ++i) {
        parts[1 + i] = {header.segment.metadata[i], header.metadata};
        size = std::max(size, header.segment.metadata[i] + kMetadataArea);
    }
    return make_sealed_memfd("dray-header", size, parts);
}

OpenResult<CryptDevice> load(int memory) {
    Result<CryptDevice> device = open_crypt_header(memory);
    if (!device)
        return refuse(std::move(device.error()), kUnlockVolumeFailed);
    if (crypt_load(device->get(), CRYPT_BITLK, nullptr) != 0)
        return refuse({ErrorKind::Corrupt, "libcryptsetup does not understand the BitLocker metadata"}, kFailed);
    return *std::move(device);
}

std::unexpected<OpenError> refusal(int error, const BitLockerKey& key) {
    // EINVAL is a password that is no UTF-8, which cannot be brought into the form that Windows derives keys from, and what
    // libcryptsetup 2.6 says where a recovery key opens nothing. Damage it would have found in load().
    if (error == -EPERM || error == -EINVAL)
        return wrong_key("the key does not unlock the volume" + hint_about(key));
    if (error == -ENOMEM)
        return refuse({ErrorKind::LimitReached, "there is not enough memory to derive the key"}, kUnlockVolumeFailed);
    return refuse({ErrorKind::Corrupt, fmt::format("the BitLocker volume cannot be unlocked: {}", errno_text(error < 0 ? -error : EINVAL))},
                  kUnlockVolumeFailed);
}

}  // namespace

OpenResult<SecretBytes> open_bitlocker(const BitLockerHeader& header, const SecretBytes& given) {
    DRAY_LET(const BitLockerKey key, fitting_key(header, given));
    const Result<FileDescriptor> copy = copy_header(header);
    if (!copy)
        return refuse(copy.error(), kUnlockVolumeFailed);
    DRAY_LET(const CryptDevice device, load(copy->get()));
    SecretBytes volume(key_size(header.segment.algorithm));
    std::size_t length = volume.size();
    const int error =
        crypt_volume_key_get(device.get(), CRYPT_ANY_SLOT, reinterpret_cast<char*>(volume.data()), &length,
                             reinterpret_cast<const char*>(key.bytes.data()), key.bytes.size());
    if (error < 0)
        return refusal(error, key);
    if (length != volume.size())
        return refuse({ErrorKind::Corrupt, fmt::format("the volume key has {} bytes, but {} takes {}", length,
                                                       to_string(header.segment.algorithm), volume.size())},
                      kFailed);
    return volume;
}

}  // namespace dray::volume
