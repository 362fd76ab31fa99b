// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/luks/luks_format.hpp"

#include <libcryptsetup.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "daemon/base/file.hpp"
#include "daemon/base/handle.hpp"
#include "daemon/base/memfd.hpp"
#include "drivers/volume/uuid.hpp"

namespace dray::volume {
namespace {

using CryptDevice = Handle<crypt_device, crypt_free>;

constexpr std::size_t kVolumeKey = 64;
constexpr std::size_t kStride = kMiB;
constexpr Bytes kTail = kMiB;
/// LUKS2_LABEL_L less the zero at its end.
constexpr std::size_t kMaxLabel = 47;
constexpr std::uint32_t kPasses = 4;
constexpr std::uint32_t kThreads = 4;
/// As libcryptsetup has it: argon2 with less is no argon2.
constexpr Bytes kLeastMemory = 32 * kKiB;
constexpr Bytes kMostMemory = 4 * kGiB;
constexpr std::uint32_t kIterations = 1000;

/// Not within a character of UTF-8.
std::string cut(std::string text, std::size_t most) {
    if (text.size() <= most)
        return text;
    while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80)
        --most;
    text.resize(most);
    return text;
}

crypt_pbkdf_type derivation_of(const LuksFormat& format) {
    crypt_pbkdf_type derivation{};
    derivation.hash = "sha256";
    // Else libcryptsetup measures for seconds how much this machine can do.
    derivation.flags = CRYPT_PBKDF_NO_BENCHMARK;
    if (format.is_key_random) {
        derivation.type = CRYPT_KDF_PBKDF2;
        derivation.iterations = kIterations;
        return derivation;
    }
    derivation.type = CRYPT_KDF_ARGON2ID;
    derivation.iterations = kPasses;
    derivation.max_memory_kb = static_cast<std::uint32_t>(format.derivation_memory / kKiB);
    derivation.parallel_threads = kThreads;
    return derivation;
}

Result<void> check(const LuksFormat& format, const SecretBytes& key) {
    if (key.empty())
        return fail(ErrorKind::InvalidArgument, "the key is empty");
    if (format.device_size <= kNewDataOffset)
        return fail(ErrorKind::NoSpace,
                    "the device has {}, and the header of a volume alone takes {}",
                    format_bytes(format.device_size), format_bytes(kNewDataOffset));
    if (!format.is_key_random &&
        (format.derivation_memory < kLeastMemory || format.derivation_memory > kMostMemory))
        return fail(ErrorKind::InvalidArgument,
                    "a key cannot be derived with {} of memory, only with {} to {}",
                    format_bytes(format.derivation_memory), format_bytes(kLeastMemory),
                    format_bytes(kMostMemory));
    return {};
}

Error refusal(int error, const char* sentence) {
    if (error == -ENOMEM)
        return {ErrorKind::LimitReached, "there is not enough memory to derive the key"};
    return {ErrorKind::Internal, fmt::format("{}: {}", sentence, errno_text(-error))};
}

Result<SecretBytes> random_key() {
    SecretBytes key(kVolumeKey);
    if (RAND_priv_bytes(key.data(), static_cast<int>(key.size())) != 1)
        return fail(ErrorKind::Internal, "OpenSSL has no random bytes for a volume key");
    return key;
}

Result<void> make_header(crypt_device* device, const LuksFormat& format,
                         const SecretBytes& volume_key, const SecretBytes& key) {
    if (const int error = crypt_set_data_offset(device, kNewDataOffset / 512); error != 0)
        return fail(refusal(error, "the place of the encrypted data cannot be chosen"));
    const crypt_pbkdf_type derivation = derivation_of(format);
    const std::string label = cut(format.label, kMaxLabel);
    crypt_params_luks2 parameters{};
    parameters.pbkdf = &derivation;
    // dm-crypt wants a device of whole sectors.
    parameters.sector_size = format.device_size % 4096 == 0 ? 4096 : 512;
    parameters.label = label.empty() ? nullptr : label.c_str();
    // libuuid would ask for more than the box allows.
    DRAY_LET(const Uuid uuid, random_uuid());
    const int formatted = crypt_format(
        device, CRYPT_LUKS2, "aes", "xts-plain64", to_string(uuid).c_str(),
        reinterpret_cast<const char*>(volume_key.data()), volume_key.size(), &parameters);
    if (formatted < 0)
        return fail(refusal(formatted, "a LUKS2 header cannot be made"));
    const int slot = crypt_keyslot_add_by_volume_key(
        device, CRYPT_ANY_SLOT, reinterpret_cast<const char*>(volume_key.data()), volume_key.size(),
        reinterpret_cast<const char*>(key.data()), key.size());
    if (slot < 0)
        return fail(refusal(slot, "a key slot cannot be made"));
    return {};
}

Result<void> write_zeros(BlockDevice& device, Bytes offset, Bytes length) {
    std::vector<std::byte> zeros;
    while (length > 0) {
        // Afresh each time: writing may spoil what it was given.
        zeros.assign(static_cast<std::size_t>(std::min<Bytes>(length, kStride)), std::byte{0});
        DRAY_TRY(device.write(offset, zeros));
        offset += zeros.size();
        length -= zeros.size();
    }
    return {};
}

}  // namespace

Result<NewLuks> make_luks(const LuksFormat& format, const SecretBytes& key) {
    DRAY_TRY(check(format, key));
    NewLuks made;
    DRAY_LET(made.header, make_shared_memfd("dray-new-header", kNewDataOffset));
    crypt_device* bare = nullptr;
    const int error = crypt_init(&bare, fmt::format("/proc/self/fd/{}", made.header.get()).c_str());
    const CryptDevice device(bare);
    if (error != 0)
        return fail_errno(-error, "libcryptsetup cannot open a memory file");
    DRAY_LET(made.key, random_key());
    DRAY_TRY(make_header(device.get(), format, made.key, key));
    const char* uuid = crypt_get_uuid(device.get());
    made.identity = {"luks2", uuid != nullptr ? uuid : ""};
    // The very check that stands before unlocking: what we make we must be able to open.
    LuksHeader header;
    header.version = 2;
    header.length = kNewDataOffset;
    DRAY_LET(made.segment,
             check_luks_policy(device.get(), header, format.device_size,
                               std::max(format.derivation_memory, kLeastMemory)));
    return made;
}

Result<void> write_luks_header(BlockDevice& device, const FileDescriptor& header, Bytes place) {
    std::vector<std::byte> part(kStride);
    for (Bytes offset = 0; offset < kNewDataOffset; offset += part.size()) {
        DRAY_TRY(read_fully(header.get(), place + offset, part, "the header of the volume"));
        DRAY_TRY(device.write(offset, part));
    }
    return device.sync();
}

Result<void> wipe_signatures(BlockDevice& device) {
    const Bytes head = std::min(kNewDataOffset, device.size());
    const Bytes tail = std::min(kTail, device.size() - head);
    DRAY_TRY(write_zeros(device, 0, head));
    DRAY_TRY(write_zeros(device, device.size() - tail, tail));
    return device.sync();
}

}  // namespace dray::volume
