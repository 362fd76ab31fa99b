// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/bitlocker/bitlocker_cipher.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace dray::volume {
namespace {

constexpr std::uint16_t kFirstNumber = 0x8000;
constexpr std::size_t kTweak = 16;
/// Sectors whose tweaks are made in one go: what is decrypted stays in the processor's cache.
constexpr std::size_t kRun = 256;

struct Known {
    std::string_view name;
    std::size_t key_size;
};
constexpr std::array<Known, kBitLockerAlgorithms> kKnown{{{"AES-CBC 128 with diffuser", 32},
                                                          {"AES-CBC 256 with diffuser", 64},
                                                          {"AES-CBC 128", 16},
                                                          {"AES-CBC 256", 32},
                                                          {"AES-XTS 128", 32},
                                                          {"AES-XTS 256", 64}}};

const Known& known(BitLockerAlgorithm algorithm) { return kKnown[static_cast<std::size_t>(algorithm)]; }

bool is_xts(BitLockerAlgorithm algorithm) {
    return algorithm == BitLockerAlgorithm::Xts128 || algorithm == BitLockerAlgorithm::Xts256;
}

bool has_diffuser(BitLockerAlgorithm algorithm) {
    return algorithm == BitLockerAlgorithm::Cbc128Diffuser || algorithm == BitLockerAlgorithm::Cbc256Diffuser;
}

bool starts(EVP_CIPHER_CTX* context, const EVP_CIPHER* cipher, const unsigned char* key, int encrypt) {
    // Sectors are whole blocks, so that nothing is padded.
    return context != nullptr && EVP_CipherInit_ex(context, cipher, nullptr, key, nullptr, encrypt) == 1 &&
           EVP_CIPHER_CTX_set_padding(context, 0) == 1;
}

bool run_whole(EVP_CIPHER_CTX* context, std::span<std::byte> content) {
    auto* bytes = reinterpret_cast<unsigned char*>(content.data());
    const int length = static_cast<int>(content.size());
    int written = 0;
    return EVP_CipherUpdate(context, bytes, &written, bytes, length) == 1 && written == length;
}

void put_number(std::span<std::byte> tweak, std::uint64_t number) {
    for (std::size_t i = 0; i < tweak.size(); ++i)
        tweak[i] = i < 8 ? static_cast<std::byte>(number >> (8 * i)) : std::byte{0};
}

}  // namespace

std::optional<BitLockerAlgorithm> bitlocker_algorithm_of(std::uint16_t number) {
    if (number < kFirstNumber || number >= kFirstNumber + kBitLockerAlgorithms)
        return std::nullopt;
    return static_cast<BitLockerAlgorithm>(number - kFirstNumber);
}

std::string_view to_string(BitLockerAlgorithm algorithm) { return known(algorithm).name; }

std::size_t key_size(BitLockerAlgorithm algorithm) { return known(algorithm).key_size; }

Result<BitLockerCipher> BitLockerCipher::create(BitLockerAlgorithm algorithm, const SecretBytes& key, Bytes sector_size) {
    if (key.size() != key_size(algorithm))
        return fail(ErrorKind::Unsupported, "a key of {} bits is not known for {}", key.size() * 8, to_string(algorithm));
    if (sector_size != 512 && sector_size != 4096)
        return fail(ErrorKind::Unsupported, "a sector size of {} bytes is not known", sector_size);

    BitLockerCipher made(sector_size);
    made.tweaks_.resize(kRun * kTweak);
    made.sectors_.reset(EVP_CIPHER_CTX_new());
    bool is_good = false;
    if (is_xts(algorithm)) {
        const bool is_short = algorithm == BitLockerAlgorithm::Xts128;
        is_good = starts(made.sectors_.get(), is_short ? EVP_aes_128_xts() : EVP_aes_256_xts(), key.data(), 0);
    } else {
        const bool is_short = algorithm == BitLockerAlgorithm::Cbc128 || algorithm == BitLockerAlgorithm::Cbc128Diffuser;
        made.places_.reset(EVP_CIPHER_CTX_new());
        const EVP_CIPHER* block = is_short ? EVP_aes_128_ecb() : EVP_aes_256_ecb();
        is_good = starts(made.sectors_.get(), is_short ? EVP_aes_128_cbc() : EVP_aes_256_cbc(), key.data(), 0) &&
                  starts(made.places_.get(), block, key.data(), 1);
        if (is_good && has_diffuser(algorithm)) {
            made.diffuser_.emplace(sector_size);
            made.sector_keys_.resize(kRun * Elephant::kSectorKey);
            made.diffuser_places_.reset(EVP_CIPHER_CTX_new());
            is_good = starts(made.diffuser_places_.get(), block, key.data() + key.size() / 2, 1);
        }
    }
    if (!is_good)
        return fail(ErrorKind::Internal, "OpenSSL refuses the volume key");
    return made;
}

bool BitLockerCipher::make_tweaks(Bytes offset, std::size_t sectors) {
    const std::span<std::byte> tweaks = std::span(tweaks_).first(sectors * kTweak);
    for (std::size_t i = 0; i < sectors; ++i) {
        const Bytes place = offset + i * sector_size_;
        // XTS counts sectors as large as they are; CBC has the place itself, encrypted.
        put_number(tweaks.subspan(i * kTweak, kTweak), places_ ? place : place / sector_size_);
    }
    if (diffuser_) {
        const std::span<std::byte> keys = std::span(sector_keys_).first(sectors * Elephant::kSectorKey);
        for (std::size_t i = 0; i < sectors; ++i)
            for (std::size_t half = 0; half < 2; ++half) {
                const std::span<std::byte> part = keys.subspan(i * Elephant::kSectorKey + half * kTweak, kTweak);
                put_number(part, offset + i * sector_size_);
                part.back() = half == 0 ? std::byte{0} : std::byte{0x80};
            }
        if (!run_whole(diffuser_places_.get(), keys))
            return false;
    }
    return !places_ || run_whole(places_.get(), tweaks);
}

Result<void> BitLockerCipher::decrypt_run(Bytes offset, std::span<std::byte> content) {
    const std::size_t sectors = content.size() / sector_size_;
    bool is_good = make_tweaks(offset, sectors);
    for (std::size_t i = 0; i < sectors && is_good; ++i) {
        // The key schedule stays; only the tweak changes from sector to sector.
        const auto* tweak = reinterpret_cast<const unsigned char*>(tweaks_.data() + i * kTweak);
        is_good = EVP_CipherInit_ex(sectors_.get(), nullptr, nullptr, nullptr, tweak, -1) == 1 &&
                  run_whole(sectors_.get(), content.subspan(i * sector_size_, sector_size_));
    }
    if (!is_good)
        return fail(ErrorKind::Internal, "OpenSSL cannot work on a sector");
    if (diffuser_)
        diffuser_->undo(content, sector_keys_);
    return {};
}

Result<void> BitLockerCipher::decrypt(Bytes offset, std::span<std::byte> content) {
    if (offset % sector_size_ != 0 || content.size() % sector_size_ != 0)
        return fail(ErrorKind::Internal, "{} bytes from {} are not whole sectors of {}", content.size(), offset, sector_size_);
    const std::size_t most = kRun * sector_size_;
    while (!content.empty()) {
        const std::span<std::byte> part = content.first(std::min<std::size_t>(most, content.size()));
        DRAY_TRY(decrypt_run(offset, part));
        content = content.subspan(part.size());
        offset += part.size();
    }
    return {};
}

}  // namespace dray::volume
