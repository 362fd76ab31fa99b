// SPDX-License-Identifier: Apache-2.0
#include "daemon/confine/capabilities.hpp"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace dray::confine {
namespace {

using Words = std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3>;
static_assert(_LINUX_CAPABILITY_U32S_3 == 2);

constexpr std::uint64_t joined(std::uint32_t first, std::uint32_t second) {
    return std::uint64_t{second} << 32 | first;
}

constexpr std::uint32_t low(std::uint64_t set) { return static_cast<std::uint32_t>(set); }

constexpr std::uint32_t high(std::uint64_t set) { return static_cast<std::uint32_t>(set >> 32); }

}  // namespace

Result<Capabilities> read_capabilities() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    Words words{};
    if (syscall(SYS_capget, &header, words.data()) != 0)
        return fail_errno(errno, "cannot read the capabilities");
    return Capabilities{.effective = joined(words[0].effective, words[1].effective),
                        .permitted = joined(words[0].permitted, words[1].permitted),
                        .inheritable = joined(words[0].inheritable, words[1].inheritable)};
}

Result<void> write_capabilities(const Capabilities& capabilities) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    const auto& [effective, permitted, inheritable] = capabilities;
    const Words words{{{.effective = low(effective), .permitted = low(permitted), .inheritable = low(inheritable)},
                       {.effective = high(effective), .permitted = high(permitted), .inheritable = high(inheritable)}}};
    if (syscall(SYS_capset, &header, words.data()) != 0)
        return fail_errno(errno, "cannot set the capabilities");
    return {};
}

Result<void> write_ambient_capabilities(std::uint64_t capabilities) {
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
        return fail_errno(errno, "cannot clear the ambient capabilities");
    for (int capability = 0; capability < 64; ++capability)
        if ((capabilities & capability_bit(capability)) != 0 &&
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) != 0)
            return fail_errno(errno, "cannot keep capability {} for other programs", capability);
    return {};
}

void clear_bounding_capabilities() {
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; ++capability)
        (void)prctl(PR_CAPBSET_DROP, capability);
}

}  // namespace dray::confine
