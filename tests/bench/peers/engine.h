// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What every engine can do. A worker process holds one engine; the engine's own source file
// defines make_engine. What goes wrong is an exception.
#pragma once

#include "../workload.h"
#include "record.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace bench {

/// The engine cannot do this at all; the message says why.
struct Unsupported : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// One thread's way to look images up.
class Reader {
  public:
    virtual ~Reader() = default;
    /// Takes the whole record; it is the caller's until the next call or the reader's end.
    virtual void get(const std::string &name) = 0;
    /// Reaches every field of the record as text or number; returns a sum over all of them.
    virtual std::size_t read_fields() = 0;
    virtual waybill::ImageSpec record() = 0;
};

/// A reader whose records are copies of the flat encoding.
class FlatReader : public Reader {
  public:
    std::size_t read_fields() override { return walk(bytes_); }
    waybill::ImageSpec record() override { return decode(bytes_); }

  protected:
    std::string bytes_;
};

class Engine {
  public:
    virtual ~Engine() = default;
    virtual void open(const std::string &directory) = 0;
    virtual void close() = 0;
    /// Afterwards exactly the images 0 to count - 1 are held, in version 0. By the fastest way
    /// that the engine has. Only ever called with the same count.
    virtual void fill(std::size_t count) = 0;
    /// Any thread. Durable at return, if the engine promises that at all.
    virtual void put(const waybill_image_spec &image) = 0;
    virtual void remove(const std::string &) { throw Unsupported("it removes nothing"); }
    /// Forgets every image that is not in `keep`; returns how many.
    virtual std::size_t prune(const std::vector<std::string> &) {
        throw Unsupported("it prunes nothing");
    }
    /// Reaches every field of every image; returns how many images there are.
    virtual std::size_t list() { throw Unsupported("it lists nothing"); }
    virtual std::unique_ptr<Reader> reader() { throw Unsupported("it reads nothing"); }
    /// Whatever makes the files small; slow.
    virtual void compact() {}
};

std::unique_ptr<Engine> make_engine();

/// Calls `take` with images 0 to count - 1, a thousand at a time.
inline void in_thousands(std::size_t count,
                         const std::function<void(const PreparedImages &)> &take) {
    for (std::size_t first = 0; first < count; first += 1000)
        take(PreparedImages(first, std::min<std::size_t>(1000, count - first), 0));
}

} // namespace bench
