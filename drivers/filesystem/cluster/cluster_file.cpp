// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/cluster/cluster_file.hpp"

#include <algorithm>

#include "drivers/volume/span_read.hpp"

namespace dray::fs {

Result<ClusterFile> ClusterFile::open(FatTable& table, const FileRecord& record) {
    const ClusterHeap& heap = table.heap();
    if (record.size > heap.size())
        return fail(ErrorKind::Corrupt, "it has an impossible size of {} bytes, the volume has room for {}",
                    record.size, heap.size());
    if (record.valid_size > record.size)
        return fail(ErrorKind::Corrupt, "{} bytes of it are said to be written, but it has only {}", record.valid_size,
                    record.size);
    if (record.size == 0 && record.is_sized)
        return ClusterFile(table, record, ClusterMap::together(0));
    if (!heap.has(record.first_cluster))
        return fail(ErrorKind::Corrupt, "it begins at {}, which is none of the volume's clusters",
                    record.first_cluster);
    if (!record.is_contiguous)
        return ClusterFile(table, record, ClusterMap::chain(table, record.first_cluster));
    const Bytes before = (record.first_cluster - 2) * heap.cluster_size;
    if (record.size > heap.size() - before)
        return fail(ErrorKind::Corrupt, "it reaches beyond the last cluster of the volume");
    return ClusterFile(table, record, ClusterMap::together(heap.place + before));
}

ClusterFile ClusterFile::fixed(FatTable& table, const FileRecord& record, Bytes place) {
    return {table, record, ClusterMap::together(place)};
}

Result<void> ClusterFile::measure(Bytes limit) {
    if (record_.is_sized)
        return record_.size <= limit ? Result<void>()
                                     : fail(ErrorKind::LimitReached, "a directory of {} bytes is too long", record_.size);
    const Bytes cluster_size = table_->heap().cluster_size;
    const auto most = static_cast<std::uint32_t>(std::max<Bytes>(limit / cluster_size, 1));
    ClusterMap::Length length = map_.length(most + 1);
    record_.size = std::min(length.clusters, most) * cluster_size;
    record_.valid_size = record_.size;
    record_.is_sized = true;
    if (length.damage)
        return fail(*std::move(length.damage));
    if (length.clusters > most)
        return fail(ErrorKind::LimitReached, "a directory of more than {} bytes is too long", record_.size);
    return {};
}

Result<Bytes> ClusterFile::place_of(Bytes offset) {
    DRAY_LET(const ClusterMap::Run run, map_.run_at(offset, 1));
    return run.place;
}

template <typename ReadPlace>
Result<void> ClusterFile::read_runs(Bytes offset, std::span<std::byte> content, ReadPlace read_place) {
    if (offset > record_.size || content.size() > record_.size - offset)
        return fail(ErrorKind::Corrupt, "the file ends at {}, but {} bytes from {} are needed", record_.size,
                    content.size(), offset);
    const Bytes written = offset < record_.valid_size ? std::min<Bytes>(record_.valid_size - offset, content.size()) : 0;
    const std::span<std::byte> never = content.subspan(static_cast<std::size_t>(written));
    std::fill(never.begin(), never.end(), std::byte{0});
    content = content.first(static_cast<std::size_t>(written));
    while (!content.empty()) {
        DRAY_LET(const ClusterMap::Run run, map_.run_at(offset, content.size()));
        const std::span<std::byte> part = content.first(static_cast<std::size_t>(run.length));
        DRAY_TRY(read_place(run.place, part));
        content = content.subspan(part.size());
        offset += part.size();
    }
    return {};
}

Result<void> ClusterFile::read(Bytes offset, std::span<std::byte> content) {
    return read_runs(offset, content, [this](Bytes place, std::span<std::byte> part) {
        static thread_local std::vector<std::byte> scratch;
        return volume::read_span(table_->cache().device(), place, part, scratch);
    });
}

Result<void> ClusterFile::read_cached(Bytes offset, std::span<std::byte> content) {
    return read_runs(offset, content, [this](Bytes place, std::span<std::byte> part) {
        return table_->cache().read(place, part);
    });
}

}  // namespace dray::fs
