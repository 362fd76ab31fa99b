// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/exfat/exfat_directory.hpp"

#include <algorithm>
#include <array>

#include "drivers/filesystem/cluster/name_text.hpp"

namespace dray::fs {
namespace {

constexpr unsigned kEnd = 0x00;
constexpr unsigned kUpcaseTable = 0x82;
constexpr unsigned kFile = 0x85;
constexpr unsigned kStream = 0xc0;
constexpr unsigned kName = 0xc1;
/// Bits of the kind: it belongs to the one before, one need not know it, it is in use.
constexpr unsigned kBenign = 0x20;
constexpr unsigned kSecondary = 0x40;
constexpr unsigned kInUse = 0x80;

constexpr unsigned kDirectory = 0x10;
constexpr unsigned kContiguous = 0x02;
constexpr std::size_t kUnitsPerEntry = 15;
/// The volume's own entries stand in front in every root; this is far more than anybody puts before them.
constexpr Bytes kUpcaseWithin = kMiB;

FileRecord parse_stream(EntryBytes entry) {
    FileRecord record;
    record.is_contiguous = (byte_in(entry, 1) & kContiguous) != 0;
    record.valid_size = number_in(entry, 8, 8);
    record.first_cluster = word_in(entry, 20);
    record.size = number_in(entry, 24, 8);
    return record;
}

class ExfatParser : public EntryParser {
public:
    Step take(EntryBytes entry, Bytes place) override {
        const unsigned kind = byte_in(entry, 0);
        if (missing_ > 0 && (kind & kInUse) != 0 && (kind & kSecondary) != 0)
            return take_secondary(entry, place);
        const Step before = kind == kEnd ? Step::GoOn : gap();
        if (kind == kEnd)
            return Step::End;
        if (kind == kFile)
            begin(entry, place);
        return kind == kFile && missing_ == 0 ? Step::Damaged : before;
    }

    /// A set that is not complete is none.
    Step gap() override {
        const Step step = missing_ > 0 ? Step::Damaged : Step::GoOn;
        missing_ = 0;
        return step;
    }

private:
    void begin(EntryBytes entry, Bytes place) {
        missing_ = byte_in(entry, 1);
        number_ = 0;
        wanted_ = short_in(entry, 2);
        sum_ = 0;
        name_length_ = 0;
        is_understood_ = true;
        is_directory_ = (short_in(entry, 4) & kDirectory) != 0;
        first_place_ = place;
        name_.clear();
        add_to_sum(entry, true);
    }

    void add_to_sum(EntryBytes entry, bool is_first) {
        for (std::size_t i = 0; i < kEntry; ++i)
            if (!is_first || (i != 2 && i != 3))
                sum_ = static_cast<std::uint16_t>(((sum_ & 1U) << 15U) + (sum_ >> 1U) + byte_in(entry, i));
    }

    Step take_secondary(EntryBytes entry, Bytes place) {
        const unsigned kind = byte_in(entry, 0);
        add_to_sum(entry, false);
        ++number_;
        --missing_;
        const std::size_t names = (name_length_ + kUnitsPerEntry - 1) / kUnitsPerEntry;
        if (number_ == 1) {
            is_understood_ = kind == kStream;
            record_ = parse_stream(entry);
            record_place_ = place;
            name_length_ = byte_in(entry, 3);
        } else if (number_ <= 1 + names) {
            is_understood_ = is_understood_ && kind == kName;
            append_name(entry);
        } else {
            // What others have put behind may be skipped if it says so.
            is_understood_ = is_understood_ && (kind & kBenign) != 0;
        }
        return missing_ > 0 ? Step::GoOn : complete();
    }

    void append_name(EntryBytes entry) {
        for (std::size_t i = 0; i < kUnitsPerEntry && name_.size() < name_length_; ++i)
            name_ += static_cast<char16_t>(short_in(entry, 2 + 2 * i));
    }

    Step complete() {
        if (!is_understood_ || sum_ != wanted_ || name_.empty() || name_.size() != name_length_)
            return Step::Damaged;
        name_ = utf16_of(utf8_of(name_));
        record_.is_directory = is_directory_;
        return Step::Found;
    }

    /// Entries of the set that are still to come.
    unsigned missing_ = 0;
    std::size_t number_ = 0;
    std::size_t name_length_ = 0;
    std::uint16_t wanted_ = 0;
    std::uint16_t sum_ = 0;
    bool is_understood_ = false;
    bool is_directory_ = false;
};

}  // namespace

std::unique_ptr<EntryParser> ExfatRules::parser() const { return std::make_unique<ExfatParser>(); }

std::u16string ExfatRules::folded(std::u16string_view name) const {
    std::u16string result(name);
    std::ranges::transform(result, result.begin(), [this](char16_t unit) { return upcase_.of(unit); });
    return result;
}

Result<FileRecord> ExfatRules::record_of(EntryBytes entry) const {
    if (byte_in(entry, 0) != kStream)
        return fail(ErrorKind::Corrupt, "there is no file any more");
    return parse_stream(entry);
}

Result<UpcaseEntry> find_upcase_table(ClusterFile& root) {
    std::array<std::byte, kEntry> entry{};
    for (Bytes place = 0; place < std::min(root.size(), kUpcaseWithin); place += kEntry) {
        DRAY_TRY(root.read_cached(place, entry));
        const unsigned kind = byte_in(entry, 0);
        if (kind == kUpcaseTable)
            return UpcaseEntry{word_in(entry, 4), word_in(entry, 20), number_in(entry, 24, 8)};
        if (kind == kEnd)
            break;
    }
    return fail(ErrorKind::NotFound, "there is no up-case table");
}

}  // namespace dray::fs
