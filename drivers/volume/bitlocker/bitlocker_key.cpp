// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/bitlocker/bitlocker_key.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "drivers/volume/little_endian.hpp"

namespace dray::volume {
namespace {

constexpr std::size_t kGroups = 8;
constexpr std::size_t kDigits = 6;
constexpr std::size_t kAllDigits = kGroups * kDigits;

bool is_space(std::byte byte) {
    const auto letter = static_cast<char>(byte);
    return letter == ' ' || (letter >= '\t' && letter <= '\r');
}

bool is_digit(std::byte byte) { return byte >= std::byte{'0'} && byte <= std::byte{'9'}; }

/// Those of a text that consists of digits, hyphens and white space alone; else 0.
std::size_t digits_of(std::span<const std::byte> text) {
    std::size_t digits = 0;
    for (const std::byte byte : text) {
        if (is_digit(byte))
            ++digits;
        else if (byte != std::byte{'-'} && !is_space(byte))
            return 0;
    }
    return digits;
}

SecretBytes grouped(std::span<const std::byte> text) {
    SecretBytes key(kAllDigits + kGroups - 1);
    std::size_t written = 0;
    for (const std::byte byte : text) {
        if (!is_digit(byte))
            continue;
        if (written % (kDigits + 1) == kDigits)
            key.bytes()[written++] = std::byte{'-'};
        key.bytes()[written++] = byte;
    }
    return key;
}

/// A header like the one of the volume's metadata, and in it one entry, an external key.
bool is_start_up_key_file(std::span<const std::byte> key) {
    constexpr std::size_t kHeader = 48;
    constexpr std::size_t kLeast = kHeader + 8 + 24;
    constexpr std::uint16_t kStartUpKeyEntry = 6;
    constexpr std::uint16_t kExternalKey = 9;
    return key.size() >= kLeast && little_endian<std::uint32_t>(key, 0) == key.size() &&
           little_endian<std::uint32_t>(key, 4) == 1 && little_endian<std::uint32_t>(key, 8) == kHeader &&
           little_endian<std::uint16_t>(key, kHeader + 2) == kStartUpKeyEntry &&
           little_endian<std::uint16_t>(key, kHeader + 4) == kExternalKey;
}

}  // namespace

BitLockerKey bitlocker_key_of(const SecretBytes& key) {
    BitLockerKey made;
    if (is_start_up_key_file(key.bytes())) {
        constexpr std::size_t kEntryBody = 48 + 8;
        made.kind = BitLockerKeyKind::StartUpKeyFile;
        made.protector = guid_text(key.bytes().subspan(kEntryBody, kGuidBytes));
        made.bytes = key.clone();
    } else if (digits_of(key.bytes()) == kAllDigits) {
        made.kind = BitLockerKeyKind::RecoveryKey;
        made.bytes = grouped(key.bytes());
    } else {
        made.bytes = key.clone();
    }
    return made;
}

Result<void> check_digits(const BitLockerKey& key) {
    if (key.kind != BitLockerKeyKind::RecoveryKey)
        return {};
    for (std::size_t group = 0; group < kGroups; ++group) {
        std::uint32_t number = 0;
        for (const std::byte digit : key.bytes.bytes().subspan(group * (kDigits + 1), kDigits))
            number = number * 10 + (static_cast<std::uint32_t>(digit) - '0');
        if (number % 11 != 0)
            return fail(ErrorKind::WrongKey, "group {} of the recovery key is wrong: its check digit does not fit; each group of "
                                             "six digits is a multiple of 11",
                        group + 1);
        if (number >= 65536 * 11)
            return fail(ErrorKind::WrongKey, "group {} of the recovery key is wrong: no group is above 720885", group + 1);
    }
    return {};
}

std::string hint_about(const BitLockerKey& key) {
    if (key.kind != BitLockerKeyKind::Password)
        return {};
    const std::size_t digits = digits_of(key.bytes.bytes());
    if (digits + kDigits >= kAllDigits && digits <= kAllDigits + kDigits)
        return fmt::format("; if it is a recovery key, it has {} digits instead of {}", digits, kAllDigits);
    const std::string_view text = key.bytes.text();
    // Debian 12's libcryptsetup derives other keys from them than Windows does.
    if (std::ranges::any_of(text, [](char letter) { return (static_cast<unsigned char>(letter) & 0x80) != 0; }))
        return "; passwords with letters beyond ASCII may fail here: use the recovery key";
    return text.ends_with('\n') || text.ends_with('\r') ? "; the key ends in a line break" : "";
}

}  // namespace dray::volume
