// SPDX-License-Identifier: Apache-2.0
//
// MD5 of many pieces at once: each runs in a lane, and all lanes go through the CPU's vectors together. Lanes are
// refilled one by one, and a piece that is still running when a step ends goes on in the next one. What is too
// little for vectors is left to OpenSSL. One object, one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "daemon/base/digest.hpp"
#include "daemon/base/units.hpp"
#include "daemon/hash/md5_kernel.hpp"

namespace dray::hash {

class Md5Stream;

struct Md5Work {
    Md5Stream* stream = nullptr;
    /// Stays as it is until the work is done. May be empty.
    std::span<const std::byte> content;
    /// Nothing follows: the stream's digest is there when this is done.
    bool is_last = false;
    /// The caller's own.
    std::uint64_t tag = 0;
};

/// One message, whose content comes in one work or in several. It stays where it is while any of them is under way.
class Md5Stream {
public:
    Md5Stream() = default;
    Md5Stream(const Md5Stream&) = delete;
    Md5Stream& operator=(const Md5Stream&) = delete;

    /// After the last work is done.
    const Md5Hash& digest() const { return digest_; }

private:
    friend class Md5Lanes;
    /// RFC 1321.
    std::array<std::uint32_t, 4> state_{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    Bytes length_ = 0;
    /// What has come and does not fill a block: length_ % 64 bytes.
    std::array<unsigned char, kMd5Block> tail_{};
    Md5Hash digest_{};
    bool is_running_ = false;
    /// Work that waits for an earlier one of this stream.
    std::vector<Md5Work> behind_;
};

class Md5Lanes {
public:
    explicit Md5Lanes(const Md5Kernel& kernel = md5_kernels().front());

    /// Several works of one stream are done in the order they were added.
    void add(const Md5Work& work);
    /// Nothing waits and nothing runs.
    bool is_idle() const { return busy_ == 0 && next_ == batch_.size() && arrived_.empty(); }
    /// Hashes about so many bytes. Returns what came to its end, good until the next call.
    std::span<const Md5Work> step(Bytes about);

private:
    struct Lane {
        Md5Work work;
        /// Whole blocks to be hashed next: in the content, or in `own`.
        const unsigned char* next = nullptr;
        std::size_t blocks = 0;
        /// What follows after them.
        std::span<const std::byte> rest;
        bool is_padded = false;
        bool is_busy = false;
        /// The block that completes what came before, and later the end with its padding.
        std::array<unsigned char, 2 * kMd5Block> own{};
    };

    void refill();
    void begin(std::size_t number, const Md5Work& work);
    bool find_blocks(Lane& lane);
    void take_rest(Lane& lane);
    void end(std::size_t number);
    std::size_t run_together(std::size_t most);
    std::size_t run_alone(std::size_t most);
    void advance(Lane& lane, std::size_t blocks);

    Md5Kernel kernel_;
    Md5LaneStates states_{};
    std::array<Lane, kMostLanes> lanes_{};
    std::size_t busy_ = 0;
    /// The batch under way, longest first, and where it goes on; what has come since.
    std::vector<Md5Work> batch_;
    std::size_t next_ = 0;
    std::vector<Md5Work> arrived_;
    std::vector<Md5Work> done_;
};

}  // namespace dray::hash
