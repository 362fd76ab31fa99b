// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/uuid.hpp"

#include <openssl/rand.h>

namespace dray::volume {

Result<Uuid> random_uuid() {
    Uuid uuid{};
    if (RAND_bytes(uuid.data(), static_cast<int>(uuid.size())) != 1)
        return fail(ErrorKind::Internal, "OpenSSL has no random bytes for an identifier");
    uuid[6] = static_cast<std::uint8_t>((uuid[6] & 0x0f) | 0x40);
    uuid[8] = static_cast<std::uint8_t>((uuid[8] & 0x3f) | 0x80);
    return uuid;
}

std::string to_string(const Uuid& uuid) {
    std::string text;
    for (std::size_t i = 0; i < uuid.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text += '-';
        text += fmt::format("{:02x}", uuid[i]);
    }
    return text;
}

}  // namespace dray::volume
