// SPDX-License-Identifier: Apache-2.0
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "daemon/confine/confine.hpp"

namespace dray::confine {

Result<void> drop_privileges() {
    // Takes CAP_SETPCAP, which a child of drayd does not have; it has no capability to lose either, and
    // no_new_privs keeps it from ever getting one.
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; ++capability)
        (void)prctl(PR_CAPBSET_DROP, capability);
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
        return fail_errno(errno, "cannot clear the ambient capabilities");
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    const std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> nothing{};
    if (syscall(SYS_capset, &header, nothing.data()) != 0)
        return fail_errno(errno, "cannot drop the capabilities");
    if (prctl(PR_SET_DUMPABLE, 0) != 0)
        return fail_errno(errno, "cannot make the process undumpable");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return fail_errno(errno, "cannot renounce new privileges");
    return {};
}

}  // namespace dray::confine
