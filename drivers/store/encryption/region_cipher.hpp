// SPDX-License-Identifier: Apache-2.0
//
// The body of an encrypted blob: the plaintext in regions, each stored as nonce, ciphertext and tag of AES-256-GCM.
// Regions are authenticated one by one; that they are in their order shows in the nonces alone. Any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "daemon/base/result.hpp"
#include "daemon/base/secret.hpp"
#include "daemon/base/units.hpp"

namespace dray::store {

inline constexpr std::size_t kNonceSize = 12;
inline constexpr std::size_t kTagSize = 16;
inline constexpr Bytes kRegionOverhead = kNonceSize + kTagSize;
inline constexpr std::size_t kContentKeySize = 32;
/// Plaintext of a region in what we write.
inline constexpr Bytes kWrittenRegion = 4 * kMiB;
inline constexpr std::uint64_t kMaxWrittenRegions = std::uint64_t{1} << 32;

/// What `plain` bytes become. `region`: plaintext bytes of one.
constexpr Bytes stored_length(Bytes plain, Bytes region) {
    return plain + kRegionOverhead * (plain / region + (plain % region != 0 ? 1 : 0));
}
/// The way back. Corrupt: no plaintext has that length.
Result<Bytes> plain_length(Bytes stored, Bytes region);

/// Where the plaintext [offset, offset + length) lies in a stored body: one run a region.
std::vector<std::span<std::byte>> text_runs(std::span<std::byte> stored, Bytes region, Bytes offset, Bytes length);

/// Who numbers regions how. All three are about; we write Python's, which every reader accepts.
enum class NonceScheme : std::uint8_t { Python, Java, DotNet };

using Nonce = std::array<std::byte, kNonceSize>;

Nonce nonce_of(NonceScheme scheme, std::uint64_t region);

/// Which scheme a blob may still have, given the nonces seen so far. One for all who read of one blob.
class NonceSchemes {
public:
    /// False: this nonce is not that of this region in any scheme that is left; the regions are out of order.
    bool narrow(std::uint64_t region, std::span<const std::byte, kNonceSize> nonce);

private:
    std::atomic<unsigned> left_ = 0b111;
};

/// Encrypts and decrypts regions of one blob in place. A region lies as it is stored: room for the nonce, the text, room
/// for the tag.
class RegionCipher {
public:
    /// 32 bytes.
    explicit RegionCipher(SecretBytes content_key) : content_key_(std::move(content_key)) {}

    /// At most once for each region: a nonce must never meet two texts.
    Result<void> seal(NonceScheme scheme, std::uint64_t number, std::span<std::byte> region) const;
    /// All regions of a body, or of a part of one that begins with region `first`.
    Result<void> seal_all(NonceScheme scheme, std::uint64_t first, std::span<std::byte> stored, Bytes region) const;
    /// Corrupt: out of order, or not what was encrypted; nothing in `region` may be used then.
    Result<void> open(NonceSchemes& schemes, std::uint64_t number, std::span<std::byte> region) const;

private:
    SecretBytes content_key_;
};

/// Tells contents apart, for who cannot keep them: equal marks under one secret key of random bytes are equal contents.
/// Marks stay in this process: they are keyed hashes only as long as nobody sees them.
using Mark = std::array<std::byte, kTagSize>;

class Marker {
public:
    static Result<Marker> create();
    /// Of the runs as of one content.
    Result<Mark> mark(std::span<const std::span<std::byte>> runs) const;

private:
    explicit Marker(SecretBytes key) : key_(std::move(key)) {}
    SecretBytes key_;
};

/// Key material, by OpenSSL's generator for secrets.
Result<SecretBytes> random_secret(std::size_t size);

}  // namespace dray::store
