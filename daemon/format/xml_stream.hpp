// SPDX-License-Identifier: Apache-2.0
//
// A document of XML that others wrote, read as a stream: elements with their attributes, and the text of those that have
// no others in them. Memory does not grow with the document. DTDs and other encodings than UTF-8 are refused.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"

namespace dray::format {

/// The attributes of one element, while it begins.
class XmlAttributes {
public:
    explicit XmlAttributes(const char* const* list) : list_(list) {}
    /// Without surrounding blanks; nothing when it is not there.
    std::optional<std::string_view> find(std::string_view name) const;

private:
    const char* const* list_;
};

struct XmlLimits {
    Bytes size = kGiB;
    unsigned depth = 16;
    std::size_t text = 64 * kKiB;
};

class XmlStream {
public:
    using OnStart = std::function<Result<void>(std::string_view name, const XmlAttributes& attributes)>;
    /// `text`: all that stands in the element after the end of the last one within it.
    using OnEnd = std::function<Result<void>(std::string_view name, std::string_view text)>;

    /// `what` names the document in errors: "copy log". What a callback fails with ends the reading and is passed on,
    /// with the line in front.
    XmlStream(std::string what, OnStart on_start, OnEnd on_end, XmlLimits limits = {});
    ~XmlStream();
    XmlStream(const XmlStream&) = delete;
    XmlStream& operator=(const XmlStream&) = delete;

    /// Corrupt with the line: not well-formed, not UTF-8, a DTD. LimitReached. The first error stays.
    Result<void> feed(std::span<const std::byte> bytes);
    Result<void> finish();

private:
    class Parser;
    std::unique_ptr<Parser> parser_;
};

}  // namespace dray::format
