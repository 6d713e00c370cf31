/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * The way to an open, recovered store.
 */
#ifndef WAYBILL_CLI_SESSION_H
#define WAYBILL_CLI_SESSION_H

#include "options.h"

#include <waybill/waybill.hpp>

namespace cli {

enum class Access {
    read,   ///< takes no lock, so it works beside a running host
    change, ///< the store must exist: a mistyped --root must not make an empty one
    make,   ///< made if it is missing
};

struct Session {
    waybill::Store store;
    waybill::Outcome recovery;
};

/** The directory as the library takes it: absolute, without "." and ".."; for "" the one that is meant
 *  when --root is not given. Throws if there is none. */
std::string store_root(const std::string &directory);

/** [blocking] Opens the store and recovers it. */
Session open_store(const Options &options, Access access);

} // namespace cli

#endif
