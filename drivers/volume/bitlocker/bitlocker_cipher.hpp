// SPDX-License-Identifier: Apache-2.0
//
// The ciphers of BitLocker, as it lays them over sectors. One object, one thread. Only the way back: nothing here writes
// BitLocker volumes.
#pragma once

#include <openssl/evp.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "daemon/base/handle.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/secret.hpp"
#include "daemon/base/units.hpp"
#include "drivers/volume/bitlocker/elephant.hpp"

namespace dray::volume {

/// In the order of their numbers, from 0x8000 on.
enum class BitLockerAlgorithm {
    /// Windows Vista and 7.
    Cbc128Diffuser,
    Cbc256Diffuser,
    /// Windows 8; with newer ones what is to be read by older ones.
    Cbc128,
    Cbc256,
    /// Windows 10 and 11.
    Xts128,
    Xts256,
};
inline constexpr std::uint8_t kBitLockerAlgorithms = 6;

/// Nothing: not known.
std::optional<BitLockerAlgorithm> bitlocker_algorithm_of(std::uint16_t number);
/// "AES-XTS 128"
std::string_view to_string(BitLockerAlgorithm algorithm);
/// Of the volume key; the one for the diffuser follows the one of the cipher.
std::size_t key_size(BitLockerAlgorithm algorithm);

class BitLockerCipher {
public:
    /// Unsupported: a key of another size, or a sector size other than 512 and 4096.
    static Result<BitLockerCipher> create(BitLockerAlgorithm algorithm, const SecretBytes& key, Bytes sector_size);

    /// In place. `offset` is where `content` lies in the encrypted volume; both are whole sectors.
    Result<void> decrypt(Bytes offset, std::span<std::byte> content);

private:
    using Context = Handle<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free>;
    explicit BitLockerCipher(Bytes sector_size) : sector_size_(sector_size) {}
    Result<void> decrypt_run(Bytes offset, std::span<std::byte> content);
    bool make_tweaks(Bytes offset, std::size_t sectors);

    Bytes sector_size_;
    Context sectors_;
    /// Encrypts the place of each sector with the key of the cipher; null for XTS.
    Context places_;
    /// The same with the key of the diffuser; null without one.
    Context diffuser_places_;
    std::optional<Elephant> diffuser_;
    /// Of one run: 16 bytes for each sector, and the diffuser's keys.
    std::vector<std::byte> tweaks_;
    std::vector<std::byte> sector_keys_;
};

}  // namespace dray::volume
