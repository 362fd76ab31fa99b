// SPDX-License-Identifier: Apache-2.0
#include "drivers/store/encryption/envelope.hpp"

#include <openssl/crypto.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include <nlohmann/json.hpp>

#include "daemon/base/encoding.hpp"
#include "drivers/store/encryption/region_cipher.hpp"

namespace dray::store {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kProtocolSize = 8;
constexpr const char* kCipher = "AES_GCM_256";
constexpr const char* kLengthMember = "PlainLength";
constexpr const char* kUploadMember = "UploadId";

const Json& member(const Json& object, const char* name) {
    static const Json none;
    if (!object.is_object())
        return none;
    const auto found = object.find(name);
    return found == object.end() ? none : *found;
}

Result<std::string> text_of(const Json& object, const char* name) {
    const Json& value = member(object, name);
    if (!value.is_string())
        return fail(ErrorKind::Corrupt, "its encryptiondata has no {}", name);
    return value.get<std::string>();
}

std::optional<Bytes> number_of(const std::string& text) {
    Bytes number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (text.empty() || error != std::errc() || end != text.data() + text.size())
        return std::nullopt;
    return number;
}

}  // namespace

// The order is that of the format's description: an old reader wants it so.
std::string write_envelope(const Envelope& envelope) {
    nlohmann::ordered_json document;
    document["WrappedContentKey"]["KeyId"] = envelope.key_id;
    document["WrappedContentKey"]["EncryptedKey"] = to_base64(envelope.wrapped_key);
    document["WrappedContentKey"]["Algorithm"] = envelope.algorithm;
    document["EncryptionAgent"]["Protocol"] = envelope.protocol;
    document["EncryptionAgent"]["EncryptionAlgorithm"] = kCipher;
    document["EncryptedRegionInfo"]["DataLength"] = envelope.region;
    document["EncryptedRegionInfo"]["NonceLength"] = kNonceSize;
    auto& writer = document["KeyWrappingMetadata"];
    writer["EncryptionLibrary"] = "dray";
    // As text: readers take these for names and texts.
    if (envelope.length)
        writer[kLengthMember] = std::to_string(*envelope.length);
    if (!envelope.upload_id.empty())
        writer[kUploadMember] = envelope.upload_id;
    document["EncryptionMode"] = "FullBlob";
    return document.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace);
}

Result<Envelope> read_envelope(const std::string& text) {
    if (text.size() > kMaxEnvelope)
        return fail(ErrorKind::Corrupt, "its encryptiondata is longer than {}", format_bytes(kMaxEnvelope));
    const Json document = Json::parse(text, nullptr, false);
    if (!document.is_object())
        return fail(ErrorKind::Corrupt, "its encryptiondata is not JSON");
    Envelope envelope;
    const Json& agent = member(document, "EncryptionAgent");
    DRAY_LET(envelope.protocol, text_of(agent, "Protocol"));
    DRAY_LET(const std::string cipher, text_of(agent, "EncryptionAlgorithm"));
    if ((envelope.protocol != "2.0" && envelope.protocol != "2.1") || cipher != kCipher)
        return fail(ErrorKind::Unsupported,
                    "it is encrypted with protocol \"{}\" and cipher \"{}\"; protocols 2.0 and 2.1 with {} can be read",
                    envelope.protocol.substr(0, 16), cipher.substr(0, 32), kCipher);
    const Json& regions = member(document, "EncryptedRegionInfo");
    const Json& length = member(regions, "DataLength");
    const Json& nonce = member(regions, "NonceLength");
    if (!length.is_number_unsigned() || length.get<Bytes>() < kMinReadRegion || length.get<Bytes>() > kMaxReadRegion ||
        !nonce.is_number_unsigned() || nonce.get<Bytes>() != kNonceSize)
        return fail(ErrorKind::Corrupt, "its encryptiondata has a DataLength or NonceLength that there is not");
    envelope.region = length.get<Bytes>();
    const Json& wrapped = member(document, "WrappedContentKey");
    DRAY_LET(envelope.key_id, text_of(wrapped, "KeyId"));
    DRAY_LET(envelope.algorithm, text_of(wrapped, "Algorithm"));
    DRAY_LET(const std::string encrypted, text_of(wrapped, "EncryptedKey"));
    Result<std::vector<std::byte>> bytes = from_base64(encrypted);
    if (!bytes)
        return fail(ErrorKind::Corrupt, "its encryptiondata has an EncryptedKey that is not Base64");
    envelope.wrapped_key = *std::move(bytes);
    const Json& writer = member(document, "KeyWrappingMetadata");
    if (const Json& plain = member(writer, kLengthMember); plain.is_string()) {
        envelope.length = number_of(plain.get<std::string>());
        if (!envelope.length)
            return fail(ErrorKind::Corrupt, "its encryptiondata has a {} that is no number", kLengthMember);
    }
    if (const Json& upload = member(writer, kUploadMember); upload.is_string())
        envelope.upload_id = upload.get<std::string>();
    return envelope;
}

Result<Bytes> length_of(const Envelope& envelope, Bytes stored, std::optional<Bytes> expected) {
    DRAY_LET(const Bytes length, plain_length(stored, envelope.region));
    for (const std::optional<Bytes>& wanted : {envelope.length, expected})
        if (wanted && *wanted != length)
            return fail(ErrorKind::Corrupt, "it holds {} bytes and ought to hold {}: part of it is missing or is another's",
                        length, *wanted);
    return length;
}

SecretBytes with_protocol(std::string_view protocol, const SecretBytes& content_key) {
    SecretBytes wrapped(kProtocolSize + content_key.size());
    std::ranges::copy(std::as_bytes(std::span(protocol.substr(0, kProtocolSize))), wrapped.bytes().begin());
    std::ranges::copy(content_key.bytes(), wrapped.bytes().begin() + kProtocolSize);
    return wrapped;
}

Result<SecretBytes> content_key_of(const Envelope& envelope, const WrappingKey& key) {
    if (envelope.key_id != key.id())
        return fail(ErrorKind::WrongKey, "it was encrypted with key \"{}\", and the store has key \"{}\"",
                    envelope.key_id.substr(0, kMaxKeyId), key.id());
    DRAY_LET(const SecretBytes wrapped, key.unwrap(envelope.algorithm, envelope.wrapped_key));
    const auto damaged = [] {
        return fail(ErrorKind::Corrupt, "what its encryptiondata wraps is no content key of its protocol");
    };
    if (wrapped.size() != kProtocolSize + kContentKeySize)
        return damaged();
    SecretBytes content_key(wrapped.bytes().subspan(kProtocolSize));
    const SecretBytes expected = with_protocol(envelope.protocol, content_key);
    if (CRYPTO_memcmp(expected.data(), wrapped.data(), wrapped.size()) != 0)
        return damaged();
    return content_key;
}

}  // namespace dray::store
