// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

#include "daemon/base/file.hpp"
#include "daemon/catalog/catalog.hpp"

namespace dray {
namespace {

constexpr const char* kCredentialName = "dray-master-key";

Result<SecretBytes> read_key_file(const std::string& path, bool must_be_private) {
    DRAY_LET(const FileDescriptor file, open_file(path, O_RDONLY | O_NOFOLLOW));
    struct stat status {};
    if (fstat(file.get(), &status) != 0)
        return fail_errno(errno, "cannot look at {}", path);
    if (must_be_private && (status.st_mode & 077) != 0)
        return fail(ErrorKind::Denied, "the master key {} can be read by others (mode {:04o}); run: chmod 600 {}",
                    path, status.st_mode & 07777, path);
    if (status.st_size < static_cast<off_t>(kMasterKeyBytes))
        return fail(ErrorKind::InvalidArgument, "the master key {} has {} bytes, {} are needed", path,
                    status.st_size, kMasterKeyBytes);
    SecretBytes key(kMasterKeyBytes);
    DRAY_TRY(read_fully(file.get(), 0, key.bytes(), path));
    return key;
}

/// Flushed before anything is encrypted with it.
Result<SecretBytes> make_key_file(const std::string& path) {
    SecretBytes key(kMasterKeyBytes);
    if (RAND_priv_bytes(key.data(), static_cast<int>(key.size())) != 1)
        return fail(ErrorKind::Internal, "cannot make a master key: no random numbers");
    DRAY_TRY(write_file_atomically(path, key.bytes(), 0600));
    return key;
}

}  // namespace

Result<SecretBytes> load_master_key(const std::string& state_directory, bool may_make) {
    // systemd keeps its credentials readable for the service alone.
    if (const char* directory = std::getenv("CREDENTIALS_DIRECTORY"); directory != nullptr) {
        const std::string path = std::string(directory) + "/" + kCredentialName;
        if (access(path.c_str(), F_OK) == 0)
            return read_key_file(path, false);
    }
    const std::string path = state_directory + "/master.key";
    Result<SecretBytes> key = read_key_file(path, true);
    if (key || key.error().kind() != ErrorKind::NotFound)
        return key;
    if (!may_make)
        return fail(ErrorKind::NotFound,
                    "the master key {} is missing, and the catalog holds keys that only it opens", path);
    return make_key_file(path);
}

}  // namespace dray
