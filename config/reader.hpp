// SPDX-License-Identifier: Apache-2.0
//
// YAML as values that know their file and line, and sections that are read key by key. Every
// mistake is collected, so that an operator mends a file in one go. The only user of yaml-cpp is
// reader.cpp.
//
// Refused besides what is no YAML: anchors, aliases and tags, keys given twice, more than one
// document, nesting deeper than any setting, and files over 1 MiB.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"

namespace dray {

inline constexpr Bytes kMaxConfigFile = kMiB;

struct ConfigValue {
    enum class Kind { Null, Text, List, Map };

    Kind kind = Kind::Null;
    /// Of a Text.
    std::string text;
    /// Of a List, or with their keys of a Map.
    std::vector<ConfigValue> items;
    /// Within a Map.
    std::string key;
    std::string file;
    int line = 1;

    const ConfigValue* find(std::string_view wanted) const;
};

/// Collects mistakes and the names of all keys that were asked for.
class ConfigReader {
public:
    /// The values of a text; Null if it cannot be understood. `file` is its name in messages.
    ConfigValue parse(const std::string& text, const std::string& file);
    /// "dray.yaml:12: transfers.max: <sentence>". `path` may be empty.
    void mistake(const ConfigValue& where, std::string_view path, std::string_view sentence);
    void mistake(std::string line);
    /// InvalidArgument with all mistakes, one a line; nothing if there are none.
    Result<void> finish() const;
    /// "transfers.max" and so on, in the order of asking.
    const std::vector<std::string>& keys_asked() const { return keys_; }

private:
    friend class ConfigSection;
    std::vector<std::string> mistakes_;
    std::vector<std::string> keys_;
};

/// Lays `over` on top of `base`: maps key by key, everything else as a whole. An empty value, as
/// under a heading whose keys are all commented out, changes nothing.
void merge(ConfigValue& base, ConfigValue over);

/// A map of settings. A key that is missing leaves its target at the default; a mistake is noted
/// with the reader and leaves it so too. finish() must be the last call: it finds the keys nobody
/// asked for.
class ConfigSection {
public:
    /// `value` may be null: a section that is not there. It outlives the section.
    ConfigSection(ConfigReader& reader, const ConfigValue* value, std::string path);

    void read_bool(const char* key, bool& target);
    void read_number(const char* key, unsigned& target, unsigned least, unsigned most);
    void read_bytes(const char* key, Bytes& target, Bytes least, Bytes most);
    void read_duration(const char* key, Microseconds& target, Microseconds least,
                       Microseconds most);
    void read_text(const char* key, std::string& target);
    /// An absolute path without "..".
    void read_path(const char* key, std::string& target);
    template <typename Enum>
    void read_choice(const char* key, Enum& target,
                     const std::vector<std::pair<std::string_view, Enum>>& choices) {
        std::vector<std::string_view> words;
        words.reserve(choices.size());
        for (const auto& [word, value] : choices)
            words.push_back(word);
        if (const std::optional<std::size_t> chosen = choose(key, words))
            target = choices[*chosen].second;
    }
    /// Words out of `choices`, each at most once and at least one: their places there. Nothing if
    /// the key is missing or wrong.
    std::optional<std::vector<std::size_t>> read_list(const char* key,
                                                      const std::vector<std::string_view>& choices);
    ConfigSection section(const char* key);
    /// The members of a map whose keys are names given by the operator.
    std::vector<const ConfigValue*> read_named(const char* key);

    void require(const char* key);
    bool has(const char* key) const { return value_ != nullptr && value_->find(key) != nullptr; }
    /// For rules of the caller's own, at the key's line.
    void mistake(const char* key, std::string_view sentence);
    void finish();

private:
    const ConfigValue* ask(const char* key);
    const ConfigValue* ask_text(const char* key, std::string_view what);
    std::optional<std::size_t> choose(const char* key, const std::vector<std::string_view>& words);
    std::string path_of(std::string_view key) const;

    ConfigReader& reader_;
    const ConfigValue* value_;
    std::string path_;
    std::vector<std::string_view> asked_;
};

/// A key, a signature or a token, for all that one can see.
bool looks_like_secret(std::string_view text);

/// What somebody tells us, made fit for a message: cut, with quotes around it, and no secret.
std::string in_quotes(std::string_view text);

}  // namespace dray
