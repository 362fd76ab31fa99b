// SPDX-License-Identifier: Apache-2.0
//
// Answers the peer's requests: reads files of a file system into the ring, or fills a new one from it.
// Whatever the peer sends is checked against the protocol and the ring before it is used. One thread.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "daemon/base/message_socket.hpp"
#include "daemon/drive/fill.hpp"
#include "daemon/drive/protocol.hpp"
#include "drivers/filesystem/filesystem.hpp"

namespace dray::drive {

class DriveServer {
public:
    /// One of `reader` and `filler` is null.
    DriveServer(MessageSocket& socket, std::span<std::byte> ring, fs::FileSystem* reader, Filler* filler);

    /// Until the peer closes the socket. Corrupt: it sent something that is not of the protocol.
    Result<void> serve();

private:
    struct OpenFile {
        std::string path;
        /// Reads of a file that could not be opened fail with the same error.
        std::variant<fs::FileStatus, Failure> state;
    };

    Result<void> handle(const Message& message);
    void answer(const Request& request);
    void answer(const Open& open);
    void answer(const Close& close);
    void answer(const Read& read);
    void answer(const MakeDirectory& directory);
    void answer(const Create& create);
    void answer(const Write& write);
    void answer(const Finish& finish);
    void answer(const Checkpoint& checkpoint);
    void answer(const Remove& remove);
    void tell_when_checkpoint_is_due();
    void answer(const Find& find);
    void answer_fill(std::uint64_t request, const Result<void>& result);
    Result<void> read_piece(const Read& read);
    Result<std::span<std::byte>> extent(Bytes ring_offset, Bytes length) const;
    Result<void> flush();

    MessageSocket& socket_;
    std::span<std::byte> ring_;
    fs::FileSystem* reader_;
    Filler* filler_;
    std::vector<std::unique_ptr<OpenFile>> files_;
    std::vector<Reply> replies_;
    /// What is waiting in replies_ stands for: text to send, content the peer could be working on.
    std::size_t pending_text_ = 0;
    Bytes pending_content_ = 0;
    bool is_checkpoint_told_ = false;
};

}  // namespace dray::drive
