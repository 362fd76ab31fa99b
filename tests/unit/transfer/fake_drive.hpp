// SPDX-License-Identifier: Apache-2.0
//
// What dray-drive is to its peer: files in memory, served over the real protocol and the real ring from a
// thread, with the mishaps a test asks for.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/base/message_socket.hpp"
#include "daemon/drive/client.hpp"

namespace dray::test {

class FakeDrive {
public:
    using Content = std::vector<std::byte>;

    explicit FakeDrive(std::map<std::string, Content> files) : files_(std::move(files)) {}
    FakeDrive(const FakeDrive&) = delete;
    FakeDrive& operator=(const FakeDrive&) = delete;
    ~FakeDrive();

    /// A client of this drive. Once.
    drive::Client connect(Bytes ring);

    /// Reads that touch this byte of the file fail with the kind.
    void fail_at(const std::string& file, Bytes offset, ErrorKind kind);
    /// As fail_at(), but only so many times; `failed` is called at each.
    void fail_at_first(const std::string& file, Bytes offset, unsigned times, std::function<void()> failed = {});
    /// The file cannot be opened so many times.
    void refuse_to_open(const std::string& file, unsigned times) { unopenable_[file] = times; }
    /// Ends the drive, as a crash would, when it is asked for so many reads.
    void die_after(unsigned reads) { reads_left_ = static_cast<int>(reads); }
    /// Leaves everything unanswered from so many reads on.
    void fall_silent_after(unsigned reads) { reads_heard_ = static_cast<int>(reads); }
    /// Answers each opening twice: that it went well, and that it did not.
    void answer_opens_twice() { is_two_faced_ = true; }
    /// Answers what was asked in one message from the last to the first.
    void answer_backwards() { is_backward_ = true; }
    void change(const std::string& file, Bytes offset) { files_[file][offset] ^= std::byte{1}; }

    /// What it can write to at any time. After connect().
    std::span<std::byte> ring() const { return ring_.bytes(); }

    unsigned reads() const { return reads_; }

private:
    drive::Reply read(const drive::Read& request);

    std::map<std::string, Content> files_;
    std::map<std::string, std::map<Bytes, ErrorKind>> failures_;
    struct Lapse {
        Bytes offset = 0;
        unsigned times = 0;
        std::function<void()> failed;
    };
    std::map<std::string, Lapse> lapses_;
    std::map<std::string, unsigned> unopenable_;
    std::map<std::uint32_t, std::string> open_;
    SharedMemory ring_;
    std::atomic<unsigned> reads_ = 0;
    std::atomic<int> reads_left_ = -1;
    std::atomic<int> reads_heard_ = -1;
    std::atomic<bool> is_two_faced_ = false;
    std::atomic<bool> is_backward_ = false;
    std::jthread thread_;
};

}  // namespace dray::test
