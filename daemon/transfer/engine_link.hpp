// SPDX-License-Identifier: Apache-2.0
//
// The way up to drayd. Any thread may send; what cannot be sent any more is dropped, because without drayd
// the process ends anyway.
#pragma once

#include <mutex>
#include <utility>
#include <vector>

#include "daemon/base/message_socket.hpp"
#include "daemon/transfer/protocol.hpp"

namespace dray::transfer {

struct Received {
    ToTransfer message;
    std::vector<FileDescriptor> descriptors;
};

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
    /// Corrupt: no message, or not with the descriptors that belong to it.
    Result<Received> receive() {
        DRAY_LET(Message message, socket_.receive());
        DRAY_LET(ToTransfer decoded, decode_to_transfer(message.bytes));
        if (message.descriptors.size() != descriptors_beside(decoded))
            return fail(ErrorKind::Corrupt, "a message from drayd came with {} descriptors in place of {}",
                        message.descriptors.size(), descriptors_beside(decoded));
        return Received{std::move(decoded), std::move(message.descriptors)};
    }
    int fd() const { return socket_.fd(); }

private:
    MessageSocket socket_;
    std::mutex mutex_;
};

}  // namespace dray::transfer
