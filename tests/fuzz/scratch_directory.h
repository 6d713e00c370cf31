// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// A directory for one run of a target, gone when the run ends, however it ends: in memory where
// that can be had, for some thousand inputs a second are to pass through it.
#pragma once

#include "property.h"

#include <cstdlib>
#include <filesystem>
#include <string>

extern "C" void __sanitizer_set_death_callback(void (*callback)());

namespace waybill::fuzz {

class ScratchDirectory final {
  public:
    static const std::string &path() {
        // Never destroyed: it is needed until the very end.
        static const ScratchDirectory &directory = *new ScratchDirectory;
        return directory.path_;
    }

  private:
    ScratchDirectory() {
        std::error_code none;
        path_ = std::filesystem::is_directory("/dev/shm", none) ? "/dev/shm" : "/tmp";
        path_ += "/waybill-fuzz-XXXXXX";
        require(mkdtemp(path_.data()) != nullptr, "a scratch directory can be had", path_);
        (void)std::atexit(remove);
        __sanitizer_set_death_callback(remove);
    }
    static void remove() {
        std::error_code ignored;
        std::filesystem::remove_all(path(), ignored);
    }

    std::string path_;
};

} // namespace waybill::fuzz
