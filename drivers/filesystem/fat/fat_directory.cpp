// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/fat/fat_directory.hpp"

#include <algorithm>
#include <array>

#include "drivers/filesystem/cluster/case_map.hpp"
#include "drivers/filesystem/cluster/name_text.hpp"

namespace dray::fs {
namespace {

constexpr std::size_t kShortName = 11;
constexpr std::size_t kShortBase = 8;
constexpr std::size_t kLongUnits = 13;
constexpr std::size_t kMostParts = 20;
constexpr std::size_t kMostUnits = 255;

constexpr unsigned kVolumeLabel = 0x08;
constexpr unsigned kDirectory = 0x10;
constexpr unsigned kLongName = 0x0f;
constexpr unsigned kAttributes = 0x3f;

constexpr unsigned kUnused = 0x00;
constexpr unsigned kDeleted = 0xe5;
/// Stands for a first letter that would look deleted.
constexpr unsigned kIsE5 = 0x05;

unsigned attributes_of(EntryBytes entry) { return byte_in(entry, 11) & kAttributes; }

FileRecord parse_record(EntryBytes entry, bool is_fat32) {
    FileRecord record;
    record.is_directory = (attributes_of(entry) & kDirectory) != 0;
    record.first_cluster = short_in(entry, 26) | (is_fat32 ? std::uint32_t{short_in(entry, 20)} << 16U : 0U);
    record.is_sized = !record.is_directory;
    record.size = record.is_sized ? word_in(entry, 28) : 0;
    record.valid_size = record.size;
    return record;
}

std::uint8_t checksum_of(EntryBytes entry) {
    unsigned sum = 0;
    for (std::size_t i = 0; i < kShortName; ++i)
        sum = (((sum & 1U) << 7U) + (sum >> 1U) + byte_in(entry, i)) & 0xffU;
    return static_cast<std::uint8_t>(sum);
}

bool is_dots(EntryBytes entry) {
    const auto blank_from = [entry](std::size_t first) {
        return std::all_of(entry.begin() + static_cast<std::ptrdiff_t>(first), entry.begin() + kShortName,
                           [](std::byte byte) { return byte == std::byte{' '}; });
    };
    return byte_in(entry, 0) == '.' && (blank_from(1) || (byte_in(entry, 1) == '.' && blank_from(2)));
}

bool is_short_name(EntryBytes entry) {
    for (std::size_t i = 0; i < kShortName; ++i)
        if (byte_in(entry, i) < 0x20 && !(i == 0 && byte_in(entry, i) == kIsE5))
            return false;
    return byte_in(entry, 0) != ' ';
}

/// One half of a short name, without the blanks at its end. Windows NT keeps in the entry whether it is lower case.
void append_half(std::u16string& name, std::span<const std::byte> half, bool is_lower) {
    std::size_t length = half.size();
    while (length > 0 && byte_in(half, length - 1) == ' ')
        --length;
    for (std::size_t i = 0; i < length; ++i) {
        const char16_t unit = code_page_850(byte_in(half, i));
        name += is_lower ? static_cast<char16_t>(simple_fold(unit)) : unit;
    }
}

std::u16string short_name_of(EntryBytes entry) {
    constexpr unsigned kLowerBase = 0x08;
    constexpr unsigned kLowerExtension = 0x10;
    std::array<std::byte, kShortName> bytes{};
    std::copy_n(entry.begin(), kShortName, bytes.begin());
    if (byte_in(bytes, 0) == kIsE5)
        bytes[0] = std::byte{kDeleted};
    const unsigned flags = byte_in(entry, 12);
    std::u16string name;
    append_half(name, std::span(bytes).first(kShortBase), (flags & kLowerBase) != 0);
    name += u'.';
    const std::size_t with_dot = name.size();
    append_half(name, std::span(bytes).subspan(kShortBase), (flags & kLowerExtension) != 0);
    if (name.size() == with_dot)
        name.pop_back();
    return name;
}

/// The parts of a long name come last one first, numbered, each with a checksum of the short name behind them. What does
/// not fit together counts as if it were not there.
class LongName {
public:
    void take(EntryBytes entry, Bytes place) {
        constexpr unsigned kLast = 0x40;
        const unsigned order = byte_in(entry, 0);
        const unsigned number = order & ~kLast;
        const bool is_last = (order & kLast) != 0;
        if (number == 0 || number > kMostParts || byte_in(entry, 12) != 0 ||
            (!is_last && (number + 1 != next_ || byte_in(entry, 13) != checksum_))) {
            clear();
            return;
        }
        if (is_last) {
            parts_ = number;
            place_ = place;
            checksum_ = byte_in(entry, 13);
        }
        next_ = number;
        constexpr std::array<std::size_t, kLongUnits> kPlaces{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30};
        for (std::size_t i = 0; i < kLongUnits; ++i)
            units_[(number - 1) * kLongUnits + i] = static_cast<char16_t>(short_in(entry, kPlaces[i]));
    }

    void clear() { next_ = 0; }

    /// Empty, unless it belongs to this short name.
    std::u16string_view name_for(EntryBytes entry) const {
        if (next_ != 1 || checksum_of(entry) != checksum_)
            return {};
        const std::u16string_view all(units_.data(), parts_ * kLongUnits);
        const std::u16string_view name = all.substr(0, all.find(u'\0'));
        // It ends in the last part, or there are parts too many.
        if (name.size() > kMostUnits || name.size() <= (parts_ - 1) * kLongUnits)
            return {};
        return name;
    }
    Bytes place() const { return place_; }

private:
    std::array<char16_t, kMostParts * kLongUnits> units_{};
    /// The number of the part that came last; 0: none, and 1: it is complete.
    std::size_t next_ = 0;
    std::size_t parts_ = 0;
    std::uint8_t checksum_ = 0;
    Bytes place_ = 0;
};

class FatParser : public EntryParser {
public:
    explicit FatParser(bool is_fat32) : is_fat32_(is_fat32) {}

    Step take(EntryBytes entry, Bytes place) override {
        const unsigned first = byte_in(entry, 0);
        if (first == kUnused)
            return Step::End;
        if (first == kDeleted) {
            long_name_.clear();
            return Step::GoOn;
        }
        if (attributes_of(entry) == kLongName) {
            long_name_.take(entry, place);
            return Step::GoOn;
        }
        const Step step = (attributes_of(entry) & kVolumeLabel) != 0 || is_dots(entry) ? Step::GoOn
                          : is_short_name(entry)                                      ? Step::Found
                                                                                      : Step::Damaged;
        if (step == Step::Found)
            found(entry, place);
        long_name_.clear();
        return step;
    }

    // A long name that is cut off is no damage: the short one behind it is there.
    Step gap() override {
        long_name_.clear();
        return Step::GoOn;
    }

private:
    void found(EntryBytes entry, Bytes place) {
        const std::u16string_view name = long_name_.name_for(entry);
        name_ = utf16_of(utf8_of(name.empty() ? short_name_of(entry) : name));
        record_ = parse_record(entry, is_fat32_);
        first_place_ = name.empty() ? place : long_name_.place();
        record_place_ = place;
    }

    bool is_fat32_;
    LongName long_name_;
};

}  // namespace

std::unique_ptr<EntryParser> FatRules::parser() const { return std::make_unique<FatParser>(is_fat32_); }

std::u16string FatRules::folded(std::u16string_view name) const {
    std::u16string result;
    result.reserve(name.size());
    for (std::size_t i = 0; i < name.size(); ++i) {
        const bool is_pair = name[i] >= 0xd800 && name[i] < 0xdc00 && i + 1 < name.size();
        if (!is_pair) {
            result += static_cast<char16_t>(simple_fold(name[i]));
            continue;
        }
        const char32_t code =
            simple_fold(0x10000U + ((char32_t{name[i]} - 0xd800U) << 10U) + (char32_t{name[i + 1]} - 0xdc00U));
        result += static_cast<char16_t>(0xd800U + ((code - 0x10000U) >> 10U));
        result += static_cast<char16_t>(0xdc00U + ((code - 0x10000U) & 0x3ffU));
        ++i;
    }
    return result;
}

Result<FileRecord> FatRules::record_of(EntryBytes entry) const {
    const unsigned first = byte_in(entry, 0);
    if (first == kUnused || first == kDeleted || (attributes_of(entry) & kVolumeLabel) != 0)
        return fail(ErrorKind::Corrupt, "there is no file any more");
    return parse_record(entry, is_fat32_);
}

}  // namespace dray::fs
