// SPDX-License-Identifier: Apache-2.0
#include "drivers/store/directory/side_file.hpp"

#include <utility>

#include <nlohmann/json.hpp>

namespace dray::store {
namespace {

using Json = nlohmann::json;

constexpr int kVersion = 1;

struct Named {
    const char* name;
    std::string BlobProperties::*member;
};

constexpr Named kProperties[] = {{"content-type", &BlobProperties::content_type},
                                 {"content-encoding", &BlobProperties::content_encoding},
                                 {"content-language", &BlobProperties::content_language},
                                 {"cache-control", &BlobProperties::cache_control},
                                 {"content-md5", &BlobProperties::content_md5}};

}  // namespace

Result<std::string> write_side_file(const SideFile& side) {
    Json document = {{"version", kVersion},
                     {"container", side.name.container},
                     {"name", side.name.name},
                     {"type", side.type == BlobType::Page ? "page" : "block"}};
    for (const Named& property : kProperties)
        if (!(side.properties.*property.member).empty())
            document["properties"][property.name] = side.properties.*property.member;
    for (const auto& [name, value] : side.metadata)
        document["metadata"][name] = value;
    std::string text = document.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
    if (text.size() > kMaxSideFile)
        return fail(ErrorKind::InvalidArgument, "properties and metadata of blob {} are longer than {}", side.name.path(),
                    format_bytes(kMaxSideFile));
    return text;
}

Result<SideFile> read_side_file(const std::string& text) {
    const Json document = Json::parse(text, nullptr, false);
    const auto corrupt = [] { return fail(ErrorKind::Corrupt, "a side file is damaged"); };
    if (!document.is_object() || document.value("version", Json()) != Json(kVersion))
        return corrupt();
    const auto text_of = [](const Json& object, const char* name) {
        const auto found = object.find(name);
        return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
    };
    SideFile side;
    side.name = {text_of(document, "container"), text_of(document, "name")};
    if (side.name.container.empty() || side.name.name.empty())
        return corrupt();
    side.type = text_of(document, "type") == "page" ? BlobType::Page : BlobType::Block;
    if (const auto properties = document.find("properties"); properties != document.end() && properties->is_object())
        for (const Named& property : kProperties)
            side.properties.*property.member = text_of(*properties, property.name);
    if (const auto metadata = document.find("metadata"); metadata != document.end() && metadata->is_object())
        for (const auto& [name, value] : metadata->items())
            if (value.is_string())
                side.metadata[name] = value.get<std::string>();
    return side;
}

}  // namespace dray::store
