// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
// RocksDB with its default options; every write waits until the write-ahead log is synced.
#include "engine.h"

#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>
#include <unordered_set>

namespace bench {
namespace {

void must(const rocksdb::Status &status) {
    if (!status.ok())
        throw std::runtime_error("rocksdb: " + status.ToString());
}

rocksdb::WriteOptions synced() {
    rocksdb::WriteOptions options;
    options.sync = true;
    return options;
}

class KeyReader final : public FlatReader {
  public:
    explicit KeyReader(rocksdb::DB &database) : database_(database) {}

    void get(const std::string &name) override {
        std::string record;
        must(database_.Get(rocksdb::ReadOptions(), name, &record));
        bytes_ = std::move(record);
    }

  private:
    rocksdb::DB &database_;
};

class Rocksdb final : public Engine {
  public:
    void open(const std::string &directory) override {
        rocksdb::Options options;
        options.create_if_missing = true;
        rocksdb::DB *opened = nullptr;
        must(rocksdb::DB::Open(options, directory, &opened));
        database_.reset(opened);
    }
    void close() override {
        must(database_->Close());
        database_.reset();
    }
    void fill(std::size_t count) override {
        in_thousands(count, [&](const PreparedImages &images) {
            rocksdb::WriteBatch batch;
            for (std::size_t i = 0; i < images.size(); ++i)
                must(batch.Put(images[i].reference, encode(images[i])));
            must(database_->Write(synced(), &batch));
        });
    }
    void put(const waybill_image_spec &image) override {
        must(database_->Put(synced(), image.reference, encode(image)));
    }
    void remove(const std::string &name) override { must(database_->Delete(synced(), name)); }
    std::size_t prune(const std::vector<std::string> &keep) override {
        const std::unordered_set<std::string> kept(keep.begin(), keep.end());
        rocksdb::WriteBatch batch;
        std::size_t removed = 0;
        const auto images = all();
        for (images->SeekToFirst(); images->Valid(); images->Next())
            if (!kept.contains(images->key().ToString())) {
                must(batch.Delete(images->key()));
                ++removed;
            }
        must(images->status());
        must(database_->Write(synced(), &batch));
        return removed;
    }
    std::size_t list() override {
        std::size_t count = 0;
        const auto images = all();
        for (images->SeekToFirst(); images->Valid(); images->Next(), ++count)
            sum_ += walk(images->value().ToString());
        must(images->status());
        return count;
    }
    std::unique_ptr<Reader> reader() override { return std::make_unique<KeyReader>(*database_); }
    void compact() override {
        must(database_->Flush(rocksdb::FlushOptions()));
        must(database_->CompactRange(rocksdb::CompactRangeOptions(), nullptr, nullptr));
    }

  private:
    std::unique_ptr<rocksdb::Iterator> all() {
        return std::unique_ptr<rocksdb::Iterator>(database_->NewIterator(rocksdb::ReadOptions()));
    }

    std::unique_ptr<rocksdb::DB> database_;
    std::size_t sum_ = 0;
};

} // namespace

std::unique_ptr<Engine> make_engine() { return std::make_unique<Rocksdb>(); }

} // namespace bench
