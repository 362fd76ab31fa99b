// SPDX-License-Identifier: Apache-2.0
//
// One transfer's processes: dray-transfer and, for tasks with a drive, dray-drive. Starts them, talks, and
// reaps both. Loop thread only.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/message_socket.hpp"
#include "daemon/base/result.hpp"
#include "daemon/confine/confine.hpp"
#include "daemon/loop/event_loop.hpp"
#include "daemon/transfer/protocol.hpp"

namespace dray {

/// What the engine needs of a running transfer: the seam behind which tests put pairs of their own.
class TransferLink {
public:
    TransferLink() = default;
    TransferLink(const TransferLink&) = delete;
    TransferLink& operator=(const TransferLink&) = delete;
    /// Kills what still lives.
    virtual ~TransferLink() = default;

    /// Never blocks; what cannot be sent is dropped with the pair's end in sight.
    virtual void send(const transfer::ToTransfer& message) = 0;
    /// Credential with that memfd. Otherwise as send().
    virtual void renew_credential(int memfd) = 0;
    /// SIGKILL to both. ended() follows when the kernel lets go of them.
    virtual void kill() = 0;
};

/// Where dray-drive and dray-transfer are: beside the running program, else /usr/libexec/dray.
std::string find_programs();

/// As whom the children run. dray-transfer has drayd's group, for the files that both of them touch.
struct ChildUsers {
    confine::User transfer;
    confine::User drive;
};

/// The directory of one copy, made below the state directory where it is missing. With `users` the group is let
/// through to it; dray-transfer opens it for itself before it changes its uid.
Result<void> make_copy_directory(const std::string& state_directory, const std::string& path,
                                 const std::optional<ChildUsers>& users);

/// How much may come at once; it fills up again with time.
struct MessageAllowance {
    double most;
    double per_second;
    double left = most;
    Microseconds counted{0};

    bool take(double cost, Microseconds now);
};

class TransferProcess : public TransferLink {
public:
    struct Start {
        /// Directory of the programs.
        std::string programs;
        /// Which memfds come beside it is filled in from what is there.
        transfer::Task task;
        /// The store's, sealed memfds; empty for stores that have none.
        FileDescriptor credential;
        FileDescriptor encryption_key;
        /// Without them the children keep drayd's uid.
        std::optional<ChildUsers> users;
        /// Neither for tasks without a drive.
        FileDescriptor device;
        FileDescriptor key;
    };
    struct Callbacks {
        /// Every message but a broken one, in order.
        std::function<void(const transfer::FromTransfer&)> message;
        /// Both processes have ended and every message was delivered: once, last, and the object may be
        /// destroyed in it.
        std::function<void()> ended;
    };

    /// The processes are there when it returns. NotFound: no such programs.
    static Result<std::unique_ptr<TransferProcess>> start(EventLoop& loop, Start start, Callbacks callbacks);
    /// Kills what still lives; it is reaped by whoever reaps the daemon's children at exit.
    ~TransferProcess() override;

    void send(const transfer::ToTransfer& message) override;
    void renew_credential(int memfd) override;
    void kill() override;

private:
    explicit TransferProcess(EventLoop& loop, Callbacks callbacks);
    Result<void> spawn_transfer(const Start& start, FileDescriptor engine_end, FileDescriptor drive_end);
    Result<void> spawn_drive(const Start& start, FileDescriptor end);
    void send_with(const transfer::ToTransfer& message, std::span<const int> descriptors);
    void read_messages();
    bool deliver(const transfer::FromTransfer& message);
    void child_ended(pid_t& pid, int status);
    void say_why(const char* program, int status) const;

    EventLoop& loop_;
    Callbacks callbacks_;
    /// For the log: the job and the drive, or the store.
    std::string whose_;
    MessageSocket socket_;
    MessageAllowance messages_;
    MessageAllowance notes_;
    bool is_cut_short_ = false;
    bool is_killed_ = false;
    pid_t transfer_ = -1;
    pid_t drive_ = -1;
    EventSource readable_;
    EventSource transfer_ended_;
    EventSource drive_ended_;
    EventSource ending_;
};

/// TransferProcess::start, or what a test has in its place.
using TransferStarter = std::function<Result<std::unique_ptr<TransferLink>>(EventLoop&, TransferProcess::Start,
                                                                            TransferProcess::Callbacks)>;

}  // namespace dray
