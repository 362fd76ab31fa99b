// SPDX-License-Identifier: Apache-2.0
#include "daemon/format/drive_manifest.hpp"

#include <expat.h>

#include <algorithm>
#include <array>
#include <utility>

#include "daemon/base/encoding.hpp"
#include "daemon/base/handle.hpp"
#include "daemon/format/manifest_rules.hpp"
#include "daemon/format/xml_text.hpp"

namespace dray::format {

namespace {

/// expat holds a tag or a comment in memory until it is complete; nothing legal comes near this size.
constexpr Bytes kMaxToken = 256 * kKiB;
constexpr std::size_t kChunk = 64 * kKiB;
/// What is kept of a version; all that are known have ten characters.
constexpr std::size_t kMaxVersion = 64;

enum class Element {
    Document,
    DriveManifest,
    Drive,
    DriveId,
    Ignored,
    BlobList,
    Blob,
    BlobPath,
    FilePath,
    ClientData,
    Snapshot,
    Length,
    ImportDisposition,
    BlockList,
    Block,
    PageRangeList,
    PageRange,
    MetadataPath,
    PropertiesPath,
};

struct Known {
    std::string_view name;
    Element element;
    Element parent;
    /// For the elements that stand in two places.
    Element other_parent;
    bool has_text;
};

/// The grammar (4.1). The frequent ones first. Credentials and ClientCreator are passed over: they are
/// Ignored, so that no copy of a secret is made.
constexpr auto kGrammar = std::to_array<Known>({
    {"Block", Element::Block, Element::BlockList, Element::BlockList, false},
    {"PageRange", Element::PageRange, Element::PageRangeList, Element::PageRangeList, false},
    {"Blob", Element::Blob, Element::BlobList, Element::BlobList, false},
    {"BlobPath", Element::BlobPath, Element::Blob, Element::Blob, true},
    {"FilePath", Element::FilePath, Element::Blob, Element::Blob, true},
    {"ClientData", Element::ClientData, Element::Blob, Element::Blob, true},
    {"Snapshot", Element::Snapshot, Element::Blob, Element::Blob, true},
    {"Length", Element::Length, Element::Blob, Element::Blob, true},
    {"ImportDisposition", Element::ImportDisposition, Element::Blob, Element::Blob, true},
    {"BlockList", Element::BlockList, Element::Blob, Element::Blob, false},
    {"PageRangeList", Element::PageRangeList, Element::Blob, Element::Blob, false},
    {"MetadataPath", Element::MetadataPath, Element::Blob, Element::BlobList, true},
    {"PropertiesPath", Element::PropertiesPath, Element::Blob, Element::BlobList, true},
    {"BlobList", Element::BlobList, Element::Drive, Element::Drive, false},
    {"DriveManifest", Element::DriveManifest, Element::Document, Element::Document, false},
    {"Drive", Element::Drive, Element::DriveManifest, Element::DriveManifest, false},
    {"DriveId", Element::DriveId, Element::Drive, Element::Drive, true},
    {"StorageAccountKey", Element::Ignored, Element::Drive, Element::Drive, false},
    {"ContainerSas", Element::Ignored, Element::Drive, Element::Drive, false},
    {"ClientCreator", Element::Ignored, Element::Drive, Element::Drive, false},
});

const Known* find_known(std::string_view name) {
    const auto found = std::ranges::find(kGrammar, name, &Known::name);
    return found == kGrammar.end() ? nullptr : &*found;
}

std::string_view name_of(Element element) {
    const auto found = std::ranges::find(kGrammar, element, &Known::element);
    return found == kGrammar.end() ? std::string_view("the document") : found->name;
}

bool is_utf8_name(std::string_view encoding) {
    return std::ranges::equal(encoding, std::string_view("utf-8"), [](char one, char other) {
        return (one >= 'A' && one <= 'Z' ? one - 'A' + 'a' : one) == other;
    });
}

/// The value of an attribute without surrounding blanks, or nothing.
std::optional<std::string_view> find_attribute(const char* const* attributes, std::string_view name) {
    for (; *attributes != nullptr; attributes += 2)
        if (name == *attributes)
            return trim(attributes[1]);
    return std::nullopt;
}

}  // namespace

std::string_view to_string(Disposition disposition) {
    switch (disposition) {
    case Disposition::NoOverwrite: return "no-overwrite";
    case Disposition::Overwrite: return "overwrite";
    case Disposition::Rename: return "rename";
    }
    return "rename";
}

class ManifestReader::Parser {
public:
    Parser(OnDriveId on_drive_id, OnBlob on_blob, ManifestLimits limits);
    Result<void> feed(std::span<const std::byte> bytes);
    Result<void> finish();
    const std::string& version() const { return version_; }
    bool has_credential() const { return has_credential_; }

private:
    static void XMLCALL on_start(void* self, const char* name, const char** attributes) noexcept;
    static void XMLCALL on_end(void* self, const char* name) noexcept;
    static void XMLCALL on_text(void* self, const char* text, int size) noexcept;
    static void XMLCALL on_declaration(void* self, const char* version, const char* encoding,
                                       int standalone) noexcept;
    static void XMLCALL on_doctype(void* self, const char* name, const char* system_id,
                                   const char* public_id, int has_subset) noexcept;

    Result<void> start(std::string_view name, const char* const* attributes);
    Result<void> start_known(const Known& known, const char* const* attributes);
    Result<void> start_list(bool is_page_blob);
    Result<void> start_piece(const char* const* attributes);
    Result<void> end();
    Result<void> end_drive_id();
    Result<void> end_blob();
    Result<void> end_length();
    Result<void> end_disposition();
    void end_side_file(Element element);
    Result<void> text(std::string_view text);

    Result<Bytes> number(const char* const* attributes, std::string_view name) const;
    Result<Md5Hash> hash(const char* const* attributes) const;
    Result<void> once(Element element);

    /// Remembers the first error, with the line, and stops expat.
    void note(Result<void> result);
    Result<void> parse(std::span<const std::byte> bytes, bool is_last);

    OnDriveId on_drive_id_;
    OnBlob on_blob_;
    ManifestLimits limits_;
    Handle<XML_ParserStruct, XML_ParserFree> expat_;
    std::optional<Error> error_;
    /// An error of on_blob or on_drive_id is not about the manifest: it gets no line.
    bool is_foreign_error_ = false;
    bool is_finished_ = false;
    Bytes fed_ = 0;

    /// Open elements that are read, innermost last.
    std::vector<Element> open_{Element::Document};
    /// Open elements within one that is passed over, that one included.
    unsigned skipped_ = 0;
    std::string version_;
    bool has_credential_ = false;
    bool has_drive_ = false;
    bool has_drive_id_ = false;
    bool is_collecting_ = false;
    std::string text_;
    SideFile side_file_;
    std::optional<SideFile> list_metadata_;
    std::optional<SideFile> list_properties_;
    ManifestBlob blob_;
    bool has_body_ = false;
    /// Bits of Element: what the blob in hand has had.
    std::uint32_t seen_ = 0;
};

ManifestReader::Parser::Parser(OnDriveId on_drive_id, OnBlob on_blob, ManifestLimits limits)
    : on_drive_id_(std::move(on_drive_id)), on_blob_(std::move(on_blob)), limits_(limits),
      expat_(XML_ParserCreate("UTF-8")) {
    if (!expat_) {
        error_ = Error(ErrorKind::Internal, "no memory for reading a manifest");
        return;
    }
    XML_SetUserData(expat_.get(), this);
    XML_SetElementHandler(expat_.get(), on_start, on_end);
    XML_SetCharacterDataHandler(expat_.get(), on_text);
    XML_SetXmlDeclHandler(expat_.get(), on_declaration);
    XML_SetStartDoctypeDeclHandler(expat_.get(), on_doctype);
}

void ManifestReader::Parser::note(Result<void> result) {
    if (result || error_)
        return;
    const Error& error = result.error();
    error_ = is_foreign_error_ ? error
                               : Error(error.kind(), fmt::format("manifest line {}: {}",
                                                                 XML_GetCurrentLineNumber(expat_.get()),
                                                                 error.message()));
    XML_StopParser(expat_.get(), XML_FALSE);
}

// expat may call on once more after it was stopped, for the end of an empty element: hence the looks at
// error_.

void ManifestReader::Parser::on_start(void* self, const char* name, const char** attributes) noexcept {
    auto& parser = *static_cast<Parser*>(self);
    if (!parser.error_)
        parser.note(parser.start(name, attributes));
}

void ManifestReader::Parser::on_end(void* self, const char* /*name*/) noexcept {
    auto& parser = *static_cast<Parser*>(self);
    if (!parser.error_)
        parser.note(parser.end());
}

void ManifestReader::Parser::on_text(void* self, const char* text, int size) noexcept {
    auto& parser = *static_cast<Parser*>(self);
    if (!parser.error_)
        parser.note(parser.text({text, static_cast<std::size_t>(size)}));
}

void ManifestReader::Parser::on_declaration(void* self, const char* /*version*/, const char* encoding,
                                            int /*standalone*/) noexcept {
    auto& parser = *static_cast<Parser*>(self);
    if (encoding != nullptr && !is_utf8_name(encoding))
        parser.note(fail(ErrorKind::Corrupt, "the encoding is \"{}\", not UTF-8", shown(encoding)));
}

void ManifestReader::Parser::on_doctype(void* self, const char* /*name*/, const char* /*system_id*/,
                                        const char* /*public_id*/, int /*has_subset*/) noexcept {
    auto& parser = *static_cast<Parser*>(self);
    parser.note(fail(ErrorKind::Corrupt, "a document type declaration is not allowed"));
}

Result<void> ManifestReader::Parser::feed(std::span<const std::byte> bytes) {
    if (is_finished_ && !error_)
        return fail(ErrorKind::Internal, "manifest: bytes after its end was told");
    while (!bytes.empty()) {
        const auto chunk = bytes.first(std::min(bytes.size(), kChunk));
        bytes = bytes.subspan(chunk.size());
        DRAY_TRY(parse(chunk, false));
    }
    return error_ ? fail(*error_) : Result<void>();
}

Result<void> ManifestReader::Parser::finish() {
    is_finished_ = true;
    DRAY_TRY(parse({}, true));
    // Without a root expat has complained; without these the root was empty.
    if (!has_drive_ || !has_drive_id_)
        note(fail(ErrorKind::Corrupt, "there is no <{}>", has_drive_ ? "DriveId" : "Drive"));
    return error_ ? fail(*error_) : Result<void>();
}

Result<void> ManifestReader::Parser::parse(std::span<const std::byte> bytes, bool is_last) {
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

    const auto status = XML_Parse(expat_.get(), reinterpret_cast<const char*>(bytes.data()),
                                  static_cast<int>(bytes.size()), is_last ? XML_TRUE : XML_FALSE);
    if (status != XML_STATUS_OK)
        note(fail(ErrorKind::Corrupt, "not well-formed XML: {}",
                  XML_ErrorString(XML_GetErrorCode(expat_.get()))));
    // Where the last event began; an unfinished token begins there or later.
    const XML_Index begun = XML_GetCurrentByteIndex(expat_.get());
    if (!is_last && begun >= 0 && fed_ - static_cast<Bytes>(begun) > kMaxToken)
        note(fail(ErrorKind::LimitReached, "a tag or a comment has more than {} bytes", kMaxToken));
    return error_ ? fail(*error_) : Result<void>();
}

Result<void> ManifestReader::Parser::start(std::string_view name, const char* const* attributes) {
    if (open_.size() + skipped_ > limits_.depth)
        return fail(ErrorKind::LimitReached, "elements are nested more than {} deep", limits_.depth);
    if (skipped_ > 0) {
        ++skipped_;
        return {};
    }
    const Known* const known = find_known(name);
    const Element parent = open_.back();
    if (parent == Element::Document && (known == nullptr || known->element != Element::DriveManifest))
        return fail(ErrorKind::Corrupt, "the root element is <{}>, not <DriveManifest>", shown(name));
    if (known == nullptr) {
        skipped_ = 1;
        return {};
    }
    if (parent != known->parent && parent != known->other_parent)
        return fail(ErrorKind::Corrupt, "<{}> is not allowed in <{}>", known->name, name_of(parent));
    if (known->element == Element::Ignored) {
        has_credential_ = has_credential_ || known->name != "ClientCreator";
        skipped_ = 1;
        return {};
    }
    DRAY_TRY(start_known(*known, attributes));
    open_.push_back(known->element);
    is_collecting_ = known->has_text;
    text_.clear();
    return {};
}

Result<void> ManifestReader::Parser::start_known(const Known& known, const char* const* attributes) {
    if (open_.back() == Element::Blob)
        DRAY_TRY(once(known.element));
    switch (known.element) {
    case Element::DriveManifest: version_ = find_attribute(attributes, "Version").value_or("").substr(0, kMaxVersion); return {};
    case Element::Drive:
        if (std::exchange(has_drive_, true))
            return fail(ErrorKind::Corrupt, "there is a second <Drive>");
        return {};
    case Element::DriveId:
        if (has_drive_id_)
            return fail(ErrorKind::Corrupt, "there is a second <DriveId>");
        return {};
    case Element::BlobList:
        if (!has_drive_id_)
            return fail(ErrorKind::Corrupt, "a <BlobList> comes before <DriveId>");
        list_metadata_.reset();
        list_properties_.reset();
        return {};
    case Element::Blob:
        blob_ = {};
        has_body_ = false;
        seen_ = 0;
        return {};
    case Element::MetadataPath:
    case Element::PropertiesPath: {
        DRAY_LET(side_file_.hash, hash(attributes));
        return {};
    }
    case Element::BlockList: return start_list(false);
    case Element::PageRangeList: return start_list(true);
    case Element::Block:
    case Element::PageRange: return start_piece(attributes);
    default: return {};
    }
}

Result<void> ManifestReader::Parser::once(Element element) {
    const std::uint32_t bit = 1U << static_cast<unsigned>(element);
    if ((std::exchange(seen_, seen_ | bit) & bit) != 0)
        return fail(ErrorKind::Corrupt, "a <Blob> has a second <{}>", name_of(element));
    return {};
}

Result<void> ManifestReader::Parser::start_list(bool is_page_blob) {
    if (std::exchange(has_body_, true))
        return fail(ErrorKind::Corrupt, "a <Blob> has both a <BlockList> and a <PageRangeList>");
    blob_.is_page_blob = is_page_blob;
    return {};
}

Result<void> ManifestReader::Parser::start_piece(const char* const* attributes) {
    ManifestPiece piece;
    DRAY_LET(piece.offset, number(attributes, "Offset"));
    DRAY_LET(piece.length, number(attributes, "Length"));
    DRAY_LET(piece.hash, hash(attributes));
    if (!blob_.is_page_blob)
        piece.id = find_attribute(attributes, "Id").value_or("");
    DRAY_TRY(check_next_piece(blob_.is_page_blob, blob_.pieces, piece, limits_));
    blob_.pieces.push_back(std::move(piece));
    return {};
}

Result<Bytes> ManifestReader::Parser::number(const char* const* attributes, std::string_view name) const {
    const auto text = find_attribute(attributes, name);
    if (!text)
        return fail(ErrorKind::Corrupt, "a piece has no {}", name);
    const auto value = parse_number(*text);
    if (!value)
        return fail(ErrorKind::Corrupt, "the {} \"{}\" of a piece is no number", name, shown(*text));
    return *value;
}

Result<Md5Hash> ManifestReader::Parser::hash(const char* const* attributes) const {
    const auto text = find_attribute(attributes, "Hash");
    if (!text)
        return fail(ErrorKind::Corrupt, "a Hash is missing");
    Md5Hash result{};
    const auto bytes = from_hex(*text);
    if (!bytes || bytes->size() != result.size())
        return fail(ErrorKind::Corrupt, "the Hash \"{}\" is not the 32 hex digits of an MD5", shown(*text));
    std::ranges::copy(*bytes, result.begin());
    return result;
}

Result<void> ManifestReader::Parser::text(std::string_view text) {
    if (skipped_ > 0 || !is_collecting_)
        return {};
    if (text_.size() + text.size() > limits_.text)
        return fail(ErrorKind::LimitReached, "the text of <{}> has more than {} bytes", name_of(open_.back()),
                    limits_.text);
    text_ += text;
    return {};
}

Result<void> ManifestReader::Parser::end() {
    if (skipped_ > 0) {
        --skipped_;
        return {};
    }
    const Element element = open_.back();
    open_.pop_back();
    is_collecting_ = false;
    switch (element) {
    case Element::DriveId: return end_drive_id();
    case Element::Blob: return end_blob();
    case Element::BlobPath: blob_.blob_path = std::move(text_); break;
    case Element::FilePath: blob_.file_path = std::move(text_); break;
    case Element::ClientData: blob_.client_data = std::move(text_); break;
    case Element::Snapshot: blob_.snapshot = trim(text_); break;
    case Element::Length: return end_length();
    case Element::ImportDisposition: return end_disposition();
    case Element::MetadataPath:
    case Element::PropertiesPath: end_side_file(element); break;
    default: break;
    }
    return {};
}

Result<void> ManifestReader::Parser::end_drive_id() {
    const std::string id(trim(text_));
    if (id.empty())
        return fail(ErrorKind::Corrupt, "the <DriveId> is empty");
    has_drive_id_ = true;
    Result<void> result = on_drive_id_ ? on_drive_id_(id) : Result<void>();
    is_foreign_error_ = !result;
    return result;
}

Result<void> ManifestReader::Parser::end_length() {
    const auto value = parse_number(trim(text_));
    if (!value)
        return fail(ErrorKind::Corrupt, "the <Length> \"{}\" is no number", shown(text_));
    blob_.length = *value;
    return {};
}

Result<void> ManifestReader::Parser::end_disposition() {
    const std::string_view word = trim(text_);
    for (const auto disposition : {Disposition::NoOverwrite, Disposition::Overwrite, Disposition::Rename})
        if (word == to_string(disposition)) {
            blob_.disposition = disposition;
            return {};
        }
    return fail(ErrorKind::Corrupt, "the <ImportDisposition> \"{}\" is not known", shown(word));
}

void ManifestReader::Parser::end_side_file(Element element) {
    const bool is_metadata = element == Element::MetadataPath;
    side_file_.path = std::move(text_);
    side_file_.is_shared = open_.back() == Element::BlobList;
    if (side_file_.is_shared)
        (is_metadata ? list_metadata_ : list_properties_) = side_file_;
    else
        (is_metadata ? blob_.metadata : blob_.properties) = side_file_;
}

Result<void> ManifestReader::Parser::end_blob() {
    for (const Element element : {Element::BlobPath, Element::FilePath, Element::Length})
        if ((seen_ & (1U << static_cast<unsigned>(element))) == 0)
            return fail(ErrorKind::Corrupt, "a <Blob> has no <{}>", name_of(element));
    if (!has_body_ && blob_.length > 0)
        return fail(ErrorKind::Corrupt, "blob \"{}\" has neither a <BlockList> nor a <PageRangeList>",
                    shown(blob_.blob_path));
    DRAY_TRY(check_complete(blob_));
    if (!blob_.metadata)
        blob_.metadata = list_metadata_;
    if (!blob_.properties)
        blob_.properties = list_properties_;
    Result<void> result = on_blob_ ? on_blob_(std::move(blob_)) : Result<void>();
    is_foreign_error_ = !result;
    return result;
}

ManifestReader::ManifestReader(OnDriveId on_drive_id, OnBlob on_blob, ManifestLimits limits)
    : parser_(std::make_unique<Parser>(std::move(on_drive_id), std::move(on_blob), limits)) {}

ManifestReader::~ManifestReader() = default;

Result<void> ManifestReader::feed(std::span<const std::byte> bytes) { return parser_->feed(bytes); }

Result<void> ManifestReader::finish() { return parser_->finish(); }

const std::string& ManifestReader::version() const { return parser_->version(); }

bool ManifestReader::has_credential() const { return parser_->has_credential(); }

}  // namespace dray::format
