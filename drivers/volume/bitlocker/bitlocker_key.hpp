// SPDX-License-Identifier: Apache-2.0
//
// What kind of key somebody has given for a BitLocker volume, seen by its form: a start-up key file, a recovery key, or a
// password.
#pragma once

#include <optional>
#include <string>

#include "daemon/base/result.hpp"
#include "daemon/base/secret.hpp"

namespace dray::volume {

enum class BitLockerKeyKind { Password, RecoveryKey, StartUpKeyFile };

struct BitLockerKey {
    BitLockerKeyKind kind = BitLockerKeyKind::Password;
    /// The key's bytes exactly; of a recovery key its digits in groups of six, joined by hyphens.
    SecretBytes bytes;
    /// Of the protector that a start-up key file is for, as guid_text() writes it.
    std::string protector;
};

BitLockerKey bitlocker_key_of(const SecretBytes& key);

/// WrongKey: the check digits of a recovery key are wrong. Each group is a multiple of 11 and below 65536 times that; the
/// sentence names the first group that is not, and never what it holds.
Result<void> check_digits(const BitLockerKey& key);

/// What a password that was refused looks like: "; the key ends in a line break" and the like, or "".
std::string hint_about(const BitLockerKey& key);

}  // namespace dray::volume
