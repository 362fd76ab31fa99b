// SPDX-License-Identifier: Apache-2.0
#include "config/store_loader.hpp"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "config/url.hpp"
#include "daemon/model/blob_name.hpp"

namespace dray {
namespace {

constexpr std::size_t kMaxStores = 64;
constexpr std::size_t kMaxStoreName = 63;
constexpr std::size_t kMaxKeys = 64;
constexpr std::size_t kMaxKeyName = 256;
constexpr std::size_t kMaxCredentialName = 255;
constexpr std::size_t kMaxPath = 4000;

using Keys = std::map<std::string, EncryptionConfig>;

bool is_letter_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_plain_name(std::string_view name, std::size_t longest) {
    return !name.empty() && name.size() <= longest && is_letter_or_digit(name.front()) &&
           std::ranges::all_of(name, [](char c) { return is_letter_or_digit(c) || c == '-' || c == '_' || c == '.'; });
}

/// Keys have ids in what others wrote, URLs among them.
bool is_key_name(std::string_view name) {
    return name.size() <= kMaxKeyName &&
           std::ranges::all_of(name, [](char c) { return c > ' ' && c <= '~' && c != '"' && c != '\\'; });
}

bool is_absolute_path(std::string_view text) {
    return text.starts_with('/') && text.size() <= kMaxPath && !text.ends_with('/') &&
           std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) < ' '; }) &&
           (std::string(text) + "/").find("/../") == std::string::npos;
}

/// Where a secret is. No message repeats what was written: it may be the secret.
bool read_credential(ConfigSection& section, std::string text, std::string& target) {
    if (text.empty())
        return false;
    if (looks_like_secret(text)) {
        section.mistake("credential",
                        "holds what looks like the secret itself; put that into a file which drayd's user alone can "
                        "read (mode 0600), and the file's path here");
        return false;
    }
    if (!is_plain_name(text, kMaxCredentialName) && !is_absolute_path(text)) {
        section.mistake("credential", "must be the name of a systemd credential, or the absolute path of a file");
        return false;
    }
    target = std::move(text);
    return true;
}

void read_azure_credential(ConfigSection& section, AzureConfig& azure) {
    std::string text;
    section.require("credential");
    section.read_text("credential", text);
    for (const auto& [prefix, kind] :
         {std::pair{std::string_view("sas:"), CredentialKind::Sas}, std::pair{std::string_view("token:"), CredentialKind::Token}})
        if (text.starts_with(prefix)) {
            azure.credential_kind = kind;
            text.erase(0, prefix.size());
            if (text.empty())
                section.mistake("credential", fmt::format("must have a name or a path after \"{}\"", prefix));
        }
    read_credential(section, std::move(text), azure.credential);
}

/// Nothing where the endpoint does not tell.
std::string account_in(const Url& url) {
    if (!url.path.empty())
        return url.path.find('/', 1) == std::string::npos ? url.path.substr(1) : "";
    const std::size_t dot = url.host.find('.');
    return dot == std::string::npos || url.is_address() ? "" : url.host.substr(0, dot);
}

/// Accounts of the service have 3 to 24 letters and digits. Emulators and gateways, which have the account in the path,
/// are not so strict.
bool is_account(std::string_view account, bool is_in_path) {
    const std::size_t least = is_in_path ? 1 : 3;
    const std::size_t most = is_in_path ? 63 : 24;
    return account.size() >= least && account.size() <= most && std::ranges::all_of(account, [&](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (is_in_path && (c == '-' || c == '_'));
    });
}

void read_account(ConfigSection& section, const Url& url, AzureConfig& azure) {
    const bool is_given = section.has("account");
    section.read_text("account", azure.account);
    if (!is_given)
        azure.account = account_in(url);
    const bool is_in_path = !url.path.empty();
    if (is_account(azure.account, is_in_path))
        return;
    // Whoever mixes account and key up finds the key in no log.
    section.mistake(is_given ? "account" : "endpoint",
                    fmt::format("{} {}", is_given ? "must be an account's name:" : "does not tell the account; add account:",
                                is_in_path ? "1 to 63 lower-case letters, digits, dashes and underscores"
                                           : "3 to 24 lower-case letters and digits"));
}

void read_endpoint(ConfigSection& section, AzureConfig& azure) {
    std::string text;
    section.require("endpoint");
    section.read_text("endpoint", text);
    section.read_bool("allow-http", azure.allow_http);
    const Result<Url> url = parse_url(text);
    if (!url) {
        // One that is missing or no text is said already.
        if (!text.empty())
            section.mistake("endpoint", url.error().text());
        std::string ignored;
        section.read_text("account", ignored);
        return;
    }
    if (!url->is_https && azure.credential_kind == CredentialKind::Token)
        section.mistake("endpoint", "must begin with https:// where the credential is a token");
    else if (!url->is_https && !azure.allow_http)
        section.mistake("endpoint", "must begin with https://, or say allow-http: true, and then whoever listens on the "
                                    "way can read all that is copied");
    azure.endpoint = url->text();
    read_account(section, *url, azure);
}

void read_proxy(ConfigSection& section, AzureConfig& azure) {
    std::string text;
    section.read_text("proxy", text);
    if (text.empty())
        return;
    const Result<Url> url = parse_url(text);
    if (!url || url->is_https || !url->has_port || !url->path.empty())
        section.mistake("proxy", "must be like http://proxy.example:3128, without a user name or a path");
    else
        azure.proxy = url->text();
}

void read_api_version(ConfigSection& section, AzureConfig& azure) {
    section.read_text("api-version", azure.api_version);
    constexpr std::string_view kForm = "dddd-dd-dd";
    constexpr std::string_view kOldest = "2019-12-12";  // the first with blocks of more than 100 MiB
    const std::string& text = azure.api_version;
    bool is_date = text.size() == kForm.size();
    for (std::size_t i = 0; is_date && i < text.size(); ++i)
        is_date = kForm[i] == 'd' ? text[i] >= '0' && text[i] <= '9' : text[i] == kForm[i];
    if (!is_date || text < kOldest)
        section.mistake("api-version", fmt::format("must be a date from {} on, written like {}", kOldest,
                                                   AzureConfig().api_version));
}

void read_container(ConfigSection& section, AzureConfig& azure) {
    const bool is_given = section.has("container");
    section.read_text("container", azure.container);
    if (is_given && !check_container(azure.container))
        section.mistake("container", "must be a container's name: 3 to 63 lower-case letters, digits and single dashes "
                                     "between them");
}

void read_azure(ConfigSection& section, AzureConfig& azure) {
    using std::chrono::days;
    using std::chrono::hours;
    using std::chrono::minutes;
    using std::chrono::seconds;
    read_azure_credential(section, azure);
    read_endpoint(section, azure);
    read_container(section, azure);
    section.read_path("ca-file", azure.ca_file);
    read_proxy(section, azure);
    section.read_duration("connect-timeout", azure.connect_timeout, seconds(1), minutes(5));
    section.read_duration("stall-timeout", azure.stall_timeout, seconds(1), hours(1));
    section.read_duration("outage", azure.outage, seconds(1), days(7));
    read_api_version(section, azure);
}

void read_encryption(ConfigSection& section, const Keys& keys, EncryptionConfig& encryption) {
    std::string name;
    section.read_text("encryption-key", name);
    if (name.empty()) {
        section.mistake("encryption-key", "must be the name of one of the keys");
        return;
    }
    if (const auto found = keys.find(name); found != keys.end()) {
        encryption = found->second;
        return;
    }
    std::string known;
    for (const auto& [each, key] : keys)
        known += (known.empty() ? "" : ", ") + each;
    section.mistake("encryption-key", looks_like_secret(name)
                                          ? "holds what looks like the secret itself; it must be the name of one of the keys"
                                          : fmt::format("{} is not one of the keys; {}", in_quotes(name),
                                                        known.empty() ? "there are none" : "there are: " + known));
}

void read_store(ConfigReader& reader, const ConfigValue& value, const Keys& keys,
                std::map<std::string, StoreConfig>& stores) {
    const std::string path = "stores." + value.key;
    if (!is_plain_name(value.key, kMaxStoreName)) {
        reader.mistake(value, "stores",
                       in_quotes(value.key) + " is not a store name: up to 63 letters, digits, dots, "
                                              "dashes and underscores, a letter or digit first");
        return;
    }
    if (value.kind != ConfigValue::Kind::Map) {
        reader.mistake(value, path, "must have keys, as in {type: directory, path: /srv/dray/vault}");
        return;
    }
    StoreConfig store;
    store.name = value.key;
    ConfigSection section(reader, &value, path);
    section.require("type");
    section.read_text("type", store.type);
    if (store.type == "s3") {
        section.mistake("type", "store type \"s3\" is not in this version; use directory or azure");
        return;
    }
    if (!store.type.empty() && store.type != "directory" && store.type != "azure")
        section.mistake("type", in_quotes(store.type) + " is not a store type; use directory or azure");
    if (store.type == "azure") {
        read_azure(section, store.azure);
    } else if (store.type == "directory") {
        section.require("path");
        section.read_path("path", store.path);
    } else {
        return;  // its other keys mean nothing to us
    }
    if (section.has("encryption-key"))
        read_encryption(section, keys, store.encryption);
    section.finish();
    stores.emplace(store.name, std::move(store));
}

void read_key(ConfigReader& reader, const ConfigValue& value, Keys& keys) {
    if (!is_key_name(value.key)) {
        reader.mistake(value, "keys", "has a name that is not one: up to 256 characters without spaces and quotes");
        return;
    }
    const std::string path = "keys." + value.key;
    if (value.kind != ConfigValue::Kind::Map) {
        reader.mistake(value, path, "must have keys, as in {credential: escrow-key, algorithm: A256KW}");
        return;
    }
    EncryptionConfig key;
    key.key = value.key;
    ConfigSection section(reader, &value, path);
    std::string text;
    section.require("credential");
    section.read_text("credential", text);
    read_credential(section, std::move(text), key.credential);
    section.require("algorithm");
    section.read_choice<std::string>("algorithm", key.algorithm,
                                     {{"A128KW", "A128KW"},
                                      {"A192KW", "A192KW"},
                                      {"A256KW", "A256KW"},
                                      {"RSA-OAEP", "RSA-OAEP"},
                                      {"RSA-OAEP-256", "RSA-OAEP-256"}});
    section.finish();
    keys.emplace(key.key, std::move(key));
}

}  // namespace

void read_stores(ConfigReader& reader, ConfigSection& root, std::map<std::string, StoreConfig>& stores) {
    Keys keys;
    const std::vector<const ConfigValue*> key_members = root.read_named("keys");
    if (key_members.size() > kMaxKeys)
        root.mistake("keys", fmt::format("has {} keys; at most {} are possible", key_members.size(), kMaxKeys));
    for (const ConfigValue* member : key_members)
        read_key(reader, *member, keys);
    const std::vector<const ConfigValue*> members = root.read_named("stores");
    if (members.size() > kMaxStores)
        root.mistake("stores", fmt::format("has {} stores; at most {} are possible", members.size(), kMaxStores));
    for (const ConfigValue* member : members)
        read_store(reader, *member, keys, stores);
}

}  // namespace dray
