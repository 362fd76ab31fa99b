// SPDX-License-Identifier: Apache-2.0
#include "daemon/hash/md5_kernel.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "daemon/hash/md5_lanes.hpp"

namespace dray::hash {

// md5_vector.cpp, once for each.
void md5_run_portable(Md5LaneStates& states, const unsigned char* const* content, std::size_t blocks);
#ifdef DRAY_MD5_X86
void md5_run_avx2(Md5LaneStates& states, const unsigned char* const* content, std::size_t blocks);
void md5_run_avx512(Md5LaneStates& states, const unsigned char* const* content, std::size_t blocks);
#endif

namespace {

// What a compiler, a hypervisor or a microcode update may get wrong shows here, not in a customer's blobs.
bool hashes_rightly(const Md5Kernel& kernel) {
    std::vector<std::byte> content(kMostLanes * 200);
    for (std::size_t i = 0; i < content.size(); ++i)
        content[i] = static_cast<std::byte>(i * 131 >> 3);
    std::array<Md5Stream, kMostLanes> streams;
    Md5Lanes lanes(kernel);
    const auto part = [&](std::size_t i) { return std::span<const std::byte>(content).subspan(i * 200, 200 - i * 9); };
    for (std::size_t i = 0; i < streams.size(); ++i)
        lanes.add({&streams[i], part(i), true, i});
    while (!lanes.is_idle())
        (void)lanes.step(content.size());
    for (std::size_t i = 0; i < streams.size(); ++i)
        if (streams[i].digest() != md5(part(i)))
            return false;
    return true;
}

std::vector<Md5Kernel> find_kernels() {
    std::vector<Md5Kernel> kernels;
#ifdef DRAY_MD5_X86
    if (__builtin_cpu_supports("avx512f"))
        kernels.push_back({"AVX-512, 16 lanes", 16, md5_run_avx512});
    if (__builtin_cpu_supports("avx2"))
        kernels.push_back({"AVX2, 2 x 8 lanes", 16, md5_run_avx2});
#endif
    std::erase_if(kernels, [](const Md5Kernel& kernel) { return !hashes_rightly(kernel); });
    kernels.push_back({"portable, 2 x 4 lanes", 8, md5_run_portable});
    return kernels;
}

}  // namespace

std::span<const Md5Kernel> md5_kernels() {
    static const std::vector<Md5Kernel> kernels = find_kernels();
    return kernels;
}

}  // namespace dray::hash
