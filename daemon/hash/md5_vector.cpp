// SPDX-License-Identifier: Apache-2.0
//
// MD5 of many messages side by side, one to each place of a vector. This one source is compiled several times, each time
// with machine flags of its own and
//   DRAY_MD5_RUN   the function's name
//   DRAY_MD5_WIDTH lanes in a vector: 4, 8 or 16
//   DRAY_MD5_SETS  vectors worked on in turn: MD5 is a chain, and while one waits the other goes on
// What is compiled here may run on few machines: so nothing here may be an inline function that other files have
// too, because the linker keeps one of all copies for everybody.
#include <cstddef>
#include <cstdint>
#include <utility>

#include "daemon/hash/md5_kernel.hpp"

#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace dray::hash {
namespace {

#define DRAY_INLINE inline __attribute__((always_inline))

constexpr std::size_t kWidth = DRAY_MD5_WIDTH;
constexpr std::size_t kSets = DRAY_MD5_SETS;
constexpr std::size_t kLanes = kWidth * kSets;
constexpr std::size_t kWords = 16;

using Vector = std::uint32_t __attribute__((vector_size(4 * kWidth)));
/// The same in memory, anywhere.
using Loose = std::uint32_t __attribute__((vector_size(4 * kWidth), aligned(1), may_alias));

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "MD5 reads its words with the lowest byte first");
static_assert(kLanes <= kMostLanes);

// RFC 1321: floor(2^32 * abs(sin(i + 1))).
constexpr std::uint32_t kSine[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};
constexpr int kTurns[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
constexpr std::size_t kFactors[4] = {1, 5, 3, 7};
constexpr std::size_t kStarts[4] = {0, 1, 5, 0};

// The four functions of MD5, over vectors and over the truth tables of ternary logic alike.
struct Choose {
    template <typename T>
    static constexpr T of(T b, T c, T d) { return d ^ (b & (c ^ d)); }
};
struct ChooseByLast {
    template <typename T>
    static constexpr T of(T b, T c, T d) { return c ^ (d & (b ^ c)); }
};
struct Parity {
    template <typename T>
    static constexpr T of(T b, T c, T d) { return b ^ (c ^ d); }
};
struct Fourth {
    template <typename T>
    static constexpr T of(T b, T c, T d) { return c ^ (b | ~d); }
};

#ifdef __AVX512F__
template <typename Function>
DRAY_INLINE Vector combine(Vector sum, Vector b, Vector c, Vector d) {
    constexpr int kTable = Function::of(0xF0, 0xCC, 0xAA) & 0xFF;
    return sum + (Vector)_mm512_ternarylogic_epi32((__m512i)b, (__m512i)c, (__m512i)d, kTable);
}
#else
template <typename Function>
DRAY_INLINE Vector combine(Vector sum, Vector b, Vector c, Vector d) { return sum + Function::of(b, c, d); }
// Its halves have no bit in common: adding them one by one shortens the chain.
template <>
DRAY_INLINE Vector combine<ChooseByLast>(Vector sum, Vector b, Vector c, Vector d) {
    return (sum + (c & ~d)) + (b & d);
}
#endif

/// One instruction where the machine has it: compilers know this one.
template <int kTurn>
DRAY_INLINE Vector turn(Vector value) { return (value << kTurn) | (value >> (32 - kTurn)); }

template <std::size_t kRound>
struct FunctionOf;
template <> struct FunctionOf<0> { using Type = Choose; };
template <> struct FunctionOf<1> { using Type = ChooseByLast; };
template <> struct FunctionOf<2> { using Type = Parity; };
template <> struct FunctionOf<3> { using Type = Fourth; };

/// Which words a shuffle of two vectors takes: alternately single words or pairs of them out of each 128 bits, or
/// every second 128 bits.
enum class Pick { LowWords, HighWords, LowPairs, HighPairs, EvenQuarters, OddQuarters };

constexpr int picked(Pick pick, std::size_t place) {
    const std::size_t quarter = place / 4;
    const std::size_t word = place % 4;
    const std::size_t half = kWidth / 8;
    std::size_t index = 0;
    switch (pick) {
        case Pick::LowWords:
        case Pick::HighWords: index = 4 * quarter + word / 2 + (word % 2) * kWidth; break;
        case Pick::LowPairs:
        case Pick::HighPairs: index = 4 * quarter + word % 2 + (word / 2) * kWidth; break;
        default: index = 8 * (half == 0 ? 0 : quarter % half) + word + (half != 0 && quarter >= half ? kWidth : 0); break;
    }
    if (pick == Pick::HighWords || pick == Pick::HighPairs)
        index += 2;
    if (pick == Pick::OddQuarters)
        index += 4;
    return static_cast<int>(index);
}

template <Pick kPick, std::size_t... kPlace>
DRAY_INLINE Vector shuffle(Vector a, Vector b, std::index_sequence<kPlace...> /*places*/) {
    return __builtin_shufflevector(a, b, picked(kPick, kPlace)...);
}
template <Pick kPick>
DRAY_INLINE Vector shuffle(Vector a, Vector b) {
    return shuffle<kPick>(a, b, std::make_index_sequence<kWidth>());
}

/// kWidth words of each of kWidth lanes become kWidth vectors of one word of all of them.
DRAY_INLINE void transpose(Vector (&rows)[kWidth]) {
    for (std::size_t i = 0; i < kWidth; i += 4) {
        const Vector a = shuffle<Pick::LowWords>(rows[i], rows[i + 1]);
        const Vector b = shuffle<Pick::HighWords>(rows[i], rows[i + 1]);
        const Vector c = shuffle<Pick::LowWords>(rows[i + 2], rows[i + 3]);
        const Vector d = shuffle<Pick::HighWords>(rows[i + 2], rows[i + 3]);
        rows[i] = shuffle<Pick::LowPairs>(a, c);
        rows[i + 1] = shuffle<Pick::HighPairs>(a, c);
        rows[i + 2] = shuffle<Pick::LowPairs>(b, d);
        rows[i + 3] = shuffle<Pick::HighPairs>(b, d);
    }
    if constexpr (kWidth == 8) {
        for (std::size_t i = 0; i < 4; ++i) {
            const Vector a = rows[i];
            rows[i] = shuffle<Pick::EvenQuarters>(a, rows[i + 4]);
            rows[i + 4] = shuffle<Pick::OddQuarters>(a, rows[i + 4]);
        }
    }
    if constexpr (kWidth == 16) {
        for (std::size_t i = 0; i < 4; ++i) {
            const Vector a = shuffle<Pick::EvenQuarters>(rows[i], rows[i + 4]);
            const Vector b = shuffle<Pick::OddQuarters>(rows[i], rows[i + 4]);
            const Vector c = shuffle<Pick::EvenQuarters>(rows[i + 8], rows[i + 12]);
            const Vector d = shuffle<Pick::OddQuarters>(rows[i + 8], rows[i + 12]);
            rows[i] = shuffle<Pick::EvenQuarters>(a, c);
            rows[i + 4] = shuffle<Pick::EvenQuarters>(b, d);
            rows[i + 8] = shuffle<Pick::OddQuarters>(a, c);
            rows[i + 12] = shuffle<Pick::OddQuarters>(b, d);
        }
    }
}

/// The four words of the state; which of them is the first moves on with each step.
struct State {
    Vector word[4];
};
struct Message {
    Vector word[kWords];
};

template <std::size_t kStep>
DRAY_INLINE void step(State& state, const Message& message) {
    constexpr std::size_t kRound = kStep / 16;
    constexpr std::size_t kWord = (kStarts[kRound] + kFactors[kRound] * kStep) % kWords;
    Vector& a = state.word[(64 - kStep) % 4];
    const Vector b = state.word[(65 - kStep) % 4];
    const Vector c = state.word[(66 - kStep) % 4];
    const Vector d = state.word[(67 - kStep) % 4];
    const Vector sum = combine<typename FunctionOf<kRound>::Type>(a + (message.word[kWord] + kSine[kStep]), b, c, d);
    a = b + turn<kTurns[kRound][kStep % 4]>(sum);
}

template <std::size_t kStep>
DRAY_INLINE void step_all(State (&states)[kSets], const Message (&messages)[kSets]) {
    step<kStep>(states[0], messages[0]);
    if constexpr (kSets == 2)
        step<kStep>(states[1], messages[1]);
}

template <std::size_t... kStep>
DRAY_INLINE void digest(State (&states)[kSets], const Message (&messages)[kSets], std::index_sequence<kStep...> /*steps*/) {
    (step_all<kStep>(states, messages), ...);
}

DRAY_INLINE void load(Message& message, const unsigned char* const* content, std::size_t offset) {
    for (std::size_t part = 0; part < kWords; part += kWidth) {
        Vector rows[kWidth];
        for (std::size_t lane = 0; lane < kWidth; ++lane)
            rows[lane] = *reinterpret_cast<const Loose*>(content[lane] + offset + 4 * part);
        transpose(rows);
        for (std::size_t word = 0; word < kWidth; ++word)
            message.word[part + word] = rows[word];
    }
}

}  // namespace

void DRAY_MD5_RUN(Md5LaneStates& lanes, const unsigned char* const* content, std::size_t blocks) {
    State states[kSets];
    for (std::size_t set = 0; set < kSets; ++set)
        for (std::size_t word = 0; word < 4; ++word)
            states[set].word[word] = *reinterpret_cast<const Loose*>(&lanes.word[word][set * kWidth]);
    for (std::size_t block = 0; block < blocks; ++block) {
        Message messages[kSets];
        State before[kSets];
        for (std::size_t set = 0; set < kSets; ++set) {
            load(messages[set], content + set * kWidth, 64 * block);
            before[set] = states[set];
        }
        digest(states, messages, std::make_index_sequence<64>());
        for (std::size_t set = 0; set < kSets; ++set)
            for (std::size_t word = 0; word < 4; ++word)
                states[set].word[word] += before[set].word[word];
    }
    for (std::size_t set = 0; set < kSets; ++set)
        for (std::size_t word = 0; word < 4; ++word)
            *reinterpret_cast<Loose*>(&lanes.word[word][set * kWidth]) = states[set].word[word];
}

}  // namespace dray::hash
