// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
// LMDB with its default flags: a commit writes the pages, syncs, writes the meta page, syncs.
#include "engine.h"

#include <lmdb.h>
#include <unordered_set>

namespace bench {
namespace {

/// Address space only; the file grows as it is used.
constexpr std::size_t map_bytes = std::size_t{8} << 30;

void must(int code) {
    if (code != MDB_SUCCESS)
        throw std::runtime_error(std::string("lmdb: ") + mdb_strerror(code));
}

MDB_val value(const std::string &text) { return {text.size(), const_cast<char *>(text.data())}; }

std::string_view view(const MDB_val &value) {
    return {static_cast<const char *>(value.mv_data), value.mv_size};
}

class Transaction final {
  public:
    Transaction(MDB_env *environment, unsigned flags) {
        must(mdb_txn_begin(environment, nullptr, flags, &transaction_));
    }
    ~Transaction() {
        if (transaction_)
            mdb_txn_abort(transaction_);
    }
    Transaction(const Transaction &) = delete;
    Transaction &operator=(const Transaction &) = delete;

    void commit() { must(mdb_txn_commit(std::exchange(transaction_, nullptr))); }
    MDB_txn *get() const { return transaction_; }

  private:
    MDB_txn *transaction_ = nullptr;
};

class Cursor final {
  public:
    Cursor(const Transaction &transaction, MDB_dbi images) {
        must(mdb_cursor_open(transaction.get(), images, &cursor_));
    }
    ~Cursor() { mdb_cursor_close(cursor_); }
    Cursor(const Cursor &) = delete;
    Cursor &operator=(const Cursor &) = delete;

    bool next(MDB_val &key, MDB_val &record) {
        const int code = mdb_cursor_get(cursor_, &key, &record, MDB_NEXT);
        if (code != MDB_NOTFOUND)
            must(code);
        return code == MDB_SUCCESS;
    }
    void remove() { must(mdb_cursor_del(cursor_, 0)); }

  private:
    MDB_cursor *cursor_ = nullptr;
};

/// Keeps its transaction and renews it for each get, as the manual advises.
class PageReader final : public FlatReader {
  public:
    PageReader(MDB_env *environment, MDB_dbi images)
        : images_(images), transaction_(environment, MDB_RDONLY) {
        mdb_txn_reset(transaction_.get());
    }

    void get(const std::string &name) override {
        must(mdb_txn_renew(transaction_.get()));
        MDB_val key = value(name), record;
        must(mdb_get(transaction_.get(), images_, &key, &record));
        bytes_ = std::string(view(record));
        mdb_txn_reset(transaction_.get());
    }

  private:
    MDB_dbi images_;
    Transaction transaction_;
};

class Lmdb final : public Engine {
  public:
    void open(const std::string &directory) override {
        must(mdb_env_create(&environment_));
        must(mdb_env_set_mapsize(environment_, map_bytes));
        must(mdb_env_open(environment_, directory.c_str(), 0, 0600));
        Transaction transaction(environment_, 0);
        must(mdb_dbi_open(transaction.get(), nullptr, 0, &images_));
        transaction.commit();
        directory_ = directory;
    }
    void close() override { mdb_env_close(environment_); }
    void fill(std::size_t count) override {
        in_thousands(count, [&](const PreparedImages &images) {
            Transaction transaction(environment_, 0);
            for (std::size_t i = 0; i < images.size(); ++i)
                put_one(transaction, images[i]);
            transaction.commit();
        });
    }
    void put(const waybill_image_spec &image) override {
        Transaction transaction(environment_, 0); // Waits for the writer before.
        put_one(transaction, image);
        transaction.commit();
    }
    void remove(const std::string &name) override {
        Transaction transaction(environment_, 0);
        MDB_val key = value(name);
        must(mdb_del(transaction.get(), images_, &key, nullptr));
        transaction.commit();
    }
    std::size_t prune(const std::vector<std::string> &keep) override {
        const std::unordered_set<std::string> kept(keep.begin(), keep.end());
        Transaction transaction(environment_, 0);
        std::size_t removed = 0;
        {
            Cursor cursor(transaction, images_);
            for (MDB_val key, record; cursor.next(key, record);)
                if (!kept.contains(std::string(view(key)))) {
                    cursor.remove();
                    ++removed;
                }
        }
        transaction.commit();
        return removed;
    }
    std::size_t list() override {
        Transaction transaction(environment_, MDB_RDONLY);
        Cursor cursor(transaction, images_);
        std::size_t images = 0;
        for (MDB_val key, record; cursor.next(key, record); ++images)
            sum_ += walk(std::string(view(record)));
        return images;
    }
    std::unique_ptr<Reader> reader() override {
        return std::make_unique<PageReader>(environment_, images_);
    }

  private:
    void put_one(const Transaction &transaction, const waybill_image_spec &image) {
        const std::string name = image.reference, bytes = encode(image);
        MDB_val key = value(name), record = value(bytes);
        must(mdb_put(transaction.get(), images_, &key, &record, 0));
    }

    std::string directory_;
    MDB_env *environment_ = nullptr;
    MDB_dbi images_ = 0;
    std::size_t sum_ = 0;
};

} // namespace

std::unique_ptr<Engine> make_engine() { return std::make_unique<Lmdb>(); }

} // namespace bench
