// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/luks/luks_cipher.hpp"

#include <algorithm>
#include <utility>

#include "daemon/base/digest.hpp"

namespace dray::volume {
namespace {

struct Known {
    LuksAlgorithm algorithm;
    std::string_view name;
};
constexpr std::array<Known, kLuksAlgorithms> kKnown{
    {{LuksAlgorithm::XtsPlain64, "aes-xts-plain64"},
     {LuksAlgorithm::CbcEssivSha256, "aes-cbc-essiv:sha256"},
     {LuksAlgorithm::CbcPlain64, "aes-cbc-plain64"}}};

const EVP_CIPHER* cipher_of(LuksAlgorithm algorithm, std::size_t key_size) {
    if (algorithm == LuksAlgorithm::XtsPlain64) {
        switch (key_size) {
            case 32: return EVP_aes_128_xts();
            case 64: return EVP_aes_256_xts();
            default: return nullptr;
        }
    }
    switch (key_size) {
        case 16: return EVP_aes_128_cbc();
        case 24: return EVP_aes_192_cbc();
        case 32: return EVP_aes_256_cbc();
        default: return nullptr;
    }
}

bool starts(EVP_CIPHER_CTX* context, const EVP_CIPHER* cipher, const unsigned char* key, int encrypt) {
    // Sectors are whole blocks, so that nothing is padded.
    return context != nullptr && EVP_CipherInit_ex(context, cipher, nullptr, key, nullptr, encrypt) == 1 &&
           EVP_CIPHER_CTX_set_padding(context, 0) == 1;
}

}  // namespace

std::string_view to_string(LuksAlgorithm algorithm) {
    return std::ranges::find(kKnown, algorithm, &Known::algorithm)->name;
}

Result<LuksAlgorithm> luks_algorithm_of(std::string_view name) {
    const auto* found = std::ranges::find(kKnown, name, &Known::name);
    if (found != kKnown.end())
        return found->algorithm;
    if (name.starts_with("cipher_null") || name.starts_with("null"))
        return fail(ErrorKind::Unsupported, "{}, which encrypts nothing at all", name);
    return fail(ErrorKind::Unsupported, "{}; only aes-xts-plain64, aes-cbc-essiv:sha256 and "
                                        "aes-cbc-plain64 are known", name);
}

Result<void> check_luks_key_size(LuksAlgorithm algorithm, std::size_t bytes) {
    if (cipher_of(algorithm, bytes) == nullptr)
        return fail(ErrorKind::Unsupported, "a key of {} bits is not known for {}", bytes * 8,
                    to_string(algorithm));
    return {};
}

LuksCipher::LuksCipher(Context decryption, Context encryption, Context essiv, Bytes sector_size)
    : decryption_(std::move(decryption)),
      encryption_(std::move(encryption)),
      essiv_(std::move(essiv)),
      sector_size_(sector_size) {}

Result<LuksCipher> LuksCipher::create(LuksAlgorithm algorithm, const SecretBytes& key, Bytes sector_size) {
    DRAY_TRY(check_luks_key_size(algorithm, key.size()));
    if (sector_size != 512 && sector_size != 1024 && sector_size != 2048 && sector_size != 4096)
        return fail(ErrorKind::Unsupported, "a sector size of {} bytes is not known", sector_size);

    const EVP_CIPHER* cipher = cipher_of(algorithm, key.size());
    Context decryption(EVP_CIPHER_CTX_new());
    Context encryption(EVP_CIPHER_CTX_new());
    Context essiv;
    if (!starts(decryption.get(), cipher, key.data(), 0) || !starts(encryption.get(), cipher, key.data(), 1))
        return fail(ErrorKind::Internal, "OpenSSL refuses the volume key");
    if (algorithm == LuksAlgorithm::CbcEssivSha256) {
        Digest digest(DigestKind::Sha256);
        digest.update(key.bytes());
        std::vector<std::byte> hashed = digest.finish();
        const SecretBytes salt{std::span<const std::byte>(hashed)};
        OPENSSL_cleanse(hashed.data(), hashed.size());
        essiv.reset(EVP_CIPHER_CTX_new());
        if (!starts(essiv.get(), EVP_aes_256_ecb(), salt.data(), 1))
            return fail(ErrorKind::Internal, "OpenSSL refuses the volume key");
    }
    return LuksCipher(std::move(decryption), std::move(encryption), std::move(essiv), sector_size);
}

bool LuksCipher::make_iv(std::uint64_t unit, Iv& iv) const {
    for (std::size_t i = 0; i < iv.size(); ++i)
        iv[i] = i < 8 ? static_cast<unsigned char>(unit >> (8 * i)) : static_cast<unsigned char>(0);
    const int length = static_cast<int>(iv.size());
    int written = 0;
    return !essiv_ || (EVP_CipherUpdate(essiv_.get(), iv.data(), &written, iv.data(), length) == 1 &&
                       written == length);
}

Result<void> LuksCipher::run(EVP_CIPHER_CTX* context, std::uint64_t unit,
                             std::span<std::byte> content) const {
    const std::uint64_t step = sector_size_ / 512;
    auto* bytes = reinterpret_cast<unsigned char*>(content.data());
    const int length = static_cast<int>(sector_size_);
    Iv iv{};
    for (std::size_t done = 0; done + sector_size_ <= content.size(); done += sector_size_) {
        int written = 0;
        // The key schedule stays; only the IV changes from sector to sector.
        if (!make_iv(unit, iv) ||
            EVP_CipherInit_ex(context, nullptr, nullptr, nullptr, iv.data(), -1) != 1 ||
            EVP_CipherUpdate(context, bytes + done, &written, bytes + done, length) != 1 ||
            written != length)
            return fail(ErrorKind::Internal, "OpenSSL cannot work on a sector");
        unit += step;
    }
    if (content.size() % sector_size_ != 0)
        return fail(ErrorKind::Internal, "{} bytes are not whole sectors of {}", content.size(),
                    sector_size_);
    return {};
}

Result<void> LuksCipher::decrypt(std::uint64_t unit, std::span<std::byte> content) {
    return run(decryption_.get(), unit, content);
}

Result<void> LuksCipher::encrypt(std::uint64_t unit, std::span<std::byte> content) {
    return run(encryption_.get(), unit, content);
}

}  // namespace dray::volume
