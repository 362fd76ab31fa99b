// SPDX-License-Identifier: Apache-2.0
//
// The way up to drayd. Any thread may send; what cannot be sent any more is dropped, because without drayd
// the process ends anyway.
#pragma once

#include <mutex>
#include <utility>

#include "daemon/base/message_socket.hpp"
#include "daemon/transfer/protocol.hpp"

namespace dray::transfer {

class EngineLink {
public:
    explicit EngineLink(MessageSocket socket) : socket_(std::move(socket)) {}

    void send(const FromTransfer& message) {
        const std::lock_guard lock(mutex_);
        (void)socket_.send(encode(message));
    }
    void note(std::string text) { send(Note{false, std::move(text)}); }
    void warn(std::string text) { send(Note{true, std::move(text)}); }

    /// For one thread. Gone: drayd has ended or closed.
    Result<ToTransfer> receive() {
        DRAY_LET(const Message message, socket_.receive());
        return decode_to_transfer(message.bytes);
    }
    int fd() const { return socket_.fd(); }

private:
    MessageSocket socket_;
    std::mutex mutex_;
};

}  // namespace dray::transfer
