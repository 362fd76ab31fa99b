// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/drive.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace dray {

namespace {

constexpr std::size_t kMaxSerial = 128;

constexpr auto kStates = std::to_array<std::pair<DriveState, std::string_view>>({
    {DriveState::Specified, "Specified"},
    {DriveState::Received, "Received"},
    {DriveState::NeverReceived, "NeverReceived"},
    {DriveState::Transferring, "Transferring"},
    {DriveState::Completed, "Completed"},
    {DriveState::CompletedMoreInfo, "CompletedMoreInfo"},
    {DriveState::ShippedBack, "ShippedBack"},
});

constexpr auto kDrainModes = std::to_array<std::pair<DrainMode, std::string_view>>({
    {DrainMode::Drive, "drive"},
    {DrainMode::Blob, "blob"},
    {DrainMode::Piece, "piece"},
});

}  // namespace

std::string_view to_string(DriveState state) {
    return kStates.at(static_cast<std::size_t>(state)).second;
}

std::string_view to_string(DrainMode mode) {
    return kDrainModes.at(static_cast<std::size_t>(mode)).second;
}

std::optional<DriveState> parse_drive_state(std::string_view text) {
    for (const auto& [state, word] : kStates)
        if (word == text)
            return state;
    return std::nullopt;
}

std::optional<DrainMode> parse_drain_mode(std::string_view text) {
    for (const auto& [mode, word] : kDrainModes)
        if (word == text)
            return mode;
    return std::nullopt;
}

Result<std::string> check_serial(std::string_view serial) {
    std::string result(serial);
    std::erase(result, ' ');
    if (result.empty())
        return fail(ErrorKind::InvalidArgument, "the serial number of a drive is empty");
    if (result.size() > kMaxSerial)
        return fail(ErrorKind::InvalidArgument, "the serial number of a drive has {} characters, more than {}",
                    result.size(), kMaxSerial);
    if (!std::ranges::all_of(result, [](char c) { return c > ' ' && c <= '~'; }))
        return fail(ErrorKind::InvalidArgument,
                    "the serial number of a drive has a character that is not printable ASCII");
    return result;
}

std::string fold_serial(std::string_view serial) {
    std::string result(serial);
    std::erase(result, ' ');
    for (char& c : result)
        if (c >= 'A' && c <= 'Z')
            c = static_cast<char>(c - 'A' + 'a');
    return result;
}

}  // namespace dray
