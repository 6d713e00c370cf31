// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
// The limit of puts by several writers: the plainest group commit, records of 1 KiB.
#include "../bare_loops.h"
#include "engine.h"

namespace bench {
namespace {

constexpr std::size_t allocated_bytes = std::size_t{512} << 20;

class SharedSync final : public Engine {
  public:
    void open(const std::string &directory) override {
        group_ = std::make_unique<GroupCommit>(directory + "/log", allocated_bytes);
    }
    void close() override { group_.reset(); }
    void fill(std::size_t) override {}
    void put(const waybill_image_spec &) override { group_->append(); }

  private:
    std::unique_ptr<GroupCommit> group_;
};

} // namespace

std::unique_ptr<Engine> make_engine() { return std::make_unique<SharedSync>(); }

} // namespace bench
