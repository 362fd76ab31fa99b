// SPDX-License-Identifier: Apache-2.0
#include "drivers/store/encryption/region_cipher.hpp"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <type_traits>

#include "daemon/base/handle.hpp"

namespace dray::store {
namespace {

using CipherContext = Handle<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free>;

constexpr NonceScheme kSchemes[] = {NonceScheme::Python, NonceScheme::Java, NonceScheme::DotNet};
/// OpenSSL counts in int.
constexpr std::size_t kStep = std::size_t{1} << 30;

/// OpenSSL's view of bytes.
template <typename Range>
auto raw(Range& bytes) {
    using Byte = std::remove_pointer_t<decltype(bytes.data())>;
    using Raw = std::conditional_t<std::is_const_v<Byte>, const unsigned char, unsigned char>;
    return reinterpret_cast<Raw*>(bytes.data());
}

void put_big_endian(std::uint64_t number, std::span<std::byte> to) {
    for (std::size_t i = 0; i < 8; ++i)
        to[i] = static_cast<std::byte>(number >> (56 - 8 * i));
}

struct RegionParts {
    std::span<std::byte, kNonceSize> nonce;
    std::span<std::byte> text;
    std::span<std::byte, kTagSize> tag;
    explicit RegionParts(std::span<std::byte> region)
        : nonce(region.first<kNonceSize>()),
          text(region.subspan(kNonceSize, region.size() - kRegionOverhead)),
          tag(region.last<kTagSize>()) {}
};

auto cipher_failed() { return fail(ErrorKind::Internal, "AES-GCM does not work here"); }

}  // namespace

Result<Bytes> plain_length(Bytes stored, Bytes region) {
    const Bytes whole = region + kRegionOverhead;
    const Bytes rest = stored % whole;
    if (rest != 0 && rest <= kRegionOverhead)
        return fail(ErrorKind::Corrupt, "{} bytes are no length of an encrypted blob: its end is missing", stored);
    return stored - kRegionOverhead * (stored / whole + (rest != 0 ? 1 : 0));
}

std::vector<std::span<std::byte>> text_runs(std::span<std::byte> stored, Bytes region, Bytes offset, Bytes length) {
    std::vector<std::span<std::byte>> runs;
    while (length > 0) {
        const Bytes within = offset % region;
        const Bytes step = std::min(length, region - within);
        runs.push_back(stored.subspan(offset / region * (region + kRegionOverhead) + kNonceSize + within, step));
        offset += step;
        length -= step;
    }
    return runs;
}

Nonce nonce_of(NonceScheme scheme, std::uint64_t region) {
    Nonce nonce{};
    switch (scheme) {
        case NonceScheme::Python: put_big_endian(region, std::span(nonce).subspan<4>()); break;
        case NonceScheme::Java: put_big_endian(region, nonce); break;
        case NonceScheme::DotNet:
            for (std::size_t i = 0; i < 8; ++i)
                nonce[4 + i] = static_cast<std::byte>((region + 1) >> (8 * i));
            break;
    }
    return nonce;
}

bool NonceSchemes::narrow(std::uint64_t region, std::span<const std::byte, kNonceSize> nonce) {
    unsigned fitting = 0;
    for (const NonceScheme scheme : kSchemes)
        if (std::ranges::equal(nonce_of(scheme, region), nonce))
            fitting |= 1U << static_cast<unsigned>(scheme);
    return (left_.fetch_and(fitting) & fitting) != 0;
}

Result<void> RegionCipher::seal(NonceScheme scheme, std::uint64_t number, std::span<std::byte> region) const {
    const RegionParts parts(region);
    const Nonce nonce = nonce_of(scheme, number);
    std::ranges::copy(nonce, parts.nonce.begin());
    const CipherContext context(EVP_CIPHER_CTX_new());
    int length = 0;
    // A region of at most 1 GiB is one step.
    if (!context ||
        EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, content_key_.data(), raw(nonce)) != 1 ||
        EVP_EncryptUpdate(context.get(), raw(parts.text), &length, raw(parts.text),
                          static_cast<int>(parts.text.size())) != 1 ||
        EVP_EncryptFinal_ex(context.get(), raw(parts.tag), &length) != 1 ||
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kTagSize, parts.tag.data()) != 1)
        return cipher_failed();
    return {};
}

Result<void> RegionCipher::seal_all(NonceScheme scheme, std::uint64_t first, std::span<std::byte> stored,
                                    Bytes region) const {
    for (std::uint64_t number = first; !stored.empty(); ++number) {
        const auto whole = stored.first(std::min<Bytes>(stored.size(), region + kRegionOverhead));
        DRAY_TRY(seal(scheme, number, whole));
        stored = stored.subspan(whole.size());
    }
    return {};
}

Result<void> RegionCipher::open(NonceSchemes& schemes, std::uint64_t number, std::span<std::byte> region) const {
    const RegionParts parts(region);
    if (!schemes.narrow(number, parts.nonce))
        return fail(ErrorKind::Corrupt, "its encrypted regions are out of order (at region {})", number);
    const CipherContext context(EVP_CIPHER_CTX_new());
    int length = 0;
    if (!context ||
        EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, content_key_.data(), raw(parts.nonce)) != 1 ||
        EVP_DecryptUpdate(context.get(), raw(parts.text), &length, raw(parts.text),
                          static_cast<int>(parts.text.size())) != 1 ||
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, kTagSize, parts.tag.data()) != 1)
        return cipher_failed();
    if (EVP_DecryptFinal_ex(context.get(), raw(parts.nonce), &length) != 1) {
        ERR_clear_error();
        return fail(ErrorKind::Corrupt, "its encrypted region {} was changed since it was written", number);
    }
    return {};
}

Result<Marker> Marker::create() {
    DRAY_LET(SecretBytes key, random_secret(kContentKeySize));
    return Marker(std::move(key));
}

// GMAC. Its nonce may stay the same because no mark is ever shown.
Result<Mark> Marker::mark(std::span<const std::span<std::byte>> runs) const {
    const CipherContext context(EVP_CIPHER_CTX_new());
    const Nonce nonce{};
    Mark mark{};
    int length = 0;
    bool is_fine = context && EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key_.data(), raw(nonce)) == 1;
    for (std::span<std::byte> run : runs)
        for (; is_fine && !run.empty(); run = run.subspan(std::min(kStep, run.size())))
            is_fine = EVP_EncryptUpdate(context.get(), nullptr, &length, raw(run),
                                        static_cast<int>(std::min(kStep, run.size()))) == 1;
    if (!is_fine || EVP_EncryptFinal_ex(context.get(), raw(mark), &length) != 1 ||
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kTagSize, mark.data()) != 1)
        return cipher_failed();
    return mark;
}

Result<SecretBytes> random_secret(std::size_t size) {
    SecretBytes secret(size);
    if (RAND_priv_bytes(secret.data(), static_cast<int>(size)) != 1)
        return fail(ErrorKind::Internal, "no random numbers for a key");
    return secret;
}

}  // namespace dray::store
