// SPDX-License-Identifier: Apache-2.0
#include "daemon/engine/device_book.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace dray {
namespace {

/// A job's drive that a device may be.
struct Claim {
    const Job* job;
    const Drive* drive;
};

bool has_volume_of(const Device& device, const Drive& drive) {
    return !drive.volume_id.empty() && fold_serial(device.volume_uuid) == fold_serial(drive.volume_id);
}

/// Every drive of a live job that has this serial. More than one only while an old job of the same drive
/// is in Packaging.
std::vector<Claim> claims_on(const Device& device, const std::vector<const Job*>& jobs) {
    std::vector<Claim> claims;
    const std::string serial = fold_serial(device.serial);
    const std::string fingerprint = fingerprint_of(device);
    for (const Job* job : jobs) {
        if (is_over(*job))
            continue;
        for (const Drive& drive : job->drives) {
            // A disk that was assigned is known by its volume too, wherever it is plugged in next; and another one of
            // its size in its dock is not it.
            const bool is_assigned =
                !drive.assigned_device.empty() &&
                (has_volume_of(device, drive) ||
                 (drive.assigned_device == fingerprint && !has_other_volume(device, drive)));
            const bool fits = drive.assigned_device.empty() && !serial.empty() && fold_serial(drive.serial) == serial;
            if (is_assigned)
                return {{job, &drive}};
            if (fits && !has_other_volume(device, drive))
                claims.push_back({job, &drive});
        }
    }
    return claims;
}

/// Why nothing is done with a device that is the drive of a job.
std::string problem_of(const Job& job, const Drive& drive) {
    if (job.state == JobState::Creating)
        return fmt::format("it arrived early: job {} is not shipped, run drayctl ship {}", job.name, job.name);
    if (drive.state == DriveState::Specified && job.is_cancel_requested)
        return fmt::format("job {} was cancelled before this drive came", job.name);
    const bool has_not_come = drive.state == DriveState::Specified || drive.state == DriveState::NeverReceived;
    if (has_not_come && job.state == JobState::Packaging)
        return fmt::format("it came too late: job {} is Packaging", job.name);
    if (drive.state == DriveState::ShippedBack)
        return fmt::format("job {} has handed this drive back already", job.name);
    return {};
}

/// A sentence for a device that no live job asks for although one knows its serial.
std::string old_job_problem(const Device& device, const std::vector<const Job*>& jobs) {
    const std::string serial = fold_serial(device.serial);
    for (const Job* job : jobs)
        if (is_over(*job) && !serial.empty())
            for (const Drive& drive : job->drives)
                if (fold_serial(drive.serial) == serial)
                    return fmt::format("job {} asked for it and is {}", job->name, to_string(job->state));
    for (const Job* job : jobs) {
        if (is_over(*job))
            continue;
        for (const Drive& drive : job->drives) {
            if (drive.assigned_device == fingerprint_of(device))
                return fmt::format("it is where drive {} of job {} was, but holds volume {}, not {}", drive.serial,
                                   job->name, device.volume_uuid, drive.volume_id);
            if (serial.empty() || fold_serial(drive.serial) != serial)
                continue;
            if (!drive.assigned_device.empty())
                return fmt::format("job {} has another device assigned for serial {}", job->name, drive.serial);
            if (has_other_volume(device, drive))
                return fmt::format("it has the serial of drive {} of job {}, but holds volume {}, not {}",
                                   drive.serial, job->name, device.volume_uuid, drive.volume_id);
        }
    }
    return {};
}

}  // namespace

std::string fingerprint_of(const Device& device) {
    if (device.is_image)
        return "image:" + device.node.substr(device.node.rfind('/') + 1);
    // Loop devices are in no bay; their node stands for it.
    return fmt::format("disk:{}|{}|{}", fold_serial(device.serial), device.bay.empty() ? device.node : device.bay,
                       device.size);
}

bool has_other_volume(const Device& device, const Drive& drive) {
    return !drive.volume_id.empty() && !device.volume_uuid.empty() && !has_volume_of(device, drive);
}

std::string bus_of(const Device& device) {
    if (device.is_image)
        return {};
    // "pci-0000:00:14.0-usb-0:1:1.0-scsi-0:0:0:0": the controller is what drives share, up to the second dash.
    const std::size_t dash = device.bay.find('-');
    const std::size_t end = dash == std::string::npos ? dash : device.bay.find('-', dash + 1);
    const std::string controller = device.bay.starts_with("pci-") ? device.bay.substr(0, end) : "";
    return controller.empty() ? device.bus : device.bus + " " + controller;
}

bool DeviceBook::put(const Device& device) {
    auto [place, is_new] = entries_.try_emplace(device.id);
    place->second.device = device;
    return is_new;
}

DeviceEntry DeviceBook::take(const std::string& id) {
    auto node = entries_.extract(id);
    return node.empty() ? DeviceEntry() : std::move(node.mapped());
}

void DeviceBook::set_content(const std::string& id, const std::string& signature, const std::string& volume_uuid) {
    const auto found = entries_.find(id);
    if (found == entries_.end())
        return;
    found->second.device.signature = signature;
    found->second.device.volume_uuid = volume_uuid;
}

void DeviceBook::count_open(const std::string& id) {
    if (const auto found = entries_.find(id); found != entries_.end())
        ++found->second.opens;
}

std::vector<std::string> DeviceBook::settle(const std::vector<const Job*>& jobs, std::span<const Hold> holds) {
    // Who wants whom; then, where several devices want to be one drive, which of them it is.
    std::map<std::string, Claim> wanted;
    std::map<const Drive*, std::vector<std::string>> rivals;
    for (const auto& [id, entry] : entries_) {
        for (const Claim& claim : claims_on(entry.device, jobs)) {
            // Of two jobs the one that still has work for the drive.
            const auto [place, is_first] = wanted.try_emplace(id, claim);
            if (!is_first && place->second.drive->is_finished() && !claim.drive->is_finished())
                place->second = claim;
        }
        if (const auto claim = wanted.find(id); claim != wanted.end())
            rivals[claim->second.drive].push_back(id);
    }
    const auto held = [&](const std::string& id, const Claim& claim) {
        return std::ranges::any_of(holds, [&](const Hold& hold) {
            return hold.device_id == id && hold.job == claim.job->name && hold.serial == claim.drive->serial;
        });
    };
    const auto winner_of = [&](const Claim& claim, const std::vector<std::string>& ids) -> std::string {
        if (ids.size() == 1)
            return ids.front();
        for (const std::string& id : ids)
            if (held(id, claim))
                return id;
        std::string winner;
        for (const std::string& id : ids)
            if (has_volume_of(entries_.at(id).device, *claim.drive))
                winner = winner.empty() ? id : "?";
        return winner == "?" ? "" : winner;
    };

    std::vector<std::string> changed;
    for (auto& [id, entry] : entries_) {
        DeviceEntry now = entry;
        now.job.clear();
        now.serial.clear();
        const auto claim = wanted.find(id);
        if (claim == wanted.end()) {
            now.problem = old_job_problem(entry.device, jobs);
        } else if (const std::string winner = winner_of(claim->second, rivals[claim->second.drive]); winner == id) {
            now.job = claim->second.job->name;
            now.serial = claim->second.drive->serial;
            now.problem = problem_of(*claim->second.job, *claim->second.drive);
        } else {
            now.problem = fmt::format(
                "{} devices have the serial {}; say which one is the drive: drayctl assign DEVICE {}",
                rivals[claim->second.drive].size(), claim->second.drive->serial, claim->second.job->name);
        }
        if (now.job != entry.job || now.serial != entry.serial || now.problem != entry.problem) {
            entry = std::move(now);
            changed.push_back(id);
        }
    }
    return changed;
}

const DeviceEntry* DeviceBook::find(const std::string& id) const {
    const auto found = entries_.find(id);
    return found == entries_.end() ? nullptr : &found->second;
}

const DeviceEntry* DeviceBook::device_of(const Job& job, const Drive& drive) const {
    const auto found = std::ranges::find_if(
        entries_, [&](const auto& item) { return item.second.job == job.name && item.second.serial == drive.serial; });
    return found == entries_.end() ? nullptr : &found->second;
}

std::vector<const DeviceEntry*> DeviceBook::all() const {
    std::vector<const DeviceEntry*> all;
    all.reserve(entries_.size());
    for (const auto& [id, entry] : entries_)
        all.push_back(&entry);
    return all;
}

}  // namespace dray
