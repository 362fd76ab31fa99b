// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/bitlocker/elephant.hpp"

#include <cstdint>
#include <cstring>

namespace dray::volume {
namespace {

template <int bits, typename Word>
void turn(Word& word) {
    if constexpr (bits != 0)
        word = word << bits | word >> (32 - bits);
}

/// One step: `word` gets `near` and the turned `far`.
template <int bits, typename Word>
void add(Word& word, const Word& near, const Word& far) {
    Word turned = far;
    turn<bits>(turned);
    word += near ^ turned;
}

/// `count`, the words of a sector, is a power of two.
template <typename Word>
void undo_b(Word* words, std::size_t count) {
    const std::size_t mask = count - 1;
    for (int cycle = 0; cycle < 3; ++cycle) {
        for (std::size_t i = 0; i < count; i += 4) {
            add<0>(words[i], words[(i + 2) & mask], words[(i + 5) & mask]);
            add<10>(words[i + 1], words[(i + 3) & mask], words[(i + 6) & mask]);
            add<0>(words[i + 2], words[(i + 4) & mask], words[(i + 7) & mask]);
            add<25>(words[i + 3], words[(i + 5) & mask], words[(i + 8) & mask]);
        }
    }
}

template <typename Word>
void undo_a(Word* words, std::size_t count) {
    const std::size_t mask = count - 1;
    for (int cycle = 0; cycle < 5; ++cycle) {
        for (std::size_t i = 0; i < count; i += 4) {
            add<9>(words[i], words[(i - 2) & mask], words[(i - 5) & mask]);
            add<0>(words[i + 1], words[(i - 1) & mask], words[(i - 4) & mask]);
            add<13>(words[i + 2], words[i & mask], words[(i - 3) & mask]);
            add<0>(words[i + 3], words[(i + 1) & mask], words[(i - 2) & mask]);
        }
    }
}

void take_off_key(std::span<std::byte> sector, std::span<const std::byte> key) {
    for (std::size_t i = 0; i < sector.size(); i += Elephant::kSectorKey)
        for (std::size_t byte = 0; byte < Elephant::kSectorKey; ++byte)
            sector[i + byte] ^= key[byte];
}

}  // namespace

Elephant::Elephant(std::size_t sector_size)
    : sector_size_(sector_size), side_by_side_(sector_size / sizeof(std::uint32_t)), words_(sector_size / sizeof(std::uint32_t)) {}

void Elephant::undo_side_by_side(std::byte* sectors) {
    const std::size_t count = side_by_side_.size();
    // A vector has its lanes' words one after the other.
    auto* const bytes = reinterpret_cast<std::byte*>(side_by_side_.data());
    for (std::size_t lane = 0; lane < kLanes; ++lane)
        for (std::size_t i = 0; i < count; ++i)
            std::memcpy(bytes + (i * kLanes + lane) * 4, sectors + lane * sector_size_ + i * 4, 4);
    undo_b(side_by_side_.data(), count);
    undo_a(side_by_side_.data(), count);
    for (std::size_t lane = 0; lane < kLanes; ++lane)
        for (std::size_t i = 0; i < count; ++i)
            std::memcpy(sectors + lane * sector_size_ + i * 4, bytes + (i * kLanes + lane) * 4, 4);
}

void Elephant::undo_one(std::byte* sector) {
    std::memcpy(words_.data(), sector, sector_size_);
    undo_b(words_.data(), words_.size());
    undo_a(words_.data(), words_.size());
    std::memcpy(sector, words_.data(), sector_size_);
}

void Elephant::undo(std::span<std::byte> content, std::span<const std::byte> keys) {
    std::size_t done = 0;
    for (; content.size() - done >= kLanes * sector_size_; done += kLanes * sector_size_)
        undo_side_by_side(content.data() + done);
    for (; content.size() - done >= sector_size_; done += sector_size_)
        undo_one(content.data() + done);
    for (std::size_t sector = 0; sector * sector_size_ < content.size(); ++sector)
        take_off_key(content.subspan(sector * sector_size_, sector_size_), keys.subspan(sector * kSectorKey, kSectorKey));
}

}  // namespace dray::volume
