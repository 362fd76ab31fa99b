// SPDX-License-Identifier: Apache-2.0
//
// What MD5 and CRC64 cost: GB/s of one core for each form this CPU can run, MD5 beside OpenSSL's. Prints; judges nothing.
//   cmake --build --preset release --target hash_bench && build/release/bin/hash_bench
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <deque>
#include <random>
#include <vector>

#include "daemon/hash/crc64.hpp"
#include "daemon/hash/md5_lanes.hpp"

namespace dray::hash {
namespace {

constexpr int kRounds = 7;
constexpr Bytes kStep = 512 * kKiB;

struct Set {
    const char* name;
    std::vector<std::size_t> lengths;
};

std::vector<Set> sets() {
    std::mt19937_64 random(1);
    std::vector<std::size_t> mixed(400);
    for (std::size_t& length : mixed)
        length = static_cast<std::size_t>(4096 * std::exp2(std::uniform_real_distribution<>(0, 10)(random)));
    std::vector<std::size_t> tiny(20'000);
    for (std::size_t& length : tiny)
        length = random() % 200;
    std::vector<std::size_t> one(32, 64 * kKiB);
    one.front() = 4 * kMiB;
    return {{"20,000 x 4 KiB", std::vector<std::size_t>(20'000, 4096)},
            {"16 x 4 MiB", std::vector<std::size_t>(16, 4 * kMiB)},
            {"8 x 4 MiB", std::vector<std::size_t>(8, 4 * kMiB)},
            {"4 x 4 MiB", std::vector<std::size_t>(4, 4 * kMiB)},
            {"2 x 4 MiB", std::vector<std::size_t>(2, 4 * kMiB)},
            {"400, 4 KiB to 4 MiB", mixed},
            {"1 x 4 MiB + 31 x 64 KiB", one},
            {"20,000 x 0 to 199 B", tiny}};
}

template <typename Body>
double best_gigabytes(Bytes all, const Body& body) {
    double best = 0;
    for (int round = 0; round < kRounds; ++round) {
        const auto began = std::chrono::steady_clock::now();
        body();
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
        best = std::max(best, static_cast<double>(all) / took.count() / 1e9);
    }
    return best;
}

void run() {
    std::printf("%-24s %22s", "GB/s", "OpenSSL");
    for (const Md5Kernel& kernel : md5_kernels())
        std::printf(" %22s", kernel.name);
    std::printf("\n");
    for (const Set& set : sets()) {
        std::vector<std::vector<std::byte>> contents;
        Bytes all = 0;
        for (const std::size_t length : set.lengths) {
            contents.emplace_back(length, std::byte{7});
            all += length;
        }
        std::printf("%-24s %22.2f", set.name, best_gigabytes(all, [&] {
                        for (const auto& content : contents)
                            (void)md5(content);
                    }));
        for (const Md5Kernel& kernel : md5_kernels())
            std::printf(" %22.2f", best_gigabytes(all, [&] {
                            Md5Lanes lanes(kernel);
                            std::deque<Md5Stream> streams;
                            for (const auto& content : contents)
                                lanes.add({&streams.emplace_back(), content, true, 0});
                            while (!lanes.is_idle())
                                (void)lanes.step(kStep);
                        }));
        std::printf("\n");
    }
    const std::vector<std::byte> block(4 * kMiB, std::byte{7});
    std::uint64_t sum = 0;
    for (const Crc64Kernel& kernel : crc64_kernels())
        std::printf("CRC64 of 32 x 4 MiB: %s %.2f\n", kernel.name, best_gigabytes(32 * block.size(), [&] {
                        for (int i = 0; i < 32; ++i)
                            sum = kernel.run(sum, block);
                    }));
    std::printf("(%llx)\n", static_cast<unsigned long long>(sum));  // so that nothing of it is left out
}

}  // namespace
}  // namespace dray::hash

int main() {
    dray::hash::run();
    return 0;
}
