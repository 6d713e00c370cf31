// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
// The limit of a get: a hash table of flat records in memory. Nothing changes it, so nothing is
// locked; a get hands out a copy, as an image that outlives its store must be.
#include "engine.h"

#include <unordered_map>

namespace bench {
namespace {

using Table = std::unordered_map<std::string, std::string>;

class TableReader final : public FlatReader {
  public:
    explicit TableReader(const Table &images) : images_(images) {}
    void get(const std::string &name) override { bytes_ = std::string(images_.at(name)); }

  private:
    const Table &images_;
};

class HashTable final : public Engine {
  public:
    void open(const std::string &) override {}
    void close() override { images_.clear(); }
    void fill(std::size_t count) override {
        in_thousands(count, [&](const PreparedImages &images) {
            for (std::size_t i = 0; i < images.size(); ++i)
                images_.insert_or_assign(images[i].reference, encode(images[i]));
        });
    }
    void put(const waybill_image_spec &) override { throw Unsupported("it keeps no file"); }
    std::size_t list() override {
        for (const auto &[name, record] : images_)
            sum_ += walk(std::string(record));
        return images_.size();
    }
    std::unique_ptr<Reader> reader() override { return std::make_unique<TableReader>(images_); }

  private:
    Table images_;
    std::size_t sum_ = 0;
};

} // namespace

std::unique_ptr<Engine> make_engine() { return std::make_unique<HashTable>(); }

} // namespace bench
