// SPDX-License-Identifier: Apache-2.0
#include "daemon/bus/options.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "daemon/base/memfd.hpp"

namespace dray::bus {
namespace {

const char* signature_of(OptionType type) {
    switch (type) {
    case OptionType::Text:
        return "s";
    case OptionType::Flag:
        return "b";
    case OptionType::Number:
        return "u";
    case OptionType::Dictionary:
        return "a{ss}";
    case OptionType::Secret:
        return "h";
    case OptionType::Selection:
        return "a{sas}";
    }
    return "";
}

const OptionSpec* find(std::span<const OptionSpec> known, std::string_view name) {
    for (const OptionSpec& spec : known) {
        if (spec.name == name)
            return &spec;
    }
    return nullptr;
}

Error unknown_option(std::string_view name, std::span<const OptionSpec> known) {
    if (known.empty())
        return {ErrorKind::InvalidArgument,
                fmt::format("unknown option \"{}\"; this method takes none", name.substr(0, 100))};
    std::string list;
    for (const OptionSpec& spec : known)
        list += (list.empty() ? "" : ", ") + std::string(spec.name);
    return {ErrorKind::InvalidArgument,
            fmt::format("unknown option \"{}\"; known are {}", name.substr(0, 100), list)};
}

/// False at the end of an array.
Result<bool> enter(sd_bus_message* message, char type, const char* contents) {
    const int result = sd_bus_message_enter_container(message, type, contents);
    if (result < 0)
        return fail(malformed(result));
    return result > 0;
}

Result<void> leave(sd_bus_message* message) {
    if (const int result = sd_bus_message_exit_container(message); result < 0)
        return fail(malformed(result));
    return {};
}

Result<std::string> read_bounded(sd_bus_message* message, std::string_view what) {
    const char* text = nullptr;
    if (const int result = sd_bus_message_read(message, "s", &text); result < 0)
        return fail(malformed(result));
    const std::size_t length = std::strlen(text);
    if (length > kMaxTextBytes)
        return fail(ErrorKind::InvalidArgument, "{} has {} bytes, at most {} are allowed", what, length,
                    kMaxTextBytes);
    return std::string(text, length);
}

/// One entry of a dictionary of texts, whose size is added to `total`.
Result<void> read_entry(sd_bus_message* message, const std::string& what, Bytes& total, Texts& texts) {
    DRAY_LET(std::string key, read_bounded(message, what + ": a name"));
    DRAY_LET(std::string value, read_bounded(message, what + ": a value"));
    total += key.size() + value.size();
    if (total > kMaxDictionaryBytes)
        return fail(ErrorKind::InvalidArgument, "{} is too large; all of it may have {} bytes", what,
                    kMaxDictionaryBytes);
    if (!texts.emplace(std::move(key), std::move(value)).second)
        return fail(ErrorKind::InvalidArgument, "{} has a name twice", what);
    return {};
}

Result<Texts> read_dictionary(sd_bus_message* message, const std::string& what) {
    DRAY_TRY(enter(message, 'a', "{ss}"));
    Texts texts;
    Bytes total = 0;
    for (;;) {
        DRAY_LET(const bool is_more, enter(message, 'e', "ss"));
        if (!is_more)
            break;
        DRAY_TRY(read_entry(message, what, total, texts));
        DRAY_TRY(leave(message));
    }
    DRAY_TRY(leave(message));
    return texts;
}

/// One text of a selection under its word.
Result<format::Selected> read_selected(const std::string& word, std::string_view text) {
    if (word == "prefixes")
        return format::select_prefix(text);
    std::string snapshot;
    if (word == "snapshots") {
        const std::size_t blank = text.find(' ');
        if (blank == 0 || blank == std::string_view::npos)
            return fail(ErrorKind::InvalidArgument, "\"{}\" is not SNAPSHOT CONTAINER/NAME", text.substr(0, 100));
        snapshot = text.substr(0, blank);
        text.remove_prefix(blank + 1);
    }
    DRAY_LET(format::Selected selected, format::select_path(text));
    if (word != "paths" && selected.is_prefix())
        return fail(ErrorKind::InvalidArgument, "\"/\" is no path of one blob");
    selected.with_snapshots = word == "paths";
    selected.snapshot = std::move(snapshot);
    return selected;
}

Result<void> read_selected_under(sd_bus_message* message, const std::string& what, Bytes& total,
                                 format::BlobSelection& selection) {
    const char* word = nullptr;
    if (const int result = sd_bus_message_read_basic(message, 's', static_cast<void*>(&word)); result < 0)
        return fail(malformed(result));
    constexpr std::array<std::string_view, 4> kWords{"prefixes", "paths", "base-paths", "snapshots"};
    if (std::ranges::find(kWords, word) == kWords.end())
        return fail(ErrorKind::InvalidArgument, "{}: unknown word \"{}\"; known are prefixes, paths, base-paths, snapshots", what,
                    std::string_view(word).substr(0, 100));
    DRAY_TRY(enter(message, 'a', "s"));
    for (;;) {
        const char* text = nullptr;
        const int result = sd_bus_message_read_basic(message, 's', static_cast<void*>(&text));
        if (result < 0)
            return fail(malformed(result));
        if (result == 0)
            break;
        total += std::strlen(text);
        if (total > kMaxSelectionBytes)
            return fail(ErrorKind::InvalidArgument, "{} is longer than {}; put it into a list blob", what,
                        format_bytes(kMaxSelectionBytes));
        Result<format::Selected> selected = read_selected(word, text);
        if (!selected)
            return fail(std::move(selected.error()), "{}", what);
        selection.push_back(*std::move(selected));
    }
    return leave(message);
}

Result<format::BlobSelection> read_selection(sd_bus_message* message, const std::string& what) {
    DRAY_TRY(enter(message, 'a', "{sas}"));
    format::BlobSelection selection;
    Bytes total = 0;
    for (;;) {
        DRAY_LET(const bool is_more, enter(message, 'e', "sas"));
        if (!is_more)
            break;
        DRAY_TRY(read_selected_under(message, what, total, selection));
        DRAY_TRY(leave(message));
    }
    DRAY_TRY(leave(message));
    return selection;
}

Result<SecretBytes> read_secret(sd_bus_message* message, const std::string& what) {
    int fd = -1;
    if (const int result = sd_bus_message_read_basic(message, 'h', &fd); result < 0)
        return fail(malformed(result));
    auto secret = read_sealed_memfd(fd, kMaxKeyBytes);
    if (!secret)
        // Whatever is wrong with it, it is the caller's descriptor that is wrong.
        return fail(ErrorKind::InvalidArgument, "{}: {}", what, secret.error().text());
    return secret;
}

}  // namespace

Error malformed(int result) {
    return {ErrorKind::InvalidArgument,
            "the message cannot be read: " + errno_text(result < 0 ? -result : result)};
}

Result<std::string> read_text(sd_bus_message* message, std::string_view what) {
    return read_bounded(message, fmt::format("argument {}", what));
}

Result<void> Options::read_value(sd_bus_message* message, const OptionSpec& spec, Value& value) {
    const std::string what = fmt::format("option {}", spec.name);
    int result = 0;
    switch (spec.type) {
    case OptionType::Text: {
        DRAY_LET(value.text, read_bounded(message, what));
        break;
    }
    case OptionType::Flag: {
        int flag = 0;
        result = sd_bus_message_read_basic(message, 'b', &flag);
        value.flag = flag != 0;
        break;
    }
    case OptionType::Number:
        result = sd_bus_message_read_basic(message, 'u', &value.number);
        break;
    case OptionType::Dictionary: {
        DRAY_LET(value.dictionary, read_dictionary(message, what));
        break;
    }
    case OptionType::Secret: {
        DRAY_LET(value.secret, read_secret(message, what));
        break;
    }
    case OptionType::Selection: {
        DRAY_LET(value.selection, read_selection(message, what));
        break;
    }
    }
    if (result < 0)
        return fail(malformed(result));
    return {};
}

Result<void> Options::read_option(sd_bus_message* message, std::span<const OptionSpec> known) {
    const char* name = nullptr;
    if (const int result = sd_bus_message_read(message, "s", &name); result < 0)
        return fail(malformed(result));
    const OptionSpec* spec = find(known, name);
    if (spec == nullptr)
        return fail(unknown_option(name, known));
    if (has(name))
        return fail(ErrorKind::InvalidArgument, "option {} is given twice", name);
    const char* contents = nullptr;
    if (const int result = sd_bus_message_peek_type(message, nullptr, &contents); result < 0)
        return fail(malformed(result));
    const char* signature = signature_of(spec->type);
    if (std::strcmp(contents, signature) != 0)
        return fail(ErrorKind::InvalidArgument, "option {} must be of type {}, not {}", name, signature, contents);
    DRAY_TRY(enter(message, 'v', signature));
    DRAY_TRY(read_value(message, *spec, values_[name]));
    return leave(message);
}

Result<Options> Options::read(sd_bus_message* message, std::span<const OptionSpec> known) {
    DRAY_TRY(enter(message, 'a', "{sv}"));
    Options options;
    for (;;) {
        DRAY_LET(const bool is_more, enter(message, 'e', "sv"));
        if (!is_more)
            break;
        DRAY_TRY(options.read_option(message, known));
        DRAY_TRY(leave(message));
    }
    DRAY_TRY(leave(message));
    return options;
}

template <typename T>
std::optional<T> Options::get(std::string_view name, T Value::*member) const {
    const auto found = values_.find(name);
    if (found == values_.end())
        return std::nullopt;
    return found->second.*member;
}

std::optional<std::string> Options::text(std::string_view name) const { return get(name, &Value::text); }
std::optional<bool> Options::flag(std::string_view name) const { return get(name, &Value::flag); }
std::optional<std::uint32_t> Options::number(std::string_view name) const {
    return get(name, &Value::number);
}
std::optional<Texts> Options::dictionary(std::string_view name) const {
    return get(name, &Value::dictionary);
}

std::optional<format::BlobSelection> Options::selection(std::string_view name) const {
    return get(name, &Value::selection);
}

std::optional<SecretBytes> Options::take_secret(std::string_view name) {
    const auto found = values_.find(name);
    if (found == values_.end())
        return std::nullopt;
    return std::move(found->second.secret);
}

}  // namespace dray::bus
