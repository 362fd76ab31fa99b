// SPDX-License-Identifier: Apache-2.0
//
// How much private memory a store's encryption may hold. A block is there from its first piece until the inner store has
// it. Any thread.
//
// Who drives a store has only so much on its way, and pieces come about in order; so most blocks soon are whole and go.
// Beyond kComfortable a new block waits as long as anybody else is at work, because that gives memory back by itself; who
// came first goes first, so that neighbours meet. What stays are blocks with a hole: a piece that could not be read, and
// may be read again much later. When all comes to kMost, blobs are given up that have a block which nothing came into
// while kStale pieces came elsewhere, first those that nothing came of for the longest time. What is merely on its way is
// never given up; it may take more for a while. Where blocks are larger than 24 MiB (blobs above a tebibyte), there may be
// two of them in comfort and four at most.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <stop_token>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"

namespace dray::store {

class BlockMemory {
public:
    static constexpr Bytes kComfortable = 48 * kMiB;
    static constexpr Bytes kMost = 96 * kMiB;
    /// More than an import has on its way at once.
    static constexpr std::uint64_t kStale = 192;

    explicit BlockMemory(Bytes comfortable = kComfortable, Bytes most = kMost) : comfortable_(comfortable), most_(most) {}

    /// Who keeps blocks for long. Called with this object's lock held: it must not call back.
    class Holder {
    public:
        virtual ~Holder() = default;
        /// If nothing came into one of its blocks since `when`: gives the blob up, lets go of all blocks that nobody works
        /// on, and says how much that was.
        virtual Bytes give_up(std::uint64_t when) = 0;
    };
    void join(Holder& holder);
    void leave(Holder& holder);

    /// One put that is at work: it ends by itself, unless it waits in take().
    class Work {
    public:
        /// `holder` may be null.
        Work(BlockMemory& memory, Holder* holder);
        ~Work();
        Work(const Work&) = delete;
        Work& operator=(const Work&) = delete;

        /// Cancelled: `stop` was requested while it waited.
        Result<void> take(Bytes bytes, const std::stop_token& stop);
        /// A number that grows with each.
        std::uint64_t when() const { return when_; }

    private:
        BlockMemory& memory_;
        std::uint64_t when_ = 0;
    };
    void give_back(Bytes bytes);

    Bytes held() const;
    /// How many wait for memory.
    std::size_t waiting() const;

private:
    void make_room(Bytes bytes);

    const Bytes comfortable_;
    const Bytes most_;
    mutable std::mutex mutex_;
    std::condition_variable_any changed_;
    Bytes held_ = 0;
    unsigned at_work_ = 0;
    /// Who waits in take(), the first first.
    std::deque<const Work*> waiting_;
    /// When something was last put.
    std::map<Holder*, std::uint64_t> holders_;
    std::uint64_t now_ = 0;
};

}  // namespace dray::store
