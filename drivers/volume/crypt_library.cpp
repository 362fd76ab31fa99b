// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/crypt_library.hpp"

#include <openssl/evp.h>
#include <sys/mman.h>

#include <cerrno>
#include <string_view>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/log.hpp"

namespace dray::volume {
namespace {

void log_line(int /*level*/, const char* line, void* /*user*/) noexcept {
    // libcryptsetup's words are for the terminal of someone who typed cryptsetup; ours come as errors.
    std::string_view text(line != nullptr ? line : "");
    while (text.ends_with('\n'))
        text.remove_suffix(1);
    log::debug("libcryptsetup: {}", text);
}

void silence_library() {
    (void)crypt_metadata_locking(nullptr, 0);  // nobody else has this memfd
    crypt_token_external_disable();
    crypt_set_log_callback(nullptr, log_line, nullptr);
}

}  // namespace

Result<void> warm_up_crypt_library() {
    silence_library();
    const FileDescriptor empty(memfd_create("dray-warm-up", MFD_CLOEXEC));
    if (!empty)
        return fail_errno(errno, "cannot make a memory file");
    DRAY_LET(const CryptDevice device, open_crypt_header(empty.get()));
    (void)crypt_load(device.get(), CRYPT_LUKS, nullptr);  // there is no header; the way there is the point
    // OpenSSL reads its configuration at the first fetch.
    const Handle<EVP_MD, EVP_MD_free> digest(EVP_MD_fetch(nullptr, "SHA256", nullptr));
    const Handle<EVP_CIPHER, EVP_CIPHER_free> cipher(EVP_CIPHER_fetch(nullptr, "AES-256-XTS", nullptr));
    if (!digest || !cipher)
        return fail(ErrorKind::Denied, "OpenSSL offers no SHA-256 or no AES-XTS");
    return {};
}

Result<CryptDevice> open_crypt_header(int memory) {
    crypt_device* bare = nullptr;
    const int error = crypt_init(&bare, fmt::format("/proc/self/fd/{}", memory).c_str());
    CryptDevice device(bare);
    if (error != 0)
        return fail_errno(-error, "libcryptsetup cannot open the copy of the header");
    return device;
}

}  // namespace dray::volume
