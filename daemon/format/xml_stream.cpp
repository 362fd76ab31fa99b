// SPDX-License-Identifier: Apache-2.0
#include "daemon/format/xml_stream.hpp"

#include <expat.h>

#include <algorithm>
#include <utility>

#include "daemon/base/handle.hpp"
#include "daemon/format/xml_text.hpp"

namespace dray::format {
namespace {

/// expat holds a tag or a comment in memory until it is complete; nothing legal comes near this size.
constexpr Bytes kMaxToken = 256 * kKiB;
constexpr std::size_t kChunk = 64 * kKiB;

bool is_utf8_name(std::string_view encoding) {
    return std::ranges::equal(encoding, std::string_view("utf-8"), [](char one, char other) {
        return (one >= 'A' && one <= 'Z' ? one - 'A' + 'a' : one) == other;
    });
}

}  // namespace

std::optional<std::string_view> XmlAttributes::find(std::string_view name) const {
    for (const char* const* each = list_; *each != nullptr; each += 2)
        if (name == *each)
            return trim(each[1]);
    return std::nullopt;
}

class XmlStream::Parser {
public:
    Parser(std::string what, OnStart on_start, OnEnd on_end, XmlLimits limits)
        : what_(std::move(what)), on_start_(std::move(on_start)), on_end_(std::move(on_end)), limits_(limits),
          expat_(XML_ParserCreate("UTF-8")) {
        if (!expat_) {
            error_ = Error(ErrorKind::Internal, "no memory for reading XML");
            return;
        }
        XML_SetUserData(expat_.get(), this);
        XML_SetElementHandler(expat_.get(), started, ended);
        XML_SetCharacterDataHandler(expat_.get(), text_came);
        XML_SetXmlDeclHandler(expat_.get(), declared);
        XML_SetStartDoctypeDeclHandler(expat_.get(), doctype_came);
    }

    Result<void> parse(std::span<const std::byte> bytes, bool is_last) {
        if (error_)
            return fail(*error_);
        // expat finds UTF-16 by itself, whatever encoding it was told.
        for (std::size_t i = 0; i < bytes.size() && fed_ + i < 2; ++i)
            if (bytes[i] == std::byte{0} || bytes[i] >= std::byte{0xFE})
                note(fail(ErrorKind::Corrupt, "it is not UTF-8"));
        fed_ += bytes.size();
        if (fed_ > limits_.size)
            note(fail(ErrorKind::LimitReached, "it has more than {} bytes", limits_.size));
        if (error_)
            return fail(*error_);
        if (XML_Parse(expat_.get(), reinterpret_cast<const char*>(bytes.data()), static_cast<int>(bytes.size()),
                      is_last ? XML_TRUE : XML_FALSE) != XML_STATUS_OK)
            note(fail(ErrorKind::Corrupt, "not well-formed XML: {}", XML_ErrorString(XML_GetErrorCode(expat_.get()))));
        // Where the last event began; an unfinished token begins there or later.
        const XML_Index begun = XML_GetCurrentByteIndex(expat_.get());
        if (!is_last && begun >= 0 && fed_ - static_cast<Bytes>(begun) > kMaxToken)
            note(fail(ErrorKind::LimitReached, "a tag or a comment has more than {} bytes", kMaxToken));
        return error_ ? fail(*error_) : Result<void>();
    }

private:
    // expat may call on once more after it was stopped, for the end of an empty element: hence the looks at error_.
    static void XMLCALL started(void* self, const char* name, const char** attributes) noexcept {
        auto& parser = *static_cast<Parser*>(self);
        if (parser.error_)
            return;
        parser.text_.clear();
        if (++parser.depth_ > parser.limits_.depth)
            parser.note(fail(ErrorKind::LimitReached, "elements are nested more than {} deep", parser.limits_.depth));
        else
            parser.note(parser.on_start_(name, XmlAttributes(attributes)));
    }
    static void XMLCALL ended(void* self, const char* name) noexcept {
        auto& parser = *static_cast<Parser*>(self);
        if (parser.error_)
            return;
        --parser.depth_;
        parser.note(parser.on_end_(name, parser.text_));
        parser.text_.clear();
    }
    static void XMLCALL text_came(void* self, const char* text, int size) noexcept {
        auto& parser = *static_cast<Parser*>(self);
        if (parser.error_)
            return;
        if (parser.text_.size() + static_cast<std::size_t>(size) > parser.limits_.text)
            parser.note(fail(ErrorKind::LimitReached, "an element's text has more than {} bytes", parser.limits_.text));
        else
            parser.text_.append(text, static_cast<std::size_t>(size));
    }
    static void XMLCALL declared(void* self, const char* /*version*/, const char* encoding, int /*standalone*/) noexcept {
        if (encoding != nullptr && !is_utf8_name(encoding))
            static_cast<Parser*>(self)->note(
                fail(ErrorKind::Corrupt, "the encoding is \"{}\", not UTF-8", shown(encoding)));
    }
    static void XMLCALL doctype_came(void* self, const char* /*name*/, const char* /*system_id*/,
                                     const char* /*public_id*/, int /*has_subset*/) noexcept {
        static_cast<Parser*>(self)->note(fail(ErrorKind::Corrupt, "a document type declaration is not allowed"));
    }

    /// Remembers the first error, with the line, and stops expat.
    void note(const Result<void>& result) {
        if (result || error_)
            return;
        error_ = Error(result.error(), fmt::format("{} line {}", what_, XML_GetCurrentLineNumber(expat_.get())));
        XML_StopParser(expat_.get(), XML_FALSE);
    }

    std::string what_;
    OnStart on_start_;
    OnEnd on_end_;
    XmlLimits limits_;
    Handle<XML_ParserStruct, XML_ParserFree> expat_;
    std::optional<Error> error_;
    unsigned depth_ = 0;
    std::string text_;
    Bytes fed_ = 0;
};

XmlStream::XmlStream(std::string what, OnStart on_start, OnEnd on_end, XmlLimits limits)
    : parser_(std::make_unique<Parser>(std::move(what), std::move(on_start), std::move(on_end), limits)) {}

XmlStream::~XmlStream() = default;

Result<void> XmlStream::feed(std::span<const std::byte> bytes) {
    for (std::size_t at = 0; at < bytes.size(); at += kChunk)
        DRAY_TRY(parser_->parse(bytes.subspan(at, std::min(kChunk, bytes.size() - at)), false));
    return {};
}

Result<void> XmlStream::finish() { return parser_->parse({}, true); }

}  // namespace dray::format
