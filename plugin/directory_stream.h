// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// A directory's entries, as the system hands them out.
#pragma once

#include <dirent.h>
#include <memory>

namespace waybill {

struct DirectoryCloser {
    void operator()(DIR *directory) const { ::closedir(directory); }
};

/// Closes the descriptor it was made from, too.
using DirectoryStream = std::unique_ptr<DIR, DirectoryCloser>;

} // namespace waybill
