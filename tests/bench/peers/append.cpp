// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
// The limit of a put by one writer: the record's bytes where zeros have been written, and a sync.
#include "../bare_loops.h"
#include "engine.h"

#include <mutex>

namespace bench {
namespace {

/// More than all puts of one run of the comparison write.
constexpr std::size_t allocated_bytes = std::size_t{256} << 20;

class Append final : public Engine {
  public:
    void open(const std::string &directory) override {
        file_ = std::make_unique<AppendedFile>(directory + "/log", allocated_bytes);
    }
    void close() override { file_.reset(); }
    void fill(std::size_t) override {}
    void put(const waybill_image_spec &image) override {
        const std::string record = encode(image);
        const std::lock_guard lock(mutex_);
        file_->append(reinterpret_cast<const std::uint8_t *>(record.data()), record.size());
    }

  private:
    std::mutex mutex_;
    std::unique_ptr<AppendedFile> file_;
};

} // namespace

std::unique_ptr<Engine> make_engine() { return std::make_unique<Append>(); }

} // namespace bench
