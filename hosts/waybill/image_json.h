/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * Images as JSON, in both directions: what `get --json` and `ls --json` print is what
 * `put --stdin` reads.
 */
#ifndef WAYBILL_CLI_IMAGE_JSON_H
#define WAYBILL_CLI_IMAGE_JSON_H

#include <waybill/waybill.hpp>

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace cli {

nlohmann::ordered_json to_json(const waybill::Image &image);

/** One line of `put --stdin`. Members that only the store decides (revision, state, …) are passed
 *  over; unknown ones throw WAYBILL_EINVAL, like everything else that is wrong. */
waybill::ImageSpec parse_image(std::string_view line, const std::string &name_space);

/** "ID", "DIGEST" or "ID=DIGEST". */
waybill::Layer parse_layer(const std::string &text);

/** "os/arch" or "os/arch/variant". */
void parse_platform(const std::string &text, waybill::ImageSpec &image);

} // namespace cli

#endif
