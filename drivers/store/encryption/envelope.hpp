// SPDX-License-Identifier: Apache-2.0
//
// What stands in the metadata of an encrypted blob under "encryptiondata": how it was encrypted, and its content key,
// wrapped. Written as protocol 2.0, read as 2.0 and 2.1. Pure; any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.hpp"
#include "daemon/base/secret.hpp"
#include "daemon/base/units.hpp"
#include "drivers/store/encryption/key_wrap.hpp"

namespace dray::store {

inline constexpr std::string_view kEnvelopeName = "encryptiondata";
inline constexpr std::string_view kWrittenProtocol = "2.0";
inline constexpr Bytes kMinReadRegion = 16;
inline constexpr Bytes kMaxReadRegion = kGiB;
inline constexpr std::size_t kMaxEnvelope = 64 * kKiB;

struct Envelope {
    std::string key_id;
    std::string algorithm;
    std::vector<std::byte> wrapped_key;
    std::string protocol{kWrittenProtocol};
    /// Plaintext bytes of a region.
    Bytes region = 0;
    /// Ours, among what the format lets writers say of themselves; other programs pass over them. The length of the
    /// plaintext, because the format itself does not show that whole regions are missing at the end; the upload that made
    /// the blob. Whoever can change the blob can change them: they are against accidents.
    std::optional<Bytes> length;
    std::string upload_id;
};

std::string write_envelope(const Envelope& envelope);
/// Unsupported: another protocol or cipher. Corrupt: no such document, or one with values that the format does not have.
Result<Envelope> read_envelope(const std::string& text);

/// The plaintext's length, from the stored one. Corrupt: there is no such length, or it is not the one in the envelope,
/// or not `expected`.
Result<Bytes> length_of(const Envelope& envelope, Bytes stored, std::optional<Bytes> expected = std::nullopt);

/// What is wrapped: the protocol, so that nobody can pass a blob off as one of another, and the content key.
SecretBytes with_protocol(std::string_view protocol, const SecretBytes& content_key);
/// As WrappingKey::unwrap(). WrongKey also where the envelope names another key. Corrupt: what was wrapped is not this
/// protocol's content key.
Result<SecretBytes> content_key_of(const Envelope& envelope, const WrappingKey& key);

}  // namespace dray::store
