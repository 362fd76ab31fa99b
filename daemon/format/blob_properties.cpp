// SPDX-License-Identifier: Apache-2.0
#include "daemon/format/blob_properties.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <utility>

#include <pugixml.hpp>

#include "daemon/base/encoding.hpp"
#include "daemon/base/units.hpp"
#include "daemon/format/drive_manifest.hpp"
#include "daemon/format/xml_text.hpp"

namespace dray::format {

namespace {

constexpr std::size_t kMaxMetadata = 8 * kKiB;
constexpr std::size_t kMd5Bytes = 16;
constexpr std::string_view kDeclaration = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

constexpr auto kProperties = std::to_array<std::pair<std::string_view, std::string PropertiesFile::*>>({
    {"Content-Type", &PropertiesFile::content_type},
    {"Content-MD5", &PropertiesFile::content_md5},
    {"Content-Encoding", &PropertiesFile::content_encoding},
    {"Content-Language", &PropertiesFile::content_language},
    {"Cache-Control", &PropertiesFile::cache_control},
});

/// The root element of `xml`, kept alive by `document`.
Result<pugi::xml_node> parse_root(pugi::xml_document& document, std::string_view xml, const char* root) {
    if (xml.size() > kMaxSideFile)
        return fail(ErrorKind::Corrupt, "it has {} bytes, more than {}", xml.size(), kMaxSideFile);
    // pugixml passes a document type over unless it is told to keep it; it never reads one.
    const pugi::xml_parse_result result =
        document.load_buffer(xml.data(), xml.size(), pugi::parse_default | pugi::parse_doctype);
    if (!result)
        return fail(ErrorKind::Corrupt, "not well-formed XML at byte {}: {}", result.offset,
                    result.description());
    pugi::xml_node found;
    for (const pugi::xml_node node : document.children()) {
        if (node.type() == pugi::node_doctype)
            return fail(ErrorKind::Corrupt, "a document type declaration is not allowed");
        if (node.type() != pugi::node_element)
            continue;
        if (found)
            return fail(ErrorKind::Corrupt, "there is a second root element <{}>", shown(node.name()));
        found = node;
    }
    if (std::string_view(found.name()) != root)
        return fail(ErrorKind::Corrupt, "the root element is <{}>, not <{}>", shown(found.name()), root);
    return found;
}

/// The element's own text. It will stand in a header, where a line break would begin another one.
Result<std::string> value_of(const pugi::xml_node& element) {
    std::string text;
    for (const pugi::xml_node child : element.children())
        if (child.type() == pugi::node_pcdata || child.type() == pugi::node_cdata)
            text += child.value();
    std::string value(trim(text));
    const bool has_control = std::ranges::any_of(value, [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return (byte < ' ' && c != '\t') || byte == 0x7F;
    });
    if (has_control)
        return fail(ErrorKind::Corrupt, "the value of <{}> has control characters", shown(element.name()));
    if (!is_xml_text(value))
        return fail(ErrorKind::Corrupt, "the value of <{}> is no UTF-8 that XML can hold", shown(element.name()));
    return value;
}

bool is_identifier(std::string_view name) {
    const auto is_start = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    };
    return !name.empty() && is_start(name.front()) && std::ranges::all_of(name, [&](char c) {
        return is_start(c) || (c >= '0' && c <= '9');
    });
}

std::string fold(std::string_view name) {
    std::string result(name);
    for (char& c : result)
        if (c >= 'A' && c <= 'Z')
            c = static_cast<char>(c - 'A' + 'a');
    return result;
}

bool is_md5(std::string_view base64) {
    const auto bytes = from_base64(base64);
    return bytes && bytes->size() == kMd5Bytes;
}

}  // namespace

Result<PropertiesFile> read_properties(std::string_view xml) {
    pugi::xml_document document;
    DRAY_LET(const pugi::xml_node root, parse_root(document, xml, "Properties"));
    PropertiesFile result;
    std::set<std::string_view> seen;
    for (const pugi::xml_node element : root.children()) {
        const auto known = std::ranges::find(kProperties, std::string_view(element.name()),
                                             [](const auto& entry) { return entry.first; });
        if (element.type() != pugi::node_element || known == kProperties.end())
            continue;
        if (!seen.insert(known->first).second)
            return fail(ErrorKind::Corrupt, "<{}> comes twice", known->first);
        DRAY_LET(result.*known->second, value_of(element));
    }
    if (!result.content_md5.empty() && !is_md5(result.content_md5))
        return fail(ErrorKind::Corrupt, "the Content-MD5 \"{}\" is not the Base64 of an MD5",
                    shown(result.content_md5));
    return result;
}

Result<std::map<std::string, std::string>> read_metadata(std::string_view xml) {
    pugi::xml_document document;
    DRAY_LET(const pugi::xml_node root, parse_root(document, xml, "Metadata"));
    std::map<std::string, std::string> result;
    std::set<std::string> folded;
    std::size_t size = 0;
    for (const pugi::xml_node element : root.children()) {
        if (element.type() != pugi::node_element)
            continue;
        const std::string name = element.name();
        if (!is_identifier(name))
            return fail(ErrorKind::Corrupt, "the metadata name \"{}\" is no identifier", shown(name));
        if (!folded.insert(fold(name)).second)
            return fail(ErrorKind::Corrupt, "the metadata name \"{}\" comes twice", shown(name));
        DRAY_LET(std::string value, value_of(element));
        size += name.size() + value.size();
        if (size > kMaxMetadata)
            return fail(ErrorKind::Corrupt, "the metadata has more than {} bytes", kMaxMetadata);
        result.emplace(name, std::move(value));
    }
    return result;
}

std::string write_metadata(const std::map<std::string, std::string>& metadata) {
    std::string text(kDeclaration);
    text += "<Metadata>";
    for (const auto& [name, value] : metadata)
        if (is_identifier(name))
            text += fmt::format("<{}>{}</{}>", name, escape_xml(value), name);
    return text + "</Metadata>\n";
}

std::string write_properties(const PropertiesFile& properties) {
    std::string text(kDeclaration);
    text += "<Properties>";
    for (const auto& [name, member] : kProperties)
        if (!(properties.*member).empty())
            text += fmt::format("<{}>{}</{}>", name, escape_xml(properties.*member), name);
    return text + "</Properties>\n";
}

}  // namespace dray::format
