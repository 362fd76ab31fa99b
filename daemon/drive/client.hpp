// SPDX-License-Identifier: Apache-2.0
//
// dray-drive as its peer sees it: the ring, the socket, requests out and replies in. One thread.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "daemon/base/memfd.hpp"
#include "daemon/base/units.hpp"
#include "daemon/drive/protocol.hpp"

namespace dray::drive {

/// Starts dray-drive (found beside the running program, else in PATH order of /usr/libexec/dray) as a
/// child with the given descriptors; for drayctl, which has no engine. The child dies with its peer. Started
/// by root it becomes the user dray-drive, or an unused uid where there is none: nothing parses a drive as root.
struct Child {
    pid_t pid = -1;
    MessageSocket socket;
};
Result<Child> spawn(int device_fd, int key_fd);

class Client {
public:
    /// Makes the ring and sends Setup.
    static Result<Client> connect(MessageSocket socket, Setup setup);

    std::span<std::byte> ring() const { return ring_.bytes(); }
    int fd() const { return socket_.fd(); }
    /// dray-drive has ended or sent what is no message: an error of kind Gone is not about the device then.
    bool is_broken() const { return is_broken_; }
    /// From now on a reply that does not come for so long, or a request that is not taken, counts as dray-drive's end.
    void set_patience(Microseconds patience);

    /// Blocks until the volume is open (up to the unlock's cost). The error carries the kind; `status`,
    /// unless null, receives the 6.3 word. Gone: dray-drive has died.
    Result<Unlocked> unlock(const Unlock& unlock, std::string* status = nullptr);
    /// `state_fd`: the state file, where `format` has checkpoints.
    Result<Unlocked> format(const Format& format, int state_fd = -1);
    /// NotFound: there is no checkpoint; the drive has to be formatted. Conflict: the device is not the one that was
    /// being filled, or was changed since. WrongKey and the rest as unlock().
    Result<Resumed> resume(const Resume& resume, int state_fd);

    /// Sends up to kMaxBatch requests in one message. The caller bounds what is in flight.
    Result<void> submit(std::span<const Request> requests);
    /// All replies that have come; waits for the first one. Gone: dray-drive has died.
    Result<std::vector<Reply>> receive();
    /// The same without waiting; may be empty.
    Result<std::vector<Reply>> try_receive();

    // One request at a time, for callers without anything else in flight.
    Result<Bytes> open(std::uint32_t file, const std::string& path);
    Result<void> close(std::uint32_t file);
    /// Reads through the ring's first extent and copies out.
    Result<void> read(std::uint32_t file, Bytes offset, std::span<std::byte> content);
    Result<void> call(const Request& request);
    /// Files of a directory by a part of their names.
    Result<Found> find(const std::string& directory, const std::string& part);
    /// Returns the bytes that went through the redo log.
    Result<Bytes> checkpoint(std::string progress);

    /// dray-drive holds so much metadata that a checkpoint should be taken now, not later; it makes no files when it is
    /// more than kMostWaiting. False again when a checkpoint is there.
    bool is_checkpoint_due() const { return is_checkpoint_due_; }

private:
    Client(MessageSocket socket, SharedMemory ring);
    Result<FromDrive> begin(const ToDrive& message, int descriptor, std::string* status);
    Result<Unlocked> begin_unlocked(const ToDrive& message, int descriptor, std::string* status);
    Result<Reply> ask(const Request& request);
    /// May be empty.
    Result<std::vector<Reply>> replies_of(const Message& message);
    Result<Message> next_message();
    Error died();
    Error fell_silent();
    Error no_message(const Error& error);
    Error out_of_turn();
    MessageSocket socket_;
    SharedMemory ring_;
    std::optional<Microseconds> patience_;
    bool is_broken_ = false;
    bool has_checkpoints_ = false;
    bool is_checkpoint_due_ = false;
};

}  // namespace dray::drive
