// SPDX-License-Identifier: Apache-2.0
//
// Where dray-transfer has a uid of its own, its group is drayd's, and files are shared by the group. What was made
// while both had one uid is for that uid alone; it is opened to the group once, before the uid changes.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>

#include "daemon/base/result.hpp"

namespace dray::transfer {

/// Of all that a copy keeps in its directory; the mask says whether the group gets its part.
inline constexpr unsigned kFileMode = 0660;

/// Gives the group of this process the rights that the owner has, for all that this uid owns in and below
/// `directory`. The directory itself comes last, and where its group may write already, nothing is looked at: what
/// breaks off begins again. `begins` is called before anything is changed. Links are not followed.
Result<void> open_to_group(const std::string& directory, const std::function<void()>& begins);

/// Files made from here on are for the group, too, if `has_own_uid`, or if the group may write into one of the
/// directories already: with another start they may be another uid's to read.
void set_file_mode_mask(bool has_own_uid, std::initializer_list<std::string> directories);

}  // namespace dray::transfer
