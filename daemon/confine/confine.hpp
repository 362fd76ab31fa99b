// SPDX-License-Identifier: Apache-2.0
//
// The boxes that dray's children shut themselves in. Which box allows what stands in one file each, in
// plain sight: unlocking_box.cpp, serving_box.cpp, transfer_box.cpp. Call them before starting threads.
//
// A system call outside a box's list kills the process at once. Failing to install a list is an error
// and the process must not go on; failing to shut the file system away is a warning, because old kernels
// have no Landlock.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "daemon/base/result.hpp"
#include "daemon/confine/users.hpp"

namespace dray::confine {

/// Becomes `user` in no other group, clears every capability set, makes the process undumpable, switches
/// core dumps off and sets no_new_privs. Before anything is read that is not drayd's own.
Result<void> drop_privileges(const std::optional<User>& user = {});

/// Landlock without any rule: from here on no file can be opened but by descriptors held already
/// (memfds open through /proc/self/fd). The answer is empty, or one sentence about what is missing.
std::string shut_file_system();

/// What shut_file_system() and box_transfer() would miss on this machine, without shutting anything: drayd
/// says it once, for all its children.
std::string file_system_problem();
/// The same of box_transfer()'s ports alone.
std::string port_problem();

/// For libcryptsetup on a copy of the header: files can be opened for reading, threads started. With
/// `may_format` also written.
Result<void> box_unlocking(bool may_format);

/// For serving a file system's content: nothing can be opened or started. With `may_write` the device
/// can be written and flushed.
Result<void> box_serving(bool may_write);

struct TransferBox {
    /// Files below these can be read.
    std::vector<std::string> read_directories;
    /// Files and directories below these can be read, made, changed, renamed and removed.
    std::vector<std::string> write_directories;
    /// Unless empty there may be connections to TCP ports with these numbers (kernels before 6.7: to any), and host
    /// names can be looked up.
    std::vector<std::uint16_t> connect_ports;
};

/// For dray-transfer: threads, files below the named directories, no sockets but those it has or connects, no
/// programs. Calls outside its list are refused with EPERM: its libraries ask for more than they need
/// and cope without. The answer is as shut_file_system()'s. NotFound: a directory is not there.
Result<std::string> box_transfer(const TransferBox& box);

}  // namespace dray::confine
