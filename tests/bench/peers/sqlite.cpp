// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
// SQLite: write-ahead log, synchronous=FULL, one row an image, one transaction a put. One
// connection writes; each reader has its own.
#include "engine.h"

#include <mutex>
#include <sqlite3.h>
#include <unordered_set>

namespace bench {
namespace {

constexpr int busy_ms = 10'000;

void must(int code, int wanted, sqlite3 *database) {
    if (code != wanted)
        throw std::runtime_error(std::string("sqlite: ") + sqlite3_errmsg(database));
}

class Statement final {
  public:
    Statement(sqlite3 *database, const char *sql) : database_(database) {
        must(sqlite3_prepare_v3(database, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement_, nullptr),
             SQLITE_OK, database);
    }
    ~Statement() { sqlite3_finalize(statement_); }
    Statement(const Statement &) = delete;
    Statement &operator=(const Statement &) = delete;

    void bind_text(int at, const std::string &text) {
        must(sqlite3_bind_text(statement_, at, text.data(), static_cast<int>(text.size()),
                               SQLITE_STATIC),
             SQLITE_OK, database_);
    }
    void bind_bytes(int at, const std::string &bytes) {
        must(sqlite3_bind_blob(statement_, at, bytes.data(), static_cast<int>(bytes.size()),
                               SQLITE_STATIC),
             SQLITE_OK, database_);
    }
    bool has_row() {
        const int code = sqlite3_step(statement_);
        if (code != SQLITE_ROW)
            must(code, SQLITE_DONE, database_);
        return code == SQLITE_ROW;
    }
    /// One step without a row, ready for the next use.
    void run() {
        must(sqlite3_step(statement_), SQLITE_DONE, database_);
        reset();
    }
    void reset() { must(sqlite3_reset(statement_), SQLITE_OK, database_); }
    std::string bytes(int column) {
        const void *from = sqlite3_column_blob(statement_, column);
        return {static_cast<const char *>(from),
                static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
    }

  private:
    sqlite3 *database_;
    sqlite3_stmt *statement_ = nullptr;
};

class Connection final {
  public:
    explicit Connection(const std::string &path) {
        must(sqlite3_open_v2(path.c_str(), &database_,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                             nullptr),
             SQLITE_OK, database_);
        must(sqlite3_busy_timeout(database_, busy_ms), SQLITE_OK, database_);
        run("PRAGMA journal_mode=WAL");
        run("PRAGMA synchronous=FULL");
        run("CREATE TABLE IF NOT EXISTS images (name TEXT PRIMARY KEY, record BLOB NOT NULL)");
    }
    ~Connection() { sqlite3_close_v2(database_); }
    Connection(const Connection &) = delete;
    Connection &operator=(const Connection &) = delete;

    void run(const char *sql) {
        must(sqlite3_exec(database_, sql, nullptr, nullptr, nullptr), SQLITE_OK, database_);
    }
    sqlite3 *get() const { return database_; }

  private:
    sqlite3 *database_ = nullptr;
};

class RowReader final : public FlatReader {
  public:
    explicit RowReader(const std::string &path)
        : connection_(path),
          select_(connection_.get(), "SELECT record FROM images WHERE name = ?") {}

    void get(const std::string &name) override {
        select_.bind_text(1, name);
        if (!select_.has_row())
            throw std::runtime_error(name + ": not found");
        bytes_ = select_.bytes(0);
        select_.reset();
    }

  private:
    Connection connection_;
    Statement select_;
};

class Sqlite final : public Engine {
  public:
    void open(const std::string &directory) override {
        path_ = directory + "/images.db";
        connection_ = std::make_unique<Connection>(path_);
        put_ = std::make_unique<Statement>(connection_->get(),
                                           "INSERT INTO images (name, record) VALUES (?, ?) ON "
                                           "CONFLICT (name) DO UPDATE SET record=excluded.record");
        remove_ =
            std::make_unique<Statement>(connection_->get(), "DELETE FROM images WHERE name = ?");
    }
    void close() override {
        put_.reset();
        remove_.reset();
        connection_.reset();
    }
    void fill(std::size_t count) override {
        connection_->run("BEGIN");
        in_thousands(count, [&](const PreparedImages &images) {
            for (std::size_t i = 0; i < images.size(); ++i)
                put_one(images[i]);
        });
        connection_->run("COMMIT");
        connection_->run("PRAGMA wal_checkpoint(TRUNCATE)");
    }
    void put(const waybill_image_spec &image) override {
        const std::lock_guard lock(writing_);
        put_one(image);
    }
    void remove(const std::string &name) override {
        const std::lock_guard lock(writing_);
        remove_->bind_text(1, name);
        remove_->run();
    }
    std::size_t prune(const std::vector<std::string> &keep) override;
    std::size_t list() override {
        Statement all(connection_->get(), "SELECT record FROM images ORDER BY name");
        std::size_t images = 0;
        for (; all.has_row(); ++images)
            sum_ += walk(all.bytes(0));
        return images;
    }
    std::unique_ptr<Reader> reader() override { return std::make_unique<RowReader>(path_); }
    void compact() override {
        connection_->run("VACUUM");
        connection_->run("PRAGMA wal_checkpoint(TRUNCATE)");
    }

  private:
    void put_one(const waybill_image_spec &image) {
        const std::string name = image.reference, record = encode(image);
        put_->bind_text(1, name);
        put_->bind_bytes(2, record);
        put_->run();
    }

    std::string path_;
    std::mutex writing_;
    std::unique_ptr<Connection> connection_;
    std::unique_ptr<Statement> put_, remove_;
    std::size_t sum_ = 0;
};

std::size_t Sqlite::prune(const std::vector<std::string> &keep) {
    const std::unordered_set<std::string> kept(keep.begin(), keep.end());
    std::vector<std::string> unwanted;
    connection_->run("BEGIN IMMEDIATE");
    {
        Statement names(connection_->get(), "SELECT name FROM images");
        while (names.has_row())
            if (std::string name = names.bytes(0); !kept.contains(name))
                unwanted.push_back(std::move(name));
    }
    for (const std::string &name : unwanted) {
        remove_->bind_text(1, name);
        remove_->run();
    }
    connection_->run("COMMIT");
    return unwanted.size();
}

} // namespace

std::unique_ptr<Engine> make_engine() { return std::make_unique<Sqlite>(); }

} // namespace bench
