// SPDX-License-Identifier: Apache-2.0
//
// The dictionary that ends each method call. Options that a method does not know are refused by name,
// and so are wrong types; everything has a size limit (rules.md 24, 26, 28).
#pragma once

#include <systemd/sd-bus.h>

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "daemon/base/secret.hpp"
#include "daemon/base/units.hpp"
#include "daemon/format/blob_list.hpp"

namespace dray::bus {

inline constexpr Bytes kMaxTextBytes = 4 * kKiB;
/// All keys and values of one dictionary of texts, tags for example.
inline constexpr Bytes kMaxDictionaryBytes = 16 * kKiB;

/// All texts of one selection; a longer one goes into a list blob.
inline constexpr Bytes kMaxSelectionBytes = 256 * kKiB;

using Texts = std::map<std::string, std::string>;

enum class OptionType {
    Text,        // s, at most kMaxTextBytes
    Flag,        // b
    Number,      // u
    Dictionary,  // a{ss}, at most kMaxDictionaryBytes
    Secret,      // h, a sealed memfd of at most kMaxKeyBytes
    Selection,   // a{sas}, at most kMaxSelectionBytes
};

struct OptionSpec {
    std::string_view name;
    OptionType type;
};

class Options {
public:
    /// Reads the a{sv} that comes next in `message`. InvalidArgument names the option and says what
    /// would be right: unknown ones get the list of `known`, a wrong type the right one.
    static Result<Options> read(sd_bus_message* message, std::span<const OptionSpec> known);

    bool has(std::string_view name) const { return values_.contains(name); }
    /// Each answers nothing when the option was not given.
    std::optional<std::string> text(std::string_view name) const;
    std::optional<bool> flag(std::string_view name) const;
    std::optional<std::uint32_t> number(std::string_view name) const;
    std::optional<Texts> dictionary(std::string_view name) const;
    std::optional<format::BlobSelection> selection(std::string_view name) const;
    /// Moves it out.
    std::optional<SecretBytes> take_secret(std::string_view name);

private:
    /// Of these the one that the option's type says.
    struct Value {
        std::string text;
        bool flag = false;
        std::uint32_t number = 0;
        Texts dictionary;
        format::BlobSelection selection;
        SecretBytes secret;
    };

    Result<void> read_option(sd_bus_message* message, std::span<const OptionSpec> known);
    static Result<void> read_value(sd_bus_message* message, const OptionSpec& spec, Value& value);
    template <typename T>
    std::optional<T> get(std::string_view name, T Value::*member) const;

    std::map<std::string, Value, std::less<>> values_;
};

/// A text argument that comes next in `message`. InvalidArgument: longer than kMaxTextBytes.
Result<std::string> read_text(sd_bus_message* message, std::string_view what);

/// For a sd-bus call that failed on a message we were sent.
Error malformed(int result);

}  // namespace dray::bus
