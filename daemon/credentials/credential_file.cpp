// SPDX-License-Identifier: Apache-2.0
#include "daemon/credentials/credential_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string_view>

#include "daemon/base/file.hpp"
#include "daemon/base/memfd.hpp"

namespace dray {
namespace {

constexpr const char* kDirectoryVariable = "CREDENTIALS_DIRECTORY";

bool is_path(const std::string& reference) { return reference.starts_with('/'); }

std::unexpected<Error> cannot_open(const std::string& path, int error_number) {
    if (error_number == ENOENT || error_number == ENOTDIR)
        return fail(ErrorKind::NotFound, "there is no file {}; put the secret there, with mode 0600 and for uid {}", path,
                    geteuid());
    if (error_number == EACCES || error_number == EPERM)
        return fail(ErrorKind::Denied, "drayd's user cannot read {}; run: chown {} {}, and let it through the directories above",
                    path, geteuid(), path);
    return fail(ErrorKind::Denied, "cannot open {}: {}", path, errno_text(error_number));
}

/// Whoever else could write the file could have drayd sign on as somebody else.
Result<void> check_owner(const std::string& path, const struct stat& status) {
    if (status.st_uid != 0 && status.st_uid != geteuid())
        return fail(ErrorKind::Denied, "{} belongs to uid {}, and must belong to drayd's user or root; run: chown {} {}", path,
                    status.st_uid, geteuid(), path);
    if ((status.st_mode & 0177) != 0)
        return fail(ErrorKind::Denied, "{} has mode {:04o}, and must be for its owner alone; run: chmod 600 {}", path,
                    status.st_mode & 07777, path);
    return {};
}

Result<SecretBytes> read_whole(int fd, const std::string& path) {
    // One more, to see whether it goes on.
    SecretBytes secret(kMaxKeyBytes + 1);
    std::size_t size = 0;
    while (size < secret.size()) {
        const ssize_t count = read(fd, secret.data() + size, secret.size() - size);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return fail(ErrorKind::Denied, "cannot read {}: {}", path, errno_text(errno));
        if (count == 0)
            break;
        size += static_cast<std::size_t>(count);
    }
    if (size > kMaxKeyBytes)
        return fail(ErrorKind::Denied, "{} is longer than {} bytes, so it is no credential", path, kMaxKeyBytes);
    secret.truncate(size);
    return secret;
}

Result<SecretBytes> read_as_it_is(const std::string& reference) {
    DRAY_LET(const std::string path, credential_path(reference));
    // Not waiting for whoever writes into a pipe.
    const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!file)
        return cannot_open(path, errno);
    struct stat status {};
    if (fstat(file.get(), &status) != 0)
        return fail(ErrorKind::Denied, "cannot look at {}: {}", path, errno_text(errno));
    if (!S_ISREG(status.st_mode))
        return fail(ErrorKind::Denied, "{} is no regular file", path);
    if (is_path(reference))
        DRAY_TRY(check_owner(path, status));
    return read_whole(file.get(), path);
}

void strip_line_break(SecretBytes& secret) {
    for (const char end : {'\n', '\r'})
        if (secret.text().ends_with(end))
            secret.truncate(secret.size() - 1);
        else
            return;
}

Result<SecretBytes> not_empty(Result<SecretBytes> secret, const std::string& reference) {
    if (secret && secret->empty())
        return fail(ErrorKind::NotFound, "{} is empty", credential_path(reference).value_or(reference));
    return secret;
}

std::size_t key_size(const std::string& algorithm) {
    return algorithm == "A128KW" ? 16 : algorithm == "A192KW" ? 24 : algorithm == "A256KW" ? 32 : 0;
}

}  // namespace

Result<std::string> credential_path(const std::string& reference) {
    if (is_path(reference))
        return reference;
    const char* directory = std::getenv(kDirectoryVariable);
    if (directory == nullptr || *directory == '\0')
        return fail(ErrorKind::NotFound,
                    "there is no systemd credential \"{}\": drayd was started without any; add LoadCredential={}:FILE to its "
                    "unit, or name the file's path",
                    reference, reference);
    return std::string(directory) + "/" + reference;
}

Result<SecretBytes> read_credential(const std::string& reference) {
    Result<SecretBytes> secret = read_as_it_is(reference);
    if (secret)
        strip_line_break(*secret);
    return not_empty(std::move(secret), reference);
}

Result<SecretBytes> read_encryption_key(const EncryptionConfig& encryption) {
    Result<SecretBytes> secret = read_as_it_is(encryption.credential);
    if (secret && secret->size() != key_size(encryption.algorithm))
        strip_line_break(*secret);
    return not_empty(std::move(secret), encryption.credential);
}

}  // namespace dray
