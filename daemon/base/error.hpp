// SPDX-License-Identifier: Apache-2.0
//
// What went wrong, as a value: a kind that decides what follows, one sentence for the operator, and
// the cause beneath it. A job's failure is data: stored, shown on the bus, deciding about retry.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace dray {

/// Closed list. Trying again may help with Unreachable and Busy, never with the others.
enum class ErrorKind {
    InvalidArgument,
    NotFound,
    Exists,
    Conflict,
    Busy,
    Gone,
    Denied,
    WrongKey,
    Corrupt,
    Unreachable,
    Unsupported,
    NoSpace,
    LimitReached,
    Cancelled,
    Internal,
};

/// The kind's own name, e.g. "NotFound". Never fails.
std::string_view to_string(ErrorKind kind);

/// Copying is cheap: causes are shared and never changed.
class [[nodiscard]] Error {
public:
    Error(ErrorKind kind, std::string message);
    /// Adds what this layer alone knows; the kind stays that of the cause.
    Error(Error cause, std::string message);

    ErrorKind kind() const { return kind_; }
    /// This layer's sentence alone.
    const std::string& message() const { return message_; }
    const Error* cause() const { return cause_.get(); }
    /// The whole chain: "cannot import drive X: lab/disk.img: piece 812: store \"vault\": 503".
    std::string text() const;

private:
    ErrorKind kind_;
    std::string message_;
    std::shared_ptr<const Error> cause_;
};

/// The one place where an errno becomes a kind.
ErrorKind kind_of_errno(int error_number);

}  // namespace dray
