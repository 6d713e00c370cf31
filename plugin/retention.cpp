// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "retention.h"

#include "image_generated.h"

#include <algorithm>
#include <bit>
#include <mutex>
#include <unordered_set>

namespace waybill {

void BlobSet::add(Bytes packed_id, bool is_config) {
    std::uint64_t prefix = 0;
    for (std::size_t i = 0; i < sizeof prefix; ++i)
        prefix = prefix << 8 | (i < packed_id.size() ? packed_id[i] : 0);
    entries_.push_back(
        {prefix, bytes_.size(), static_cast<std::uint16_t>(packed_id.size()), is_config});
    sorted_.set.store(false, std::memory_order_relaxed);
    bytes_.insert(bytes_.end(), packed_id.begin(), packed_id.end());
}

void BlobSet::reserve(std::size_t count) {
    constexpr std::size_t usual_id_bytes = 33;
    entries_.reserve(count);
    bytes_.reserve(count * usual_id_bytes);
}

Bytes BlobSet::id(std::size_t index) const {
    const Entry &entry = sorted()[index];
    return Bytes(bytes_).subspan(entry.offset, entry.size);
}

/// By the first bytes first: they stand in the entries, and digests seldom share them.
const std::vector<BlobSet::Entry> &BlobSet::sorted() const {
    static std::mutex sorting; // Of all sets: two are seldom looked at for the first time at once.
    if (sorted_.set.load(std::memory_order_acquire))
        return entries_;
    const std::lock_guard lock(sorting);
    if (sorted_.set.load(std::memory_order_relaxed))
        return entries_;
    std::ranges::sort(entries_, [this](const Entry &a, const Entry &b) {
        if (a.prefix != b.prefix)
            return a.prefix < b.prefix;
        return std::ranges::lexicographical_compare(Bytes(bytes_).subspan(a.offset, a.size),
                                                    Bytes(bytes_).subspan(b.offset, b.size));
    });
    sorted_.set.store(true, std::memory_order_release);
    return entries_;
}

namespace {

/// Which ids are used, by whom. Keyed by the ids where they stand, in the frames.
class Uses final {
  public:
    struct Use {
        Bytes id;
        bool is_config;
        bool survives;
    };

    explicit Uses(std::size_t expected) { resize(std::bit_ceil(2 * expected + 16)); }

    /// Asks for the memory that note() will look at, so that the waits for several overlap.
    std::uint64_t expect(Bytes id) const {
        const std::uint64_t hash = checksum(id, 0);
        __builtin_prefetch(&slots_[hash & mask_]);
        return hash;
    }

    void note(Bytes id, std::uint64_t hash, bool is_config, bool survives) {
        std::size_t at = hash & mask_;
        for (; slots_[at].use != 0; at = (at + 1) & mask_) {
            if (slots_[at].tag != tag_of(hash))
                continue;
            Use &use = uses_[slots_[at].use - 1];
            if (!std::ranges::equal(use.id, id))
                continue;
            use.survives = use.survives || survives;
            // A layer is what a host must know it as, should an id serve as both.
            use.is_config = use.is_config && is_config;
            return;
        }
        uses_.push_back({id, is_config, survives});
        slots_[at] = {tag_of(hash), static_cast<std::uint32_t>(uses_.size())};
        if (2 * uses_.size() > mask_)
            resize(2 * (mask_ + 1));
    }

    const std::vector<Use> &all() const { return uses_; }

  private:
    struct Slot {
        std::uint32_t tag;
        std::uint32_t use; ///< its number + 1; 0: free
    };

    static std::uint32_t tag_of(std::uint64_t hash) {
        return static_cast<std::uint32_t>(hash >> 32);
    }

    void resize(std::size_t size) {
        slots_.assign(size, Slot{0, 0});
        mask_ = size - 1;
        for (std::size_t i = 0; i < uses_.size(); ++i) {
            const std::uint64_t hash = checksum(uses_[i].id, 0);
            std::size_t at = hash & mask_;
            while (slots_[at].use != 0)
                at = (at + 1) & mask_;
            slots_[at] = {tag_of(hash), static_cast<std::uint32_t>(i + 1)};
        }
    }

    std::vector<Use> uses_;
    std::vector<Slot> slots_;
    std::size_t mask_ = 0;
};

struct UsedId {
    Bytes id;
    std::uint64_t hash;
    bool is_config;
};

} // namespace

Retained apply_keep_list(const Index &index, const KeepList &keep) {
    const std::unordered_set<std::string_view> kept(keep.references.begin(), keep.references.end());
    Retained result;
    // The views point into frames: the reader keeps those alive beyond the scan.
    const Epoch::Reader reader(index.epoch());
    constexpr std::size_t own_layers = 4; // Of an image; the others it shares, mostly.
    Uses uses(own_layers * index.image_count());
    std::vector<UsedId> ids; // Of one image.
    index.scan([&](const Frame &frame) {
        const record::Image &image = *image_of(frame);
        const bool in_scope = !keep.name_space || namespace_of(frame) == *keep.name_space;
        const bool survives = !in_scope || image.pinned() || kept.contains(reference_of(frame));
        if (!survives)
            result.removed.push_back(key_of(frame));
        const LayerList layers(image);
        ids.clear();
        for (std::uint32_t i = 0; i < layers.size(); ++i)
            ids.push_back({layers.id(i), uses.expect(layers.id(i)), false});
        if (const Bytes config = config_of(image); !config.empty())
            ids.push_back({config, uses.expect(config), true});
        for (const UsedId &id : ids)
            uses.note(id.id, id.hash, id.is_config, survives);
    });
    result.used.reserve(uses.all().size());
    for (const Uses::Use &use : uses.all())
        (use.survives ? result.used : result.unused).add(use.id, use.is_config);
    std::ranges::sort(result.removed);
    return result;
}

} // namespace waybill
