// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a message between dray's processes, in all four directions: it is of the schema, and then its only
// form, so that encoding what was read gives the same bytes; or it is Corrupt, with a sentence.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "daemon/drive/protocol.hpp"
#include "daemon/transfer/protocol.hpp"

namespace {

template <typename Message>
void check(const dray::Result<Message>& message, std::span<const std::byte> bytes) {
    if (!message) {
        if (message.error().kind() != dray::ErrorKind::Corrupt || message.error().text().empty())
            std::abort();
        return;
    }
    if (!std::ranges::equal(encode(*message), bytes))
        std::abort();
}

/// Of what is shown to people only what can be shown is kept: from then on it comes back as it is.
void check_shown(const dray::Result<dray::transfer::FromTransfer>& message, std::span<const std::byte> bytes) {
    if (!message) {
        check(message, bytes);
        return;
    }
    const std::vector<std::byte> shown = encode(*message);
    const auto again = dray::transfer::decode_from_transfer(shown);
    if (!again)
        std::abort();
    check(again, shown);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span(data, size));
    check(dray::drive::decode_to_drive(bytes), bytes);
    check(dray::drive::decode_from_drive(bytes), bytes);
    check(dray::transfer::decode_to_transfer(bytes), bytes);
    check_shown(dray::transfer::decode_from_transfer(bytes), bytes);
    return 0;
}
