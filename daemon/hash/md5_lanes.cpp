// SPDX-License-Identifier: Apache-2.0
// OpenSSL's old interface is the one that takes up a state in mid-message.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "daemon/hash/md5_lanes.hpp"

#include <openssl/md5.h>

#include <algorithm>
#include <cstring>

namespace dray::hash {
namespace {

/// Fewer busy lanes than these are quicker one after the other.
constexpr std::size_t kFew = 3;

}  // namespace

Md5Lanes::Md5Lanes(const Md5Kernel& kernel) : kernel_(kernel) {}

void Md5Lanes::add(const Md5Work& work) {
    if (work.stream->is_running_) {
        work.stream->behind_.push_back(work);
        return;
    }
    work.stream->is_running_ = true;
    arrived_.push_back(work);
}

std::span<const Md5Work> Md5Lanes::step(Bytes about) {
    done_.clear();
    Bytes hashed = 0;
    for (;;) {
        refill();
        if (busy_ == 0 || hashed >= about)
            return done_;
        const std::size_t most = std::max<std::size_t>(1, (about - hashed) / kMd5Block / busy_);
        hashed += kMd5Block * (busy_ < kFew ? run_alone(most) : run_together(most));
    }
}

// A batch is brought to its end before what came later is looked at, so that the longest do not hold up the others
// for ever.
void Md5Lanes::refill() {
    for (std::size_t number = 0; number < kernel_.lanes && busy_ < kernel_.lanes; ++number) {
        while (!lanes_[number].is_busy) {
            if (next_ == batch_.size()) {
                if (arrived_.empty())
                    return;
                batch_.clear();
                std::swap(batch_, arrived_);
                next_ = 0;
                // Where all are equally long they stay as they came.
                const auto length = [](const Md5Work& work) { return work.content.size(); };
                if (!std::ranges::is_sorted(batch_, std::ranges::greater(), length))
                    std::ranges::sort(batch_, std::ranges::greater(), length);
            }
            begin(number, batch_[next_++]);
        }
    }
}

void Md5Lanes::begin(std::size_t number, const Md5Work& work) {
    Lane& lane = lanes_[number];
    Md5Stream& stream = *work.stream;
    lane.work = work;
    lane.rest = work.content;
    lane.is_padded = false;
    lane.is_busy = true;
    ++busy_;
    for (std::size_t word = 0; word < 4; ++word)
        states_.word[word][number] = stream.state_[word];
    const std::size_t before = stream.length_ % kMd5Block;
    stream.length_ += work.content.size();
    lane.blocks = 0;
    if (before > 0 && before + work.content.size() >= kMd5Block) {
        std::memcpy(lane.own.data(), stream.tail_.data(), before);
        std::memcpy(lane.own.data() + before, work.content.data(), kMd5Block - before);
        lane.rest = work.content.subspan(kMd5Block - before);
        lane.next = lane.own.data();
        lane.blocks = 1;
    } else if (before > 0) {
        if (!work.content.empty())
            std::memcpy(stream.tail_.data() + before, work.content.data(), work.content.size());
        lane.rest = {};
    }
    if (lane.blocks == 0 && !find_blocks(lane))
        end(number);
}

// What comes after the blocks at hand. False: the work is done.
bool Md5Lanes::find_blocks(Lane& lane) {
    if (lane.rest.size() >= kMd5Block) {
        lane.next = reinterpret_cast<const unsigned char*>(lane.rest.data());
        lane.blocks = lane.rest.size() / kMd5Block;
        lane.rest = lane.rest.subspan(lane.blocks * kMd5Block);
        return true;
    }
    take_rest(lane);
    if (!lane.work.is_last || lane.is_padded)
        return false;
    lane.is_padded = true;
    const Md5Stream& stream = *lane.work.stream;
    const std::size_t length = stream.length_ % kMd5Block;
    lane.blocks = length + 1 + sizeof(std::uint64_t) <= kMd5Block ? 1 : 2;
    const std::uint64_t bits = 8 * stream.length_;
    lane.own.fill(0);
    std::memcpy(lane.own.data(), stream.tail_.data(), length);
    lane.own[length] = 0x80;
    std::memcpy(lane.own.data() + lane.blocks * kMd5Block - sizeof bits, &bits, sizeof bits);
    lane.next = lane.own.data();
    return true;
}

void Md5Lanes::take_rest(Lane& lane) {
    if (!lane.rest.empty())
        std::memcpy(lane.work.stream->tail_.data(), lane.rest.data(), lane.rest.size());
    lane.rest = {};
}

void Md5Lanes::end(std::size_t number) {
    Lane& lane = lanes_[number];
    Md5Stream& stream = *lane.work.stream;
    for (std::size_t word = 0; word < 4; ++word)
        stream.state_[word] = states_.word[word][number];
    if (lane.work.is_last)
        std::memcpy(stream.digest_.data(), stream.state_.data(), stream.digest_.size());
    done_.push_back(lane.work);
    lane.is_busy = false;
    --busy_;
    stream.is_running_ = !stream.behind_.empty();
    if (!stream.is_running_)
        return;
    const Md5Work following = stream.behind_.front();
    stream.behind_.erase(stream.behind_.begin());
    begin(number, following);
}

// All lanes by as many blocks as the shortest run has. Idle lanes hash along with a busy one, for nobody.
std::size_t Md5Lanes::run_together(std::size_t most) {
    std::array<const unsigned char*, kMostLanes> content{};
    const unsigned char* some = nullptr;
    std::size_t blocks = most;
    for (std::size_t number = 0; number < kernel_.lanes; ++number) {
        const Lane& lane = lanes_[number];
        if (!lane.is_busy)
            continue;
        content[number] = some = lane.next;
        blocks = std::min(blocks, lane.blocks);
    }
    for (const unsigned char*& lane : content)
        if (lane == nullptr)
            lane = some;
    kernel_.run(states_, content.data(), blocks);
    const std::size_t hashed = blocks * busy_;
    for (std::size_t number = 0; number < kernel_.lanes; ++number) {
        Lane& lane = lanes_[number];
        if (!lane.is_busy)
            continue;
        advance(lane, blocks);
        if (lane.blocks == 0 && !find_blocks(lane))
            end(number);
    }
    return hashed;
}

std::size_t Md5Lanes::run_alone(std::size_t most) {
    std::size_t hashed = 0;
    for (std::size_t number = 0; number < kernel_.lanes; ++number) {
        Lane& lane = lanes_[number];
        if (!lane.is_busy)
            continue;
        const std::size_t blocks = std::min(most, lane.blocks);
        MD5_CTX context{};
        context.A = states_.word[0][number];
        context.B = states_.word[1][number];
        context.C = states_.word[2][number];
        context.D = states_.word[3][number];
        MD5_Update(&context, lane.next, blocks * kMd5Block);
        states_.word[0][number] = context.A;
        states_.word[1][number] = context.B;
        states_.word[2][number] = context.C;
        states_.word[3][number] = context.D;
        hashed += blocks;
        advance(lane, blocks);
        if (lane.blocks == 0 && !find_blocks(lane))
            end(number);
    }
    return hashed;
}

void Md5Lanes::advance(Lane& lane, std::size_t blocks) {
    lane.next += blocks * kMd5Block;
    lane.blocks -= blocks;
}

}  // namespace dray::hash
