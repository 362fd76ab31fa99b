// SPDX-License-Identifier: Apache-2.0
#include "drivers/store/encryption/key_wrap.hpp"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "daemon/base/encoding.hpp"

namespace dray::store {
namespace {

using CipherContext = Handle<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free>;
using KeyContext = Handle<EVP_PKEY_CTX, EVP_PKEY_CTX_free>;
using Bio = Handle<BIO, BIO_free>;

constexpr int kMinRsaBits = 2048;
/// What RFC 3394 adds.
constexpr std::size_t kWrapOverhead = 8;

/// Bytes of an AES key; 0: not one of the AES algorithms.
std::size_t aes_size(std::string_view algorithm) {
    if (algorithm == "A128KW")
        return 16;
    if (algorithm == "A192KW")
        return 24;
    return algorithm == "A256KW" ? 32 : 0;
}

const EVP_CIPHER* wrap_cipher(std::size_t size) {
    if (size == 16)
        return EVP_aes_128_wrap();
    return size == 24 ? EVP_aes_192_wrap() : EVP_aes_256_wrap();
}

bool is_rsa(std::string_view algorithm) { return algorithm == "RSA-OAEP" || algorithm == "RSA-OAEP-256"; }

bool is_printable(char c) { return c >= 0x20 && c < 0x7F; }

/// Of what decoding put outside of SecretBytes nothing stays.
SecretBytes taken(std::vector<std::byte> bytes) {
    SecretBytes secret{std::span<const std::byte>(bytes)};
    OPENSSL_cleanse(bytes.data(), bytes.size());
    return secret;
}

Result<SecretBytes> aes_key(const EncryptionConfig& config, const SecretBytes& key, std::size_t size) {
    if (key.size() == size)
        return key.clone();
    std::string_view text = key.text();
    if (text.ends_with('\n'))
        text.remove_suffix(1);
    if (text.ends_with('\r'))
        text.remove_suffix(1);
    if (text.size() == 2 * size)
        if (Result<std::vector<std::byte>> bytes = from_hex(text))
            return taken(*std::move(bytes));
    if (text.size() == (size + 2) / 3 * 4)
        if (Result<std::vector<std::byte>> bytes = from_base64(text)) {
            SecretBytes secret = taken(*std::move(bytes));
            if (secret.size() == size)
                return secret;
        }
    return fail(ErrorKind::InvalidArgument,
                "key \"{}\": {} wants {} bytes, or their hex or Base64 text; what was given has {} bytes and is neither",
                config.key, config.algorithm, size, key.size());
}

/// A key that is locked with a passphrase is not asked for one.
int no_passphrase(char* /*buffer*/, int /*size*/, int /*rwflag*/, void* /*user*/) noexcept { return -1; }

Bio bio_of(const SecretBytes& key) { return Bio(BIO_new_mem_buf(key.data(), static_cast<int>(key.size()))); }

Handle<EVP_PKEY, EVP_PKEY_free> public_key(const SecretBytes& key) {
    EVP_PKEY* found = nullptr;
    const Handle<OSSL_DECODER_CTX, OSSL_DECODER_CTX_free> decoder(
        OSSL_DECODER_CTX_new_for_pkey(&found, "PEM", nullptr, "RSA", EVP_PKEY_PUBLIC_KEY, nullptr, nullptr));
    const Bio bio = bio_of(key);
    if (decoder && bio)
        (void)OSSL_DECODER_from_bio(decoder.get(), bio.get());  // found is null then
    return Handle<EVP_PKEY, EVP_PKEY_free>(found);
}

/// Sets up OAEP with one hash for both of its uses.
bool set_oaep(EVP_PKEY_CTX* context, std::string_view algorithm) {
    const EVP_MD* hash = algorithm == "RSA-OAEP-256" ? EVP_sha256() : EVP_sha1();
    return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) > 0 &&
           EVP_PKEY_CTX_set_rsa_oaep_md(context, hash) > 0 && EVP_PKEY_CTX_set_rsa_mgf1_md(context, hash) > 0;
}

unsigned char* raw(std::vector<std::byte>& bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }

Result<std::vector<std::byte>> aes_wrap(const SecretBytes& key, const SecretBytes& content_key) {
    const CipherContext context(EVP_CIPHER_CTX_new());
    std::vector<std::byte> wrapped(content_key.size() + kWrapOverhead);
    int length = 0;
    if (context)
        EVP_CIPHER_CTX_set_flags(context.get(), EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    if (!context ||
        EVP_EncryptInit_ex(context.get(), wrap_cipher(key.size()), nullptr, key.data(), nullptr) != 1 ||
        EVP_EncryptUpdate(context.get(), raw(wrapped), &length, content_key.data(),
                          static_cast<int>(content_key.size())) != 1)
        return fail(ErrorKind::Internal, "cannot wrap a content key");
    wrapped.resize(static_cast<std::size_t>(length));
    return wrapped;
}

std::optional<SecretBytes> aes_unwrap(const SecretBytes& key, std::span<const std::byte> wrapped) {
    // The algorithm takes whole words of eight bytes, and OpenSSL's way of saying no to others is not to be relied on.
    if (wrapped.size() % 8 != 0 || wrapped.size() < 24 || wrapped.size() > 1024)
        return std::nullopt;
    const CipherContext context(EVP_CIPHER_CTX_new());
    SecretBytes content_key(wrapped.size());
    int length = 0;
    if (context)
        EVP_CIPHER_CTX_set_flags(context.get(), EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    if (!context ||
        EVP_DecryptInit_ex(context.get(), wrap_cipher(key.size()), nullptr, key.data(), nullptr) != 1 ||
        EVP_DecryptUpdate(context.get(), content_key.data(), &length,
                          reinterpret_cast<const unsigned char*>(wrapped.data()), static_cast<int>(wrapped.size())) != 1 ||
        length <= 0) {
        ERR_clear_error();
        return std::nullopt;
    }
    content_key.truncate(static_cast<std::size_t>(length));
    return content_key;
}

Result<std::vector<std::byte>> rsa_wrap(EVP_PKEY* key, std::string_view algorithm, const SecretBytes& content_key) {
    const KeyContext context(EVP_PKEY_CTX_new(key, nullptr));
    std::size_t length = static_cast<std::size_t>(EVP_PKEY_get_size(key));
    std::vector<std::byte> wrapped(length);
    if (!context || EVP_PKEY_encrypt_init(context.get()) <= 0 || !set_oaep(context.get(), algorithm) ||
        EVP_PKEY_encrypt(context.get(), raw(wrapped), &length, content_key.data(), content_key.size()) <= 0) {
        ERR_clear_error();
        return fail(ErrorKind::Internal, "cannot wrap a content key");
    }
    wrapped.resize(length);
    return wrapped;
}

std::optional<SecretBytes> rsa_unwrap(EVP_PKEY* key, std::string_view algorithm, std::span<const std::byte> wrapped) {
    const KeyContext context(EVP_PKEY_CTX_new(key, nullptr));
    SecretBytes content_key(static_cast<std::size_t>(EVP_PKEY_get_size(key)));
    std::size_t length = content_key.size();
    if (!context || EVP_PKEY_decrypt_init(context.get()) <= 0 || !set_oaep(context.get(), algorithm) ||
        EVP_PKEY_decrypt(context.get(), content_key.data(), &length,
                         reinterpret_cast<const unsigned char*>(wrapped.data()), wrapped.size()) <= 0) {
        ERR_clear_error();
        return std::nullopt;
    }
    content_key.truncate(length);
    return content_key;
}

}  // namespace

Result<WrappingKey> WrappingKey::create(const EncryptionConfig& config, const SecretBytes& key) {
    if (config.key.empty() || config.key.size() > kMaxKeyId || !std::ranges::all_of(config.key, is_printable))
        return fail(ErrorKind::InvalidArgument, "a key's name is 1 to {} printable ASCII characters", kMaxKeyId);
    WrappingKey made;
    made.id_ = config.key;
    made.algorithm_ = config.algorithm;
    if (const std::size_t size = aes_size(config.algorithm); size != 0) {
        DRAY_LET(made.bytes_, aes_key(config, key, size));
        return made;
    }
    if (!is_rsa(config.algorithm))
        return fail(ErrorKind::InvalidArgument,
                    "key \"{}\": there is no algorithm \"{}\"; A128KW, A192KW, A256KW, RSA-OAEP and RSA-OAEP-256 there are",
                    config.key, config.algorithm);
    if (const Bio bio = bio_of(key))
        made.rsa_.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
    if (!made.rsa_) {
        made.rsa_ = public_key(key);
        made.is_public_ = true;
    }
    ERR_clear_error();
    if (!made.rsa_ || EVP_PKEY_is_a(made.rsa_.get(), "RSA") != 1)
        return fail(ErrorKind::InvalidArgument,
                    "key \"{}\": {} wants an RSA key in PEM, private without a passphrase or public, and this is none",
                    config.key, config.algorithm);
    if (EVP_PKEY_get_bits(made.rsa_.get()) < kMinRsaBits)
        return fail(ErrorKind::InvalidArgument, "key \"{}\": an RSA key of {} bits is too short, it must have {} or more",
                    config.key, EVP_PKEY_get_bits(made.rsa_.get()), kMinRsaBits);
    return made;
}

Result<std::vector<std::byte>> WrappingKey::wrap(const SecretBytes& content_key) const {
    return rsa_ ? rsa_wrap(rsa_.get(), algorithm_, content_key) : aes_wrap(bytes_, content_key);
}

Result<SecretBytes> WrappingKey::unwrap(const std::string& algorithm, std::span<const std::byte> wrapped) const {
    if (rsa_ ? !is_rsa(algorithm) : algorithm != algorithm_)
        return fail(ErrorKind::WrongKey, "it was encrypted with a key for {}, and key \"{}\" is one for {}",
                    algorithm.substr(0, 64), id_, algorithm_);
    if (is_public_)
        return fail(ErrorKind::Denied,
                    "key \"{}\" is a public key: with it one can write and not read. To read, the private key must be given",
                    id_);
    std::optional<SecretBytes> content_key =
        rsa_ ? rsa_unwrap(rsa_.get(), algorithm, wrapped) : aes_unwrap(bytes_, wrapped);
    if (!content_key)
        return fail(ErrorKind::WrongKey, "key \"{}\" does not fit, or what it has wrapped was damaged", id_);
    return *std::move(content_key);
}

}  // namespace dray::store
