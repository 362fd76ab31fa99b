// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/luks/luks_policy.hpp"

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace dray::volume {
namespace {

constexpr std::uint32_t kMaxTimeCost = 100;
constexpr std::uint32_t kMaxIterations = 20'000'000;
constexpr std::uint32_t kMaxThreads = 16;
constexpr std::string_view kCipher = "aes-xts-plain64";

Result<void> check_keyslot(crypt_device* device, int slot, Bytes unlock_memory) {
    crypt_pbkdf_type derivation{};
    if (crypt_keyslot_get_pbkdf(device, slot, &derivation) != 0 || derivation.type == nullptr)
        return fail(ErrorKind::Unsupported, "key slot {} derives its key in an unknown way", slot);
    if (std::string_view(derivation.type) == CRYPT_KDF_PBKDF2) {
        if (derivation.iterations > kMaxIterations)
            return fail(ErrorKind::LimitReached,
                        "key slot {} asks for {} rounds of key derivation, at most {} are allowed", slot,
                        derivation.iterations, kMaxIterations);
    } else {
        const Bytes memory = derivation.max_memory_kb * kKiB;
        if (memory > unlock_memory)
            return fail(ErrorKind::LimitReached,
                        "key slot {} asks for {} of memory to derive its key, drives.unlock-memory is {}",
                        slot, format_bytes(memory), format_bytes(unlock_memory));
        if (derivation.iterations > kMaxTimeCost || derivation.parallel_threads > kMaxThreads)
            return fail(ErrorKind::LimitReached,
                        "key slot {} asks for {} passes in {} threads to derive its key, at most {} and {} "
                        "are allowed",
                        slot, derivation.iterations, derivation.parallel_threads, kMaxTimeCost, kMaxThreads);
    }
    // Other ciphers would need the kernel's help, which the box refuses.
    std::size_t key_size = 0;
    const char* cipher = crypt_keyslot_get_encryption(device, slot, &key_size);
    if (cipher == nullptr || cipher != kCipher)
        return fail(ErrorKind::Unsupported, "key slot {} is encrypted with {}, only {} is known", slot,
                    cipher != nullptr ? cipher : "an unknown cipher", kCipher);
    return {};
}

Result<void> check_keyslots(crypt_device* device, const char* type, Bytes unlock_memory) {
    const int slots = std::clamp(crypt_keyslot_max(type), 0, 64);
    for (int slot = 0; slot < slots; ++slot) {
        const crypt_keyslot_info state = crypt_keyslot_status(device, slot);
        if (state != CRYPT_SLOT_INVALID && state != CRYPT_SLOT_INACTIVE)
            DRAY_TRY(check_keyslot(device, slot, unlock_memory));
    }
    return {};
}

/// Answers the fixed size of the one segment, or 0 when it reaches to the end of the device.
Result<Bytes> check_luks2_layout(crypt_device* device) {
    std::uint32_t requirements = 0;
    if (crypt_persistent_flags_get(device, CRYPT_FLAGS_REQUIREMENTS, &requirements) != 0 ||
        requirements != 0)
        return fail(ErrorKind::Unsupported,
                    "the LUKS2 header demands something unknown, or the volume is being re-encrypted");
    const char* text = nullptr;
    if (crypt_dump_json(device, &text, 0) != 0 || text == nullptr)
        return fail(ErrorKind::Corrupt, "the LUKS2 header cannot be read");
    const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
    const auto segments = json.is_object() ? json.find("segments") : json.end();
    if (segments == json.end() || !segments->is_object() || segments->size() != 1)
        return fail(ErrorKind::Unsupported, "the LUKS2 volume is not one single segment");
    const nlohmann::json& segment = segments->front();
    if (!segment.is_object() || segment.value("type", nlohmann::json()) != "crypt" ||
        segment.contains("integrity") || segment.contains("flags"))
        return fail(ErrorKind::Unsupported, "the LUKS2 volume has integrity tags or an unknown layout");
    const nlohmann::json size = segment.value("size", nlohmann::json());
    if (!size.is_string())
        return fail(ErrorKind::Corrupt, "the LUKS2 segment has no size");
    const auto& digits = size.get_ref<const std::string&>();
    if (digits == "dynamic")
        return Bytes{0};
    Bytes number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error != std::errc() || end != digits.data() + digits.size() || number == 0)
        return fail(ErrorKind::Corrupt, "the LUKS2 segment has an impossible size");
    return number;
}

Result<void> check_cipher(crypt_device* device) {
    const char* cipher = crypt_get_cipher(device);
    const char* mode = crypt_get_cipher_mode(device);
    const std::string name = fmt::format("{}-{}", cipher != nullptr ? cipher : "?",
                                         mode != nullptr ? mode : "?");
    if (name != kCipher)
        return fail(ErrorKind::Unsupported, "the volume is encrypted with {}, only {} is known", name,
                    kCipher);
    const int key_size = crypt_get_volume_key_size(device);
    if (key_size != 32 && key_size != 64)
        return fail(ErrorKind::Unsupported, "the volume key has {} bytes, only 32 and 64 are known", key_size);
    return {};
}

}  // namespace

Result<LuksSegment> check_luks_policy(crypt_device* device, bool is_luks2, Bytes device_size,
                                      Bytes unlock_memory) {
    Bytes fixed_size = 0;
    if (is_luks2) {
        DRAY_LET(fixed_size, check_luks2_layout(device));
    }
    DRAY_TRY(check_cipher(device));
    DRAY_TRY(check_keyslots(device, is_luks2 ? CRYPT_LUKS2 : CRYPT_LUKS1, unlock_memory));

    LuksSegment segment;
    const std::uint64_t units = crypt_get_data_offset(device);
    if (units > device_size / 512)
        return fail(ErrorKind::Corrupt, "the device ends at {}, before its encrypted data begins at {}",
                    device_size, fmt::format("sector {}", units));
    segment.offset = units * 512;
    segment.sector_size = static_cast<Bytes>(crypt_get_sector_size(device));
    segment.iv_tweak = crypt_get_iv_offset(device);
    if (segment.sector_size < 512 || segment.sector_size > 4096 || segment.sector_size % 512 != 0)
        return fail(ErrorKind::Unsupported, "a sector size of {} bytes is not known", segment.sector_size);
    const Bytes room = device_size - segment.offset;
    if (fixed_size > room)
        return fail(ErrorKind::Corrupt, "the device ends at {}, but its encrypted data reaches to {}",
                    device_size, segment.offset + fixed_size);
    segment.size = (fixed_size != 0 ? fixed_size : room) / segment.sector_size * segment.sector_size;
    if (segment.size == 0)
        return fail(ErrorKind::Corrupt, "the device ends at {}, before its encrypted data begins",
                    device_size);
    return segment;
}

}  // namespace dray::volume
