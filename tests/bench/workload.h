// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// The images that are measured with: ten layers, five of them shared by a group of images, manifest
// and config digest, three labels; about 1 KB on disk each. The same number and version always give
// the same image.
#pragma once

#include <waybill/waybill.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace bench {

/// The name as the store keeps it.
std::string canonical_name(std::size_t number);
/// The same name as a person types it.
std::string spelled_name(std::size_t number);

waybill::ImageSpec image(std::size_t number, std::size_t version);

/// Images in the form in which the C table takes them, so that no conversion is timed.
class PreparedImages final {
  public:
    PreparedImages(std::size_t first, std::size_t count, std::size_t version);
    PreparedImages(const PreparedImages &) = delete;
    PreparedImages &operator=(const PreparedImages &) = delete;

    std::size_t size() const { return specs_.size(); }
    const waybill_image_spec &operator[](std::size_t i) const { return specs_[i]; }

  private:
    void borrow(const waybill::ImageSpec &image);

    std::vector<waybill::ImageSpec> images_;
    std::vector<std::vector<waybill_layer>> layers_;
    std::vector<std::vector<waybill_pair>> labels_;
    std::vector<waybill_image_spec> specs_;
};

/// A store in `directory`, open and recovered; what it does wrong ends the program by exception.
class OpenStore final {
  public:
    OpenStore(const waybill::Library &library, const std::string &directory);

    /// Stores images 0 to count - 1, a thousand a call.
    void fill(std::size_t count);
    /// Puts one image and waits until it is durable.
    void put_and_wait(const waybill_image_spec &spec);

    /// A number of the report "stats".
    std::uint64_t stat(const char *key) const;

    const waybill_api *api() const { return api_; }
    waybill_store *get_c() const { return store_.get_c(); }
    waybill::Store &store() { return store_; }

  private:
    const waybill_api *api_;
    waybill::Store store_;
};

std::string configuration(const std::string &directory);

/// Throws waybill::Error for every code but WAYBILL_OK.
void require(std::int32_t code, const char *what);

} // namespace bench
