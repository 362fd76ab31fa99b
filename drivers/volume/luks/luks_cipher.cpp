// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/luks/luks_cipher.hpp"

#include <array>
#include <utility>

namespace dray::volume {

LuksCipher::LuksCipher(Context decryption, Context encryption, Bytes sector_size)
    : decryption_(std::move(decryption)),
      encryption_(std::move(encryption)),
      sector_size_(sector_size) {}

Result<LuksCipher> LuksCipher::create(const SecretBytes& key, Bytes sector_size) {
    const EVP_CIPHER* algorithm = nullptr;
    if (key.size() == 64)
        algorithm = EVP_aes_256_xts();
    else if (key.size() == 32)
        algorithm = EVP_aes_128_xts();
    else
        return fail(ErrorKind::Unsupported, "a volume key of {} bits is not known for aes-xts",
                    key.size() * 8);
    if (sector_size != 512 && sector_size != 1024 && sector_size != 2048 && sector_size != 4096)
        return fail(ErrorKind::Unsupported, "a sector size of {} bytes is not known", sector_size);

    Context decryption(EVP_CIPHER_CTX_new());
    Context encryption(EVP_CIPHER_CTX_new());
    if (!decryption || !encryption ||
        EVP_DecryptInit_ex(decryption.get(), algorithm, nullptr, key.data(), nullptr) != 1 ||
        EVP_EncryptInit_ex(encryption.get(), algorithm, nullptr, key.data(), nullptr) != 1)
        return fail(ErrorKind::Internal, "OpenSSL refuses the volume key");
    return LuksCipher(std::move(decryption), std::move(encryption), sector_size);
}

Result<void> LuksCipher::run(EVP_CIPHER_CTX* context, std::uint64_t unit,
                             std::span<std::byte> content) const {
    const std::uint64_t step = sector_size_ / 512;
    std::array<unsigned char, 16> tweak{};
    auto* bytes = reinterpret_cast<unsigned char*>(content.data());
    const int length = static_cast<int>(sector_size_);
    for (std::size_t done = 0; done + sector_size_ <= content.size(); done += sector_size_) {
        for (std::size_t i = 0; i < 8; ++i)
            tweak[i] = static_cast<unsigned char>(unit >> (8 * i));
        unit += step;
        int written = 0;
        // The key schedule stays; only the tweak changes from sector to sector.
        if (EVP_CipherInit_ex(context, nullptr, nullptr, nullptr, tweak.data(), -1) != 1 ||
            EVP_CipherUpdate(context, bytes + done, &written, bytes + done, length) != 1 ||
            written != length)
            return fail(ErrorKind::Internal, "OpenSSL cannot work on a sector");
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
