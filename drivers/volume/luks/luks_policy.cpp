// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/luks/luks_policy.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace dray::volume {
namespace {

/// What OpenSSL derives keys with. A LUKS header may name anything.
constexpr std::array<std::string_view, 6> kHashes{"sha1", "sha224", "sha256", "sha384", "sha512", "ripemd160"};

constexpr int kMaxSlots = 64;

std::string text_of(const char* text) {
    return text != nullptr && *text != '\0' ? tame(text) : "something unknown";
}

bool is_known_hash(std::string_view hash) { return std::ranges::find(kHashes, hash) != kHashes.end(); }

Result<void> check_rounds(const std::string& what, std::uint64_t rounds) {
    if (rounds > kMaxIterations)
        return fail(ErrorKind::LimitReached, "{} asks for {} rounds of key derivation, at most {} are allowed", what,
                    rounds, kMaxIterations);
    return {};
}

Result<void> check_hash(const std::string& what, std::string_view hash) {
    if (!is_known_hash(hash))
        return fail(ErrorKind::Unsupported, "{} derives keys with {}, which is not known", what, hash);
    return {};
}

Result<void> check_derivation(const std::string& slot, const crypt_pbkdf_type& derivation, Bytes unlock_memory) {
    const std::string_view type = derivation.type;
    if (type == CRYPT_KDF_PBKDF2) {
        DRAY_TRY(check_hash(slot, text_of(derivation.hash)));
        return check_rounds(slot, derivation.iterations);
    }
    if (type != CRYPT_KDF_ARGON2I && type != CRYPT_KDF_ARGON2ID)
        return fail(ErrorKind::Unsupported, "{} derives its key with {}, which is not known", slot, text_of(derivation.type));
    const Bytes memory = derivation.max_memory_kb * kKiB;
    if (memory > unlock_memory)
        return fail(ErrorKind::LimitReached,
                    "{} asks for {} of memory to derive its key, drives.unlock-memory allows {}", slot,
                    format_bytes(memory), format_bytes(unlock_memory));
    if (derivation.iterations > kMaxTimeCost)
        return fail(ErrorKind::LimitReached, "{} asks for {} passes to derive its key, at most {} are allowed", slot,
                    derivation.iterations, kMaxTimeCost);
    if (derivation.parallel_threads > kMaxThreads)
        return fail(ErrorKind::LimitReached, "{} asks for {} threads to derive its key, at most {} are allowed", slot,
                    derivation.parallel_threads, kMaxThreads);
    return {};
}

Result<void> check_keyslot(crypt_device* device, int number, Bytes unlock_memory) {
    const std::string slot = fmt::format("key slot {}", number);
    crypt_pbkdf_type derivation{};
    if (crypt_keyslot_get_pbkdf(device, number, &derivation) != 0 || derivation.type == nullptr)
        return fail(ErrorKind::Unsupported, "{} derives its key in an unknown way", slot);
    DRAY_TRY(check_derivation(slot, derivation, unlock_memory));
    // Other ciphers would need the kernel's help, which the box refuses.
    std::size_t key_size = 0;
    const std::string name = text_of(crypt_keyslot_get_encryption(device, number, &key_size));
    const Result<LuksAlgorithm> algorithm = luks_algorithm_of(name);
    if (!algorithm)
        return fail(algorithm.error().kind(), "{} is encrypted with {}", slot, algorithm.error().message());
    return check_luks_key_size(*algorithm, key_size);
}

Result<void> check_keyslots(crypt_device* device, const char* type, Bytes unlock_memory) {
    const int slots = std::clamp(crypt_keyslot_max(type), 0, kMaxSlots);
    bool has_any = false;
    for (int slot = 0; slot < slots; ++slot) {
        const crypt_keyslot_info state = crypt_keyslot_status(device, slot);
        // An unbound slot holds some other key: no key opens the volume through it, but libcryptsetup tries it.
        has_any = has_any || state == CRYPT_SLOT_ACTIVE || state == CRYPT_SLOT_ACTIVE_LAST;
        if (state != CRYPT_SLOT_INVALID && state != CRYPT_SLOT_INACTIVE)
            DRAY_TRY(check_keyslot(device, slot, unlock_memory));
    }
    if (!has_any)
        return fail(ErrorKind::NotFound, "the LUKS header has no key slot, so that no key opens the volume");
    return {};
}

std::string joined_texts(const nlohmann::json& list) {
    std::string text;
    if (list.is_array())
        for (const nlohmann::json& item : list)
            if (item.is_string())
                text += (text.empty() ? "" : ", ") + item.get_ref<const std::string&>();
    return text.empty() ? "something unknown" : tame(text);
}

Result<void> check_requirements(crypt_device* device, const nlohmann::json& json) {
    std::uint32_t flags = 0;
    const int error = crypt_persistent_flags_get(device, CRYPT_FLAGS_REQUIREMENTS, &flags);
    if (error == 0 && flags == 0)
        return {};
    const nlohmann::json::json_pointer place("/config/requirements/mandatory");
    const std::string names = json.contains(place) ? joined_texts(json[place]) : "something unknown";
    if (names.find("reencrypt") != std::string::npos)
        return fail(ErrorKind::Unsupported,
                    "the volume is in the middle of being re-encrypted; let cryptsetup reencrypt finish first");
    return fail(ErrorKind::Unsupported, "the LUKS2 header demands features that are not known: {}", names);
}

Result<void> check_digests(const nlohmann::json& json) {
    const auto digests = json.find("digests");
    if (digests == json.end() || !digests->is_object())
        return fail(ErrorKind::Corrupt, "the LUKS2 header has no digest of the volume key");
    for (const nlohmann::json& digest : *digests) {
        const auto rounds = digest.is_object() ? digest.find("iterations") : digest.end();
        if (rounds == digest.end() || !rounds->is_number_unsigned())
            return fail(ErrorKind::Unsupported, "the LUKS2 header has a digest of an unknown kind");
        DRAY_TRY(check_rounds("the digest of the volume key", rounds->get<std::uint64_t>()));
    }
    return {};
}

/// The fixed size of the one segment, or 0 when it reaches to the end of the device.
Result<Bytes> check_segments(const nlohmann::json& json) {
    const auto segments = json.find("segments");
    if (segments == json.end() || !segments->is_object() || segments->empty())
        return fail(ErrorKind::Unsupported, "the LUKS2 header has no data segment: its data is elsewhere");
    if (segments->size() != 1)
        return fail(ErrorKind::Unsupported, "the LUKS2 volume has {} data segments, only one is possible",
                    segments->size());
    const nlohmann::json& segment = segments->front();
    if (!segment.is_object() || segment.value("type", nlohmann::json()) != "crypt")
        return fail(ErrorKind::Unsupported, "the data segment of the LUKS2 volume is of an unknown kind");
    if (segment.contains("integrity"))
        return fail(ErrorKind::Unsupported, "the LUKS2 volume has integrity tags, which cannot be read");
    if (segment.contains("flags"))
        return fail(ErrorKind::Unsupported, "the data segment of the LUKS2 volume has flags that are not known");
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

Result<Bytes> check_luks2(crypt_device* device) {
    const char* text = nullptr;
    if (crypt_dump_json(device, &text, 0) != 0 || text == nullptr)
        return fail(ErrorKind::Corrupt, "the LUKS2 header cannot be read");
    const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
    if (!json.is_object())
        return fail(ErrorKind::Corrupt, "the LUKS2 header cannot be read");
    DRAY_TRY(check_requirements(device, json));
    DRAY_TRY(check_digests(json));
    return check_segments(json);
}

Result<LuksAlgorithm> check_cipher(crypt_device* device) {
    const std::string name =
        fmt::format("{}-{}", text_of(crypt_get_cipher(device)), text_of(crypt_get_cipher_mode(device)));
    const Result<LuksAlgorithm> algorithm = luks_algorithm_of(name);
    if (!algorithm)
        return fail(algorithm.error().kind(), "the volume is encrypted with {}", algorithm.error().message());
    return *algorithm;
}

Result<void> check_place(const LuksSegment& segment, Bytes fixed_size, Bytes device_size) {
    if (segment.offset >= device_size || device_size - segment.offset < segment.sector_size)
        return fail(ErrorKind::Corrupt, "the device ends at {}, before its encrypted data begins at {}", device_size,
                    segment.offset);
    if (fixed_size > device_size - segment.offset)
        return fail(ErrorKind::Corrupt, "the device ends at {}, but its encrypted data reaches to {}", device_size,
                    fixed_size > ~Bytes{0} - segment.offset ? "beyond all bounds"
                                                            : std::to_string(segment.offset + fixed_size));
    return {};
}

}  // namespace

std::string tame(std::string_view text) {
    constexpr std::size_t kMost = 200;
    std::string tamed(text.substr(0, kMost));
    for (char& c : tamed)
        if (c < ' ' || c > '~')
            c = '?';
    return tamed;
}

Result<void> check_luks1_hash(const LuksHeader& header) {
    if (header.version == 1)
        return check_hash("the LUKS1 header", text_of(header.hash.c_str()));
    return {};
}

Result<LuksSegment> check_luks_policy(crypt_device* device, const LuksHeader& header, Bytes device_size,
                                      Bytes unlock_memory) {
    const bool is_luks2 = header.version == 2;
    Bytes fixed_size = 0;
    if (is_luks2) {
        DRAY_LET(fixed_size, check_luks2(device));
    } else {
        DRAY_TRY(check_rounds("the digest of the volume key", header.digest_iterations));
    }
    LuksSegment segment;
    DRAY_LET(segment.algorithm, check_cipher(device));
    DRAY_TRY(check_keyslots(device, is_luks2 ? CRYPT_LUKS2 : CRYPT_LUKS1, unlock_memory));
    const int key_size = crypt_get_volume_key_size(device);
    DRAY_TRY(check_luks_key_size(segment.algorithm, static_cast<std::size_t>(std::max(0, key_size))));

    constexpr Bytes kUnit = 512;
    const std::uint64_t units = crypt_get_data_offset(device);
    segment.offset = units > ~Bytes{0} / kUnit ? ~Bytes{0} : units * kUnit;
    segment.sector_size = static_cast<Bytes>(crypt_get_sector_size(device));
    segment.iv_tweak = crypt_get_iv_offset(device);
    if (segment.sector_size < 512 || segment.sector_size > 4096 || segment.sector_size % 512 != 0)
        return fail(ErrorKind::Unsupported, "a sector size of {} bytes is not known", segment.sector_size);
    DRAY_TRY(check_place(segment, fixed_size, device_size));
    const Bytes room = device_size - segment.offset;
    segment.size = (fixed_size != 0 ? fixed_size : room) / segment.sector_size * segment.sector_size;
    if (segment.size == 0)
        return fail(ErrorKind::Corrupt, "the encrypted data is shorter than one sector");
    return segment;
}

}  // namespace dray::volume
