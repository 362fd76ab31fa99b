// SPDX-License-Identifier: Apache-2.0
//
// One end of a SOCK_SEQPACKET pair: whole messages, with descriptors beside them. Used by one thread
// at a time in each direction.
#pragma once

#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/units.hpp"

namespace dray {

/// No message of dray's own is longer.
inline constexpr std::size_t kMaxMessage = 128 * kKiB;
inline constexpr std::size_t kMaxMessageDescriptors = 4;

struct Message {
    std::vector<std::byte> bytes;
    std::vector<FileDescriptor> descriptors;
};

class MessageSocket {
public:
    MessageSocket() = default;
    explicit MessageSocket(FileDescriptor fd) : fd_(std::move(fd)) {}

    /// Two connected ends, close-on-exec, with room for several messages.
    static Result<std::pair<MessageSocket, MessageSocket>> make_pair();

    int fd() const { return fd_.get(); }
    explicit operator bool() const { return static_cast<bool>(fd_); }
    FileDescriptor take() { return std::move(fd_); }

    /// Blocks while the other side does not read. Gone: the other side has closed.
    /// LimitReached: longer than kMaxMessage.
    Result<void> send(std::span<const std::byte> bytes, std::span<const int> descriptors = {});
    /// Never blocks: Busy when there is no room.
    Result<void> try_send(std::span<const std::byte> bytes, std::span<const int> descriptors = {});

    /// Waits for a message. Gone: the other side has closed. Corrupt: it was cut or carried too many
    /// descriptors.
    Result<Message> receive();
    /// Nothing when no message waits; otherwise as receive().
    Result<std::optional<Message>> try_receive();

private:
    Result<void> send_with(std::span<const std::byte> bytes, std::span<const int> descriptors, int flags);
    FileDescriptor fd_;
};

}  // namespace dray
