/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * The images that `bench` measures with: ten layers, of which a group of images shares five.
 */
#ifndef WAYBILL_CLI_BENCH_IMAGES_H
#define WAYBILL_CLI_BENCH_IMAGES_H

#include <waybill/waybill.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace cli {

/** Canonical. */
std::string bench_image_name(std::size_t number);

/** Images `first` to `first + count - 1`, as the C table takes them: no conversion is timed. Those
 *  of another version have other digests and the same names. */
class BenchImages final {
  public:
    BenchImages(std::size_t first, std::size_t count, std::size_t version);
    BenchImages(const BenchImages &) = delete;
    BenchImages &operator=(const BenchImages &) = delete;

    std::size_t size() const { return specs_.size(); }
    const waybill_image_spec *data() const { return specs_.data(); }

  private:
    waybill_image_spec borrow(const waybill::ImageSpec &image);

    std::vector<waybill::ImageSpec> images_;
    // Growing the outer vectors moves the inner ones, which leaves their elements where they are.
    std::vector<std::vector<waybill_layer>> layers_;
    std::vector<std::vector<waybill_pair>> labels_;
    std::vector<waybill_image_spec> specs_;
};

} // namespace cli

#endif
