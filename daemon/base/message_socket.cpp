// SPDX-License-Identifier: Apache-2.0
#include "daemon/base/message_socket.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace dray {
namespace {

constexpr int kSocketBuffer = 1024 * 1024;

union ControlBuffer {
    cmsghdr header;
    std::array<std::byte, CMSG_SPACE(sizeof(int) * kMaxMessageDescriptors)> bytes;
};

}  // namespace

Result<std::pair<MessageSocket, MessageSocket>> MessageSocket::make_pair() {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
        return fail_errno(errno, "cannot make a socket pair");
    std::pair<MessageSocket, MessageSocket> ends{MessageSocket(FileDescriptor(fds[0])),
                                                 MessageSocket(FileDescriptor(fds[1]))};
    // Best effort: the kernel's own limit may be lower, and less room only means more waiting.
    for (const int fd : fds)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kSocketBuffer, sizeof kSocketBuffer);
    return ends;
}

Result<void> MessageSocket::send(std::span<const std::byte> bytes, std::span<const int> descriptors) {
    return send_with(bytes, descriptors, 0);
}

Result<void> MessageSocket::try_send(std::span<const std::byte> bytes,
                                     std::span<const int> descriptors) {
    return send_with(bytes, descriptors, MSG_DONTWAIT);
}

Result<void> MessageSocket::send_with(std::span<const std::byte> bytes,
                                      std::span<const int> descriptors, int flags) {
    if (bytes.size() > kMaxMessage || bytes.empty() || descriptors.size() > kMaxMessageDescriptors)
        return fail(ErrorKind::LimitReached, "a message of {} bytes with {} descriptors is too large",
                    bytes.size(), descriptors.size());
    iovec vector{const_cast<std::byte*>(bytes.data()), bytes.size()};
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    ControlBuffer control{};
    if (!descriptors.empty()) {
        message.msg_control = control.bytes.data();
        message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
        std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
    }
    // The boxes of processes that hand nothing over have no sendmsg.
    const auto send_once = [&] {
        return descriptors.empty() ? ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | flags)
                                   : sendmsg(fd_.get(), &message, MSG_NOSIGNAL | flags);
    };
    while (send_once() < 0) {
        if (errno == EINTR)
            continue;
        if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)
            return fail(ErrorKind::Gone, "the other side has closed");
        return fail_errno(errno, "cannot send a message");
    }
    return {};
}

Result<std::optional<Message>> MessageSocket::try_receive() {
    Message received;
    received.bytes.resize(kMaxMessage);
    iovec vector{received.bytes.data(), received.bytes.size()};
    ControlBuffer control{};
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes.data();
    message.msg_controllen = sizeof control;
    ssize_t count = 0;
    while ((count = recvmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC)) < 0) {
        if (errno == EAGAIN)
            return std::nullopt;
        if (errno == ECONNRESET)
            return fail(ErrorKind::Gone, "the other side has closed");
        if (errno != EINTR)
            return fail_errno(errno, "cannot receive a message");
    }
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        const std::size_t number = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < number; ++i) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
            received.descriptors.emplace_back(fd);
        }
    }
    if (count == 0)
        return fail(ErrorKind::Gone, "the other side has closed");
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
        return fail(ErrorKind::Corrupt, "a message was too long");
    received.bytes.resize(static_cast<std::size_t>(count));
    return received;
}

Result<Message> MessageSocket::receive() {
    for (;;) {
        DRAY_LET(std::optional<Message> message, try_receive());
        if (message)
            return *std::move(message);
        pollfd waiting{fd_.get(), POLLIN, 0};
        if (poll(&waiting, 1, -1) < 0 && errno != EINTR)
            return fail_errno(errno, "cannot wait for a message");
    }
}

}  // namespace dray
