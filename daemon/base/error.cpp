// SPDX-License-Identifier: Apache-2.0
#include "daemon/base/error.hpp"

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "daemon/base/result.hpp"

namespace dray {

std::string_view to_string(ErrorKind kind) {
    switch (kind) {
        case ErrorKind::InvalidArgument: return "InvalidArgument";
        case ErrorKind::NotFound: return "NotFound";
        case ErrorKind::Exists: return "Exists";
        case ErrorKind::Conflict: return "Conflict";
        case ErrorKind::Busy: return "Busy";
        case ErrorKind::Gone: return "Gone";
        case ErrorKind::Denied: return "Denied";
        case ErrorKind::WrongKey: return "WrongKey";
        case ErrorKind::Corrupt: return "Corrupt";
        case ErrorKind::Unreachable: return "Unreachable";
        case ErrorKind::Unsupported: return "Unsupported";
        case ErrorKind::NoSpace: return "NoSpace";
        case ErrorKind::LimitReached: return "LimitReached";
        case ErrorKind::Cancelled: return "Cancelled";
        case ErrorKind::Internal: return "Internal";
    }
    return "Internal";
}

Error::Error(ErrorKind kind, std::string message) : kind_(kind), message_(std::move(message)) {}

Error::Error(Error cause, std::string message)
    : kind_(cause.kind_),
      message_(std::move(message)),
      cause_(std::make_shared<const Error>(std::move(cause))) {}

std::string Error::text() const {
    std::string text = message_;
    for (const Error* error = cause_.get(); error != nullptr; error = error->cause_.get())
        text += ": " + error->message_;
    return text;
}

ErrorKind kind_of_errno(int error_number) {
    switch (error_number) {
        case ENOENT:
        case ENOTDIR: return ErrorKind::NotFound;
        case EEXIST:
        case ENOTEMPTY: return ErrorKind::Exists;
        case EBUSY:
        case EAGAIN:
        case ETXTBSY: return ErrorKind::Busy;
        case ENODEV:
        case ENXIO:
        case ENOMEDIUM: return ErrorKind::Gone;
        case EACCES:
        case EPERM:
        case EROFS: return ErrorKind::Denied;
        case ENOSPC:
        case EDQUOT:
        case EFBIG: return ErrorKind::NoSpace;
        case EMFILE:
        case ENFILE:
        case ENOMEM: return ErrorKind::LimitReached;
        case EINVAL:
        case ENAMETOOLONG:
        case ELOOP: return ErrorKind::InvalidArgument;
        case EPIPE:
        case ECONNRESET:
        case ECONNREFUSED:
        case ETIMEDOUT:
        case EHOSTUNREACH:
        case ENETUNREACH:
        case ESTALE: return ErrorKind::Unreachable;
        case ENOSYS:
        case EOPNOTSUPP: return ErrorKind::Unsupported;
        case ECANCELED: return ErrorKind::Cancelled;
        case EUCLEAN:
        case EBADMSG: return ErrorKind::Corrupt;
        default: return ErrorKind::Internal;
    }
}

std::string errno_text(int error_number) {
    char buffer[128];
    return strerror_r(error_number, buffer, sizeof buffer);
}

}  // namespace dray
