// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "retention.h"

#include "image_generated.h"

#include <algorithm>
#include <mutex>

namespace waybill {

std::mutex &SortedOnce::sorting() {
    static std::mutex mutex;
    return mutex;
}

std::span<const IdTable::Entry> BlobSet::sorted() const {
    order_.ensure([this] {
        std::ranges::sort(entries_, [this](const IdTable::Entry &a, const IdTable::Entry &b) {
            if (a.prefix != b.prefix)
                return a.prefix < b.prefix;
            return std::ranges::lexicographical_compare(table_->id(a), table_->id(b));
        });
    });
    return entries_;
}

const std::vector<Key> &KeyList::sorted() const {
    order_.ensure([this] { std::ranges::sort(keys_); });
    return keys_;
}

namespace {

Bytes bytes_of(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t *>(text.data()), text.size()};
}

/// The names that a keep list has.
class KeptNames final {
  public:
    explicit KeptNames(const std::vector<std::string> &references)
        : names_(references.size(), usual_bytes) {
        for (const std::string &reference : references)
            names_.add(bytes_of(reference), names_.expect(bytes_of(reference)), 0);
    }
    std::uint64_t expect(std::string_view reference) const {
        return names_.expect(bytes_of(reference));
    }
    bool contains(std::string_view reference, std::uint64_t hash) {
        return names_.find(bytes_of(reference), hash) != nullptr;
    }

  private:
    static constexpr std::size_t usual_bytes = 64;
    IdTable names_;
};

struct UsedId {
    Bytes id;
    std::uint64_t hash;
    std::uint16_t marks;
};

/// An image, and what of the tables it will be looked up in, which is on its way from memory.
struct Candidate {
    const Frame *frame = nullptr;
    std::uint64_t name_hash = 0;
    std::vector<UsedId> ids;

    void prepare(const Frame &a_frame, const KeptNames &kept, const IdTable &uses) {
        frame = &a_frame;
        name_hash = kept.expect(reference_of(a_frame));
        const record::Image &image = *image_of(a_frame);
        const LayerList layers(image);
        ids.clear();
        for (std::uint32_t i = 0; i < layers.size(); ++i)
            ids.push_back({layers.id(i), uses.expect(layers.id(i)), 0});
        if (const Bytes config = config_of(image); !config.empty())
            ids.push_back({config, uses.expect(config), BlobSet::mark_config});
    }
};

class Retention final {
  public:
    Retention(const KeepList &keep, std::size_t image_count)
        : keep_(keep), kept_(keep.references),
          uses_(std::make_shared<IdTable>(own_ids * image_count, usual_id_bytes)) {}

    /// While one waits for memory the one before it is judged.
    void add(const Frame &frame) {
        coming_.prepare(frame, kept_, *uses_);
        judge();
        std::swap(coming_, ready_);
    }

    Retained finish() {
        judge();
        const std::span<IdTable::Entry> all = uses_->entries();
        const auto unused = std::partition(all.begin(), all.end(), [](const IdTable::Entry &entry) {
            return (entry.marks & BlobSet::mark_survives) != 0;
        });
        const auto used = static_cast<std::size_t>(unused - all.begin());
        result_.used = BlobSet(uses_, all.first(used));
        result_.unused = BlobSet(uses_, all.subspan(used));
        return std::move(result_);
    }

  private:
    void judge() {
        if (!ready_.frame)
            return;
        const Frame &frame = *ready_.frame;
        const bool in_scope = !keep_.name_space || namespace_of(frame) == *keep_.name_space;
        const bool survives = !in_scope || image_of(frame)->pinned() ||
                              kept_.contains(reference_of(frame), ready_.name_hash);
        if (!survives)
            result_.removed.add(key_of(frame));
        for (const UsedId &id : ready_.ids) {
            IdTable::Entry &use = uses_->add(id.id, id.hash, id.marks);
            use.marks |= survives ? BlobSet::mark_survives : 0;
            // A layer is what a host must know it as, should an id serve as both.
            if (id.marks == 0)
                use.marks &= static_cast<std::uint16_t>(~BlobSet::mark_config);
        }
        ready_.frame = nullptr;
    }

    static constexpr std::size_t own_ids = 7; ///< of an image; the others it shares, mostly
    static constexpr std::size_t usual_id_bytes = 33;

    const KeepList &keep_;
    KeptNames kept_;
    std::shared_ptr<IdTable> uses_;
    Candidate coming_, ready_;
    Retained result_;
};

} // namespace

Retained apply_keep_list(const Index &index, const KeepList &keep) {
    Retention retention(keep, index.image_count());
    const Epoch::Reader reader(index.epoch());
    std::vector<const Frame *> frames;
    frames.reserve(index.image_count());
    index.scan([&](const Frame &frame) { frames.push_back(&frame); });
    // As they stand in memory, which is about how they were put: images that share layers are
    // neighbours, and the processor sees what will be read next.
    std::ranges::sort(frames);
    for (const Frame *frame : frames)
        retention.add(*frame);
    return retention.finish();
}

} // namespace waybill
