// SPDX-License-Identifier: Apache-2.0
//
// Fills a formatted drive through dray-drive: directories and files in order, content through the
// ring with many requests in flight. Requests are answered in their order, so the ring is a queue
// of extents.
#pragma once

#include <deque>
#include <span>
#include <string>
#include <vector>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"
#include "daemon/drive/client.hpp"

namespace dray::ctl {

/// Once a call has failed, all that follow may; Cancelled: a signal came.
class DriveWriter {
public:
    /// Content goes over in extents of at most this; files are written at multiples of it.
    static constexpr Bytes kExtent = kMiB;

    explicit DriveWriter(drive::Client& client);

    Result<void> make_directory(const std::string& path);
    /// Begins a file. One is written at a time.
    Result<void> create(const std::string& path, Bytes size, std::uint64_t modified_usec);
    /// Room in the ring for the next `length` bytes of the file; waits until there is some.
    Result<std::span<std::byte>> extent(Bytes length);
    /// Sends what was put into the extent that extent() gave last.
    Result<void> write();
    Result<void> close();
    /// Waits for everything, then closes the file system and flushes the device.
    Result<void> finish();

    /// What dray-drive has confirmed.
    Bytes bytes_done() const { return bytes_done_; }

private:
    struct Pending {
        std::uint64_t request = 0;
        /// Of the ring, with the gap before it; 0 for what has no content.
        Bytes ring_bytes = 0;
        Bytes length = 0;
        std::string path;
    };

    Result<void> add(drive::Request request, Pending pending);
    Result<void> submit();
    Result<void> take(const std::vector<drive::Reply>& replies);
    Result<void> take(const drive::Reply& reply);
    /// Until at most `most` requests are unanswered.
    Result<void> wait_until(std::size_t most);
    Result<void> wait();

    drive::Client& client_;
    std::string path_;
    Bytes offset_ = 0;
    Bytes length_ = 0;
    /// Of the queue of extents: where the next one begins, and the bytes from its oldest to there.
    Bytes ring_next_ = 0;
    Bytes ring_used_ = 0;
    /// What the extent in hand takes from the ring.
    Bytes ring_bytes_ = 0;
    Bytes ring_offset_ = 0;
    std::uint64_t next_request_ = 1;
    std::vector<drive::Request> batch_;
    Bytes batch_bytes_ = 0;
    std::deque<Pending> pending_;
    Bytes bytes_done_ = 0;
};

}  // namespace dray::ctl
