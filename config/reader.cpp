// SPDX-License-Identifier: Apache-2.0
#include "config/reader.hpp"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <exception>
#include <numeric>
#include <sstream>

namespace dray {
namespace {

/// Deeper than any setting.
constexpr std::size_t kMaxDepth = 8;
/// More than any site has settings.
constexpr std::size_t kMaxValues = 10'000;

/// A limit as it is written in a file; limits are whole MiB or GiB.
std::string size_text(Bytes bytes) {
    return bytes % kGiB == 0 ? fmt::format("{}GiB", bytes / kGiB)
                             : fmt::format("{}MiB", bytes / kMiB);
}

/// How many letters must be changed, added or taken away to turn one word into the other.
std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
        }
    }
    return row[b.size()];
}

std::string joined(const std::vector<std::string_view>& words) {
    return fmt::format("{}", fmt::join(words, ", "));
}

/// "did you mean X?" or the list of what there is.
std::string suggestion(std::string_view word, const std::vector<std::string_view>& known) {
    std::string_view best;
    std::size_t least = word.size() / 3 + 2;
    for (const std::string_view candidate : known) {
        const std::size_t cost = word.size() > 64 ? least : distance(word, candidate);
        if (cost < least && cost < candidate.size()) {
            least = cost;
            best = candidate;
        }
    }
    if (!best.empty())
        return fmt::format("did you mean \"{}\"?", best);
    return "known here: " + joined(known);
}

/// Builds values out of the parser's events. Aliases are never followed, so that a small file stays
/// small.
class Builder : public YAML::EventHandler {
public:
    Builder(ConfigReader& reader, std::string file) : reader_(reader), file_(std::move(file)) {}

    void OnDocumentStart(const YAML::Mark& /*mark*/) override {}
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        check("", anchor, mark);
        add(make(ConfigValue::Kind::Null, mark));
    }
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override {
        complain(mark, "aliases (*name) are not allowed; write the value out");
        add(make(ConfigValue::Kind::Null, mark));
    }
    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  const std::string& text) override {
        check(tag, anchor, mark);
        ConfigValue value = make(ConfigValue::Kind::Text, mark);
        value.text = text;
        add(std::move(value));
    }
    void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value /*style*/) override {
        check(tag, anchor, mark);
        open(make(ConfigValue::Kind::List, mark));
    }
    void OnSequenceEnd() override { close(); }
    void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value /*style*/) override {
        check(tag, anchor, mark);
        open(make(ConfigValue::Kind::Map, mark));
    }
    void OnMapEnd() override { close(); }

    ConfigValue take() { return std::move(root_); }

private:
    struct Level {
        ConfigValue value;
        /// In a map: the key whose value comes next.
        std::optional<ConfigValue> key;
    };

    ConfigValue make(ConfigValue::Kind kind, const YAML::Mark& mark) const {
        ConfigValue value;
        value.kind = kind;
        value.file = file_;
        value.line = mark.line + 1;
        return value;
    }
    void complain(const YAML::Mark& mark, std::string_view sentence) {
        reader_.mistake(make(ConfigValue::Kind::Null, mark), "", sentence);
    }
    void check(const std::string& tag, YAML::anchor_t anchor, const YAML::Mark& mark) {
        if (anchor != 0)
            complain(mark, "anchors (&name) are not allowed; write the value out");
        if (!tag.empty() && tag != "?" && tag != "!")
            complain(mark, "tags (!name) are not allowed");
    }
    void open(ConfigValue value) {
        ++depth_;
        if (depth_ == kMaxDepth + 1)
            reader_.mistake(value, "", "is nested deeper than any setting");
        if (depth_ <= kMaxDepth)
            levels_.push_back({.value = std::move(value), .key = std::nullopt});
    }
    void close() {
        if (depth_-- > kMaxDepth)
            return;
        ConfigValue value = std::move(levels_.back().value);
        levels_.pop_back();
        add(std::move(value));
    }
    /// A value is complete: it belongs to the level that is open.
    void add(ConfigValue value) {
        if (depth_ > kMaxDepth)
            return;
        if (++values_ > kMaxValues) {
            if (values_ == kMaxValues + 1)
                reader_.mistake(value, "", "too many values in one file");
            return;
        }
        if (levels_.empty()) {
            root_ = std::move(value);
            return;
        }
        Level& level = levels_.back();
        if (level.value.kind == ConfigValue::Kind::List)
            level.value.items.push_back(std::move(value));
        else if (const std::optional<ConfigValue> key = std::exchange(level.key, std::nullopt); key)
            add_member(level.value, *key, std::move(value));
        else
            level.key = std::move(value);
    }
    void add_member(ConfigValue& map, const ConfigValue& key, ConfigValue value) {
        if (key.kind != ConfigValue::Kind::Text || key.text.empty()) {
            reader_.mistake(key, "", "a key must be a word");
            return;
        }
        if (const ConfigValue* first = map.find(key.text)) {
            reader_.mistake(key, "",
                            fmt::format("key {} is given twice; the first is in line {}",
                                        in_quotes(key.text), first->line));
            return;
        }
        value.key = key.text;
        value.line = key.line;
        map.items.push_back(std::move(value));
    }

    ConfigReader& reader_;
    std::string file_;
    std::vector<Level> levels_;
    std::size_t depth_ = 0;
    std::size_t values_ = 0;
    ConfigValue root_;
};

}  // namespace

bool looks_like_secret(std::string_view text) {
    // The service's keys have 88 characters, and nobody calls a credential so.
    constexpr std::size_t kShortest = 64;
    if (text.find("sig=") != std::string_view::npos || text.starts_with("eyJ") || text.starts_with("Bearer "))
        return true;
    const std::size_t padding = text.size() - std::min(text.find_last_not_of('=') + 1, text.size());
    const std::string_view digits = text.substr(0, text.size() - padding);
    const bool is_base64 = text.size() >= kShortest && padding <= 2 && std::ranges::all_of(digits, [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '+' || c == '/' || c == '-' || c == '_';
    });
    // A long path may be of these letters alone.
    const bool is_path = text.starts_with('/') && padding == 0 && text.find('+') == std::string_view::npos;
    return is_base64 && !is_path;
}

std::string in_quotes(std::string_view text) {
    if (looks_like_secret(text))
        return "what looks like a secret and is not repeated here";
    constexpr std::size_t kLongest = 60;
    std::string result = "\"";
    for (const char c : text.substr(0, kLongest))
        result += static_cast<unsigned char>(c) < ' ' || c == '\x7f' ? '?' : c;
    return result + (text.size() > kLongest ? "...\"" : "\"");
}

const ConfigValue* ConfigValue::find(std::string_view wanted) const {
    const auto found = std::ranges::find(items, wanted, &ConfigValue::key);
    return kind != Kind::Map || found == items.end() ? nullptr : &*found;
}

ConfigValue ConfigReader::parse(const std::string& text, const std::string& file) {
    ConfigValue nothing;
    nothing.file = file;
    if (text.size() > kMaxConfigFile) {
        mistake(fmt::format("{}: is larger than 1 MiB", file));
        return nothing;
    }
    try {
        std::istringstream stream(text);
        YAML::Parser parser(stream);
        Builder builder(*this, file);
        if (!parser.HandleNextDocument(builder))
            return nothing;
        ConfigValue root = builder.take();
        Builder rest(*this, file);
        if (parser.HandleNextDocument(rest))
            mistake(fmt::format("{}: holds more than one document (\"---\")", file));
        if (root.kind == ConfigValue::Kind::Null || root.kind == ConfigValue::Kind::Map)
            return root;
        mistake(root, "", "must be settings, as in \"transfers: {max: 4}\"");
    } catch (const YAML::Exception& error) {
        mistake(fmt::format("{}:{}: is not valid YAML: {}", file, std::max(error.mark.line, 0) + 1,
                            error.msg));
    } catch (const std::exception& error) {
        mistake(fmt::format("{}: cannot be read as YAML: {}", file, error.what()));
    }
    return nothing;
}

void ConfigReader::mistake(const ConfigValue& where, std::string_view path,
                           std::string_view sentence) {
    mistake(fmt::format("{}:{}: {}{}{}", where.file, where.line, path, path.empty() ? "" : ": ",
                        sentence));
}

void ConfigReader::mistake(std::string line) {
    constexpr std::size_t kMost = 100;  // a binary file would have thousands
    if (mistakes_.size() < kMost)
        mistakes_.push_back(std::move(line));
    else if (mistakes_.size() == kMost)
        mistakes_.emplace_back("and more");
}

Result<void> ConfigReader::finish() const {
    if (mistakes_.empty())
        return {};
    return fail(ErrorKind::InvalidArgument, "{}", fmt::join(mistakes_, "\n"));
}

void merge(ConfigValue& base, ConfigValue over) {
    if (over.kind == ConfigValue::Kind::Null)
        return;
    if (base.kind != ConfigValue::Kind::Map || over.kind != ConfigValue::Kind::Map) {
        base = std::move(over);
        return;
    }
    for (ConfigValue& item : over.items) {
        const auto found = std::ranges::find(base.items, item.key, &ConfigValue::key);
        if (found == base.items.end())
            base.items.push_back(std::move(item));
        else
            merge(*found, std::move(item));
    }
}

ConfigSection::ConfigSection(ConfigReader& reader, const ConfigValue* value, std::string path)
    : reader_(reader), value_(value), path_(std::move(path)) {
    if (value_ == nullptr || value_->kind == ConfigValue::Kind::Map)
        return;
    if (value_->kind != ConfigValue::Kind::Null)
        reader_.mistake(*value_, path_, "must be a section with keys under it, not a single value");
    value_ = nullptr;
}

std::string ConfigSection::path_of(std::string_view key) const {
    return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

const ConfigValue* ConfigSection::ask(const char* key) {
    if (std::ranges::find(asked_, std::string_view(key)) == asked_.end()) {
        asked_.emplace_back(key);
        reader_.keys_.push_back(path_of(key));
    }
    return value_ == nullptr ? nullptr : value_->find(key);
}

const ConfigValue* ConfigSection::ask_text(const char* key, std::string_view what) {
    const ConfigValue* value = ask(key);
    if (value == nullptr || value->kind == ConfigValue::Kind::Text)
        return value;
    reader_.mistake(*value, path_of(key),
                    value->kind == ConfigValue::Kind::Null
                        ? fmt::format("has no value; it must be {}", what)
                        : fmt::format("must be {}, not a list or a section", what));
    return nullptr;
}

void ConfigSection::read_bool(const char* key, bool& target) {
    const ConfigValue* value = ask_text(key, "true or false");
    if (value == nullptr)
        return;
    if (value->text == "true" || value->text == "false")
        target = value->text == "true";
    else
        reader_.mistake(*value, path_of(key), in_quotes(value->text) + " is not true or false");
}

void ConfigSection::read_number(const char* key, unsigned& target, unsigned least, unsigned most) {
    const std::string what = fmt::format("a whole number from {} to {}", least, most);
    const ConfigValue* value = ask_text(key, what);
    if (value == nullptr)
        return;
    const std::string& text = value->text;
    unsigned number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc() && end == text.data() + text.size() && number >= least &&
        number <= most)
        target = number;
    else
        reader_.mistake(*value, path_of(key), fmt::format("{} is not {}", in_quotes(text), what));
}

void ConfigSection::read_bytes(const char* key, Bytes& target, Bytes least, Bytes most) {
    const std::string what = fmt::format("a size from {} to {}", size_text(least), size_text(most));
    const ConfigValue* value = ask_text(key, what);
    if (value == nullptr)
        return;
    const Result<Bytes> bytes = parse_bytes(value->text);
    if (bytes && *bytes >= least && *bytes <= most)
        target = *bytes;
    else
        reader_.mistake(
            *value, path_of(key),
            fmt::format("{} is not {}, written like 96MiB", in_quotes(value->text), what));
}

void ConfigSection::read_duration(const char* key, Microseconds& target, Microseconds least,
                                  Microseconds most) {
    const std::string what =
        fmt::format("a time from {} to {}", format_duration(least), format_duration(most));
    const ConfigValue* value = ask_text(key, what);
    if (value == nullptr)
        return;
    const Result<Microseconds> time = parse_duration(value->text);
    if (time && *time >= least && *time <= most)
        target = *time;
    else
        reader_.mistake(
            *value, path_of(key),
            fmt::format("{} is not {}, written like 90d or 12h", in_quotes(value->text), what));
}

void ConfigSection::read_text(const char* key, std::string& target) {
    if (const ConfigValue* value = ask_text(key, "a text"))
        target = value->text;
}

void ConfigSection::read_path(const char* key, std::string& target) {
    const ConfigValue* value = ask_text(key, "an absolute path");
    if (value == nullptr)
        return;
    constexpr std::size_t kLongest = 4000;
    const std::string& text = value->text;
    const bool has_control =
        std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < ' '; });
    if (!text.starts_with('/') || text.size() > kLongest || has_control ||
        (text + "/").find("/../") != std::string::npos)
        reader_.mistake(*value, path_of(key),
                        in_quotes(text) + " is not an absolute path without \"..\"");
    else
        target = text;
}

std::optional<std::size_t> ConfigSection::choose(const char* key,
                                                 const std::vector<std::string_view>& words) {
    const ConfigValue* value = ask_text(key, "one of " + joined(words));
    if (value == nullptr)
        return std::nullopt;
    const auto found = std::ranges::find(words, value->text);
    if (found != words.end())
        return static_cast<std::size_t>(found - words.begin());
    reader_.mistake(*value, path_of(key),
                    fmt::format("{} is not one of {}", in_quotes(value->text), joined(words)));
    return std::nullopt;
}

std::optional<std::vector<std::size_t>> ConfigSection::read_list(
    const char* key, const std::vector<std::string_view>& choices) {
    const ConfigValue* value = ask(key);
    if (value == nullptr)
        return std::nullopt;
    if (value->kind != ConfigValue::Kind::List || value->items.empty()) {
        reader_.mistake(*value, path_of(key),
                        fmt::format("must be a list of one or more of {}, like [{}]",
                                    joined(choices), choices.front()));
        return std::nullopt;
    }
    std::vector<std::size_t> places;
    for (const ConfigValue& item : value->items) {
        const auto found = std::ranges::find(choices, std::string_view(item.text));
        const auto place = static_cast<std::size_t>(found - choices.begin());
        if (item.kind != ConfigValue::Kind::Text || found == choices.end())
            reader_.mistake(
                item, path_of(key),
                fmt::format("{} is not one of {}", in_quotes(item.text), joined(choices)));
        else if (std::ranges::find(places, place) != places.end())
            reader_.mistake(item, path_of(key), in_quotes(item.text) + " is given twice");
        else
            places.push_back(place);
    }
    if (places.size() != value->items.size())
        return std::nullopt;
    return places;
}

ConfigSection ConfigSection::section(const char* key) {
    const ConfigValue* value = ask(key);
    reader_.keys_.pop_back();  // its own keys are the settings
    return {reader_, value, path_of(key)};
}

std::vector<const ConfigValue*> ConfigSection::read_named(const char* key) {
    std::vector<const ConfigValue*> members;
    const ConfigValue* value = ask(key);
    const ConfigSection checked(reader_, value, path_of(key));
    if (checked.value_ == nullptr)
        return members;
    for (const ConfigValue& item : value->items)
        members.push_back(&item);
    return members;
}

void ConfigSection::require(const char* key) {
    if (value_ != nullptr && value_->find(key) == nullptr)
        reader_.mistake(*value_, path_of(key), "is missing");
}

void ConfigSection::mistake(const char* key, std::string_view sentence) {
    const ConfigValue* value = value_ == nullptr ? nullptr : value_->find(key);
    if (value != nullptr)
        reader_.mistake(*value, path_of(key), sentence);
}

void ConfigSection::finish() {
    if (value_ == nullptr)
        return;
    for (const ConfigValue& item : value_->items)
        if (std::ranges::find(asked_, std::string_view(item.key)) == asked_.end())
            reader_.mistake(
                item, "",
                fmt::format("{} is not a setting{}{}; {}", in_quotes(item.key),
                            path_.empty() ? "" : " of ", path_, suggestion(item.key, asked_)));
}

}  // namespace dray
