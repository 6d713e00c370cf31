// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
// The store itself, through its C table.
#include "engine.h"

#include <cstdint>
#include <optional>

namespace bench {
namespace {

std::size_t read_image(const waybill_api *api, const waybill_image *image) {
    waybill_image_view view;
    view.struct_size = sizeof view;
    require(api->image_view(image, &view, nullptr), "image_view");
    std::size_t sum = view.size_bytes + static_cast<unsigned char>(view.reference[0]) +
                      static_cast<unsigned char>(view.media_type[0]);
    for (std::uint32_t i = 0; i < view.layer_count; ++i) {
        waybill_layer_view layer;
        layer.struct_size = sizeof layer;
        require(api->image_layer(image, i, &layer, nullptr), "image_layer");
        sum += layer.size_bytes + static_cast<unsigned char>(layer.digest[10]);
    }
    for (std::uint32_t i = 0; i < view.label_count; ++i) {
        waybill_pair pair;
        require(api->image_label(image, i, &pair, nullptr), "image_label");
        sum += static_cast<unsigned char>(pair.value[0]);
    }
    return sum;
}

class StoreReader final : public Reader {
  public:
    explicit StoreReader(OpenStore &store) : api_(store.api()), store_(store.get_c()) {}
    ~StoreReader() override { api_->image_free(image_); }
    StoreReader(const StoreReader &) = delete;
    StoreReader &operator=(const StoreReader &) = delete;

    void get(const std::string &name) override {
        api_->image_free(image_);
        image_ = nullptr;
        require(api_->get(store_, nullptr, name.c_str(), 1, &image_, nullptr), "get");
    }
    std::size_t read_fields() override { return read_image(api_, image_); }
    waybill::ImageSpec record() override;

  private:
    const waybill_api *api_;
    waybill_store *store_;
    waybill_image *image_ = nullptr;
};

waybill::ImageSpec StoreReader::record() {
    waybill_image_view view;
    view.struct_size = sizeof view;
    require(api_->image_view(image_, &view, nullptr), "image_view");
    waybill::ImageSpec spec;
    spec.reference = view.reference;
    spec.target_digest = view.target_digest;
    spec.target_media_type = view.media_type;
    spec.target_size_bytes = view.size_bytes;
    spec.config_digest = view.config_digest;
    spec.os = view.os;
    spec.architecture = view.architecture;
    for (std::uint32_t i = 0; i < view.layer_count; ++i) {
        waybill_layer_view from;
        from.struct_size = sizeof from;
        require(api_->image_layer(image_, i, &from, nullptr), "image_layer");
        waybill::Layer layer;
        layer.digest = from.digest;
        layer.size_bytes = from.size_bytes;
        spec.layers.push_back(std::move(layer));
    }
    for (std::uint32_t i = 0; i < view.label_count; ++i) {
        waybill_pair pair;
        require(api_->image_label(image_, i, &pair, nullptr), "image_label");
        spec.labels[pair.key] = pair.value;
    }
    return spec;
}

class Waybill final : public Engine {
  public:
    void open(const std::string &directory) override { store_.emplace(library_, directory); }
    void close() override { store_.reset(); }
    void fill(std::size_t count) override { store_->fill(count); }
    void put(const waybill_image_spec &image) override { store_->put_and_wait(image); }
    void remove(const std::string &name) override {
        waybill_future *future = nullptr;
        require(api_->remove(store_->get_c(), nullptr, name.c_str(), &future, nullptr), "remove");
        finish(future, "remove");
    }
    std::size_t prune(const std::vector<std::string> &keep) override {
        std::vector<const char *> names;
        for (const std::string &name : keep)
            names.push_back(name.c_str());
        waybill_future *future = nullptr;
        require(api_->prune(store_->get_c(), nullptr, names.data(),
                            static_cast<std::uint32_t>(names.size()), &future, nullptr),
                "prune");
        return finish(future, "prune");
    }
    std::size_t list() override {
        waybill_query all{};
        all.struct_size = sizeof all;
        Listing listing{api_};
        require(api_->visit(store_->get_c(), &all, visited, &listing, nullptr), "visit");
        return listing.images;
    }
    std::unique_ptr<Reader> reader() override { return std::make_unique<StoreReader>(*store_); }

  private:
    struct Listing {
        const waybill_api *api;
        std::size_t images = 0;
        std::size_t sum = 0;
    };

    static std::int32_t visited(void *payload, waybill_image *image) {
        auto *listing = static_cast<Listing *>(payload);
        ++listing->images;
        listing->sum += read_image(listing->api, image);
        return WAYBILL_VISIT_NEXT;
    }

    std::size_t finish(waybill_future *future, const char *what) {
        const std::int32_t code = api_->future_wait(future, -1, nullptr);
        waybill_outcome outcome{};
        outcome.struct_size = sizeof outcome;
        if (code == WAYBILL_OK)
            require(api_->future_result(future, &outcome, nullptr), "future_result");
        api_->future_free(future);
        require(code, what);
        return static_cast<std::size_t>(outcome.image_count);
    }

    waybill::Library library_;
    const waybill_api *api_ = library_.api();
    std::optional<OpenStore> store_;
};

} // namespace

std::unique_ptr<Engine> make_engine() { return std::make_unique<Waybill>(); }

} // namespace bench
