// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a copy log, in portions of any length: refused as Corrupt or LimitReached, or read the same whatever the
// portions are.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "daemon/format/copy_log_reader.hpp"

namespace {

using dray::format::CopyLogReader;
using dray::format::LoggedBlob;

void need(bool holds) {
    if (!holds)
        std::abort();
}

/// All that was read, in words; "" for what was refused.
std::string read(std::span<const std::byte> bytes, std::size_t step) {
    std::string told;
    CopyLogReader reader([&](LoggedBlob&& blob) -> dray::Result<void> {
        told += fmt::format("{} {} {} {} {}\n", blob.blob_path, blob.file_path, blob.length, blob.pieces.size(),
                            blob.needs_repair() ? blob.is_in_store() : true);
        return {};
    });
    dray::Result<void> result;
    for (std::size_t at = 0; result && at < bytes.size(); at += step)
        result = reader.feed(bytes.subspan(at, std::min(step, bytes.size() - at)));
    if (result)
        result = reader.finish();
    if (!result) {
        need(result.error().kind() == dray::ErrorKind::Corrupt || result.error().kind() == dray::ErrorKind::LimitReached);
        return {};
    }
    need(!reader.drive_id().empty());
    return told + reader.drive_id() + reader.status();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0)
        return 0;
    const auto bytes = std::as_bytes(std::span(data, size));
    need(read(bytes.subspan(1), 1 + data[0]) == read(bytes.subspan(1), size));
    return 0;
}
