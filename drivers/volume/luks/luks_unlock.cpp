// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/luks/luks_unlock.hpp"

#include <libcryptsetup.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cctype>
#include <utility>

#include "daemon/base/handle.hpp"
#include "daemon/base/log.hpp"
#include "drivers/volume/luks/luks_header.hpp"
#include "drivers/volume/signature.hpp"

namespace dray::volume {
namespace {

using CryptDevice = Handle<crypt_device, crypt_free>;

void log_line(int /*level*/, const char* line, void* /*user*/) noexcept {
    // libcryptsetup's words are for the terminal of someone who typed cryptsetup; ours come as errors.
    std::string_view text(line != nullptr ? line : "");
    while (text.ends_with('\n'))
        text.remove_suffix(1);
    log::debug("libcryptsetup: {}", text);
}

Result<CryptDevice> open_header(int memory) {
    crypt_device* bare = nullptr;
    const int error = crypt_init(&bare, fmt::format("/proc/self/fd/{}", memory).c_str());
    CryptDevice device(bare);
    if (error != 0)
        return fail_errno(-error, "libcryptsetup cannot open the copy of the header");
    return device;
}

void silence_library() {
    (void)crypt_metadata_locking(nullptr, 0);  // nobody else has this memfd
    crypt_token_external_disable();
    crypt_set_log_callback(nullptr, log_line, nullptr);
}

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

/// No LUKS here: say what there is instead.
OpenResult<UnlockedVolume> without_luks(BlockDevice& device, const UnlockPolicy& policy) {
    const Result<Signature> signature = read_signature(device);
    if (!signature)
        return refuse(signature.error(), kDiskOperationFailed);
    if (*signature == Signature::BitLocker)
        return refuse({ErrorKind::Unsupported, "the volume is encrypted with BitLocker, which cannot be "
                                               "unlocked; use LUKS"},
                      kUnlockVolumeFailed);
    if (is_filesystem(*signature) && policy.allow_plain) {
        if (auto fits = check_identifier("", policy.volume_id); !fits)
            return std::unexpected(std::move(fits.error()));
        UnlockedVolume volume;
        volume.identity.type = "plain";
        volume.segment.size = device.size();
        return volume;
    }
    if (is_filesystem(*signature))
        return refuse({ErrorKind::Denied,
                       fmt::format("the drive is not encrypted: it holds {}", to_string(*signature))},
                      kNotActivated);
    return refuse({ErrorKind::Unsupported, fmt::format("the drive has no encrypted volume: it holds {}",
                                                       to_string(*signature))},
                  kVolumeNotFound);
}

OpenResult<SecretBytes> volume_key(crypt_device* device, const SecretBytes& key) {
    SecretBytes volume(static_cast<std::size_t>(crypt_get_volume_key_size(device)));
    std::size_t length = volume.size();
    const int error = crypt_volume_key_get(device, CRYPT_ANY_SLOT, reinterpret_cast<char*>(volume.data()),
                                           &length, reinterpret_cast<const char*>(key.data()), key.size());
    if (error >= 0 && length == volume.size())
        return volume;
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

OpenResult<UnlockedVolume> unlock_luks(BlockDevice& device, const LuksHeader& header,
                                       const SecretBytes& key, const UnlockPolicy& policy) {
    const Result<FileDescriptor> copy = copy_luks_header(device, header);
    if (!copy)
        return refuse(copy.error(), kDiskOperationFailed);
    Result<CryptDevice> luks = open_header(copy->get());
    if (!luks)
        return refuse(luks.error(), kUnlockVolumeFailed);
    const bool is_luks2 = header.version == 2;
    if (crypt_load(luks->get(), is_luks2 ? CRYPT_LUKS2 : CRYPT_LUKS1, nullptr) != 0)
        return refuse({ErrorKind::Corrupt, "the LUKS header is damaged"}, kUnlockVolumeFailed);

    UnlockedVolume volume;
    const char* uuid = crypt_get_uuid(luks->get());
    volume.identity = {is_luks2 ? "luks2" : "luks1", uuid != nullptr ? uuid : ""};
    if (auto fits = check_identifier(volume.identity.id, policy.volume_id); !fits)
        return std::unexpected(std::move(fits.error()));
    const Result<LuksSegment> segment =
        check_luks_policy(luks->get(), is_luks2, device.size(), policy.memory);
    if (!segment)
        return refuse(segment.error(), segment.error().kind() == ErrorKind::Corrupt ? kDiskOperationFailed
                                                                                    : kUnlockVolumeFailed);
    volume.segment = *segment;
    OpenResult<SecretBytes> master = volume_key(luks->get(), key);
    if (!master)
        return std::unexpected(std::move(master.error()));
    volume.key = *std::move(master);
    return volume;
}

}  // namespace

Result<void> warm_up_unlocking() {
    silence_library();
    const FileDescriptor empty(memfd_create("dray-warm-up", MFD_CLOEXEC));
    if (!empty)
        return fail_errno(errno, "cannot make a memory file");
    DRAY_LET(const CryptDevice device, open_header(empty.get()));
    (void)crypt_load(device.get(), CRYPT_LUKS, nullptr);  // there is no header; the way there is the point
    // OpenSSL reads its configuration at the first fetch.
    const Handle<EVP_MD, EVP_MD_free> digest(EVP_MD_fetch(nullptr, "SHA256", nullptr));
    const Handle<EVP_CIPHER, EVP_CIPHER_free> cipher(EVP_CIPHER_fetch(nullptr, "AES-256-XTS", nullptr));
    if (!digest || !cipher)
        return fail(ErrorKind::Denied, "OpenSSL offers no SHA-256 or no AES-XTS");
    return {};
}

OpenResult<UnlockedVolume> unlock_volume(BlockDevice& device, const SecretBytes& key,
                                         const UnlockPolicy& policy) {
    const Result<LuksHeader> header = find_luks_header(device);
    if (header)
        return unlock_luks(device, *header, key, policy);
    switch (header.error().kind()) {
        case ErrorKind::NotFound: return without_luks(device, policy);
        case ErrorKind::LimitReached:
        case ErrorKind::Unsupported: return refuse(header.error(), kUnlockVolumeFailed);
        default: return refuse(header.error(), kDiskOperationFailed);
    }
}

}  // namespace dray::volume
