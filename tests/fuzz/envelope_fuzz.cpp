// SPDX-License-Identifier: Apache-2.0
//
// encryptiondata, which whoever can write to the store may have written: it is read or refused, and what was read is
// written and read again as the same.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "drivers/store/encryption/envelope.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace dray;
    using namespace dray::store;
    static const auto key =
        WrappingKey::create({"site", "A256KW", ""}, SecretBytes(std::string_view("0123456789abcdef0123456789abcdef")));
    const std::string text(reinterpret_cast<const char*>(data), size);
    const Result<Envelope> envelope = read_envelope(text);
    if (!envelope)
        return 0;
    for (const Bytes stored : {Bytes{0}, Bytes{28}, Bytes{29}, envelope->region + 28, ~Bytes{0}})
        (void)length_of(*envelope, stored);
    (void)content_key_of(*envelope, *key);
    const std::string written = write_envelope(*envelope);
    if (written.size() > kMaxEnvelope)
        return 0;
    const Result<Envelope> again = read_envelope(written);
    if (!again || write_envelope(*again) != written || again->wrapped_key != envelope->wrapped_key ||
        again->region != envelope->region || again->length != envelope->length)
        std::abort();
    return 0;
}
