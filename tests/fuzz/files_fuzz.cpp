// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// A sound store whose files a bad disk has changed: bytes, blocks, lengths, whole files. All that
// was ever put is known; so each image that a recovery shows without a mark must be one that was
// there, all of them at one moment, and what is missing must be reported.
// Input: edits of six bytes: the file, what is done to it, where, with what.
#include "hostile_store.h"
#include "property.h"

#include <algorithm>
#include <array>

using namespace waybill;
using namespace waybill::fuzz;

namespace {

constexpr std::size_t edits_max = 12;
constexpr std::size_t block_bytes = 512;

/// A store after a rotation, what the files were before it, and every state that it went through
/// since its snapshot.
struct History {
    Files files;
    Files older;
    std::vector<Images> states;
    std::vector<std::vector<std::uint8_t>> payloads; ///< all that was ever put
};

class Writer final {
  public:
    explicit Writer(History &history) : history_(history) { history_.states.emplace_back(); }

    void put(Batch &batch, const std::string &name, const std::string &value, bool is_full) {
        const FramePtr frame = sample_image(name, value, is_full, revision_ + 1);
        batch.add(*frame, frame->payload_span());
        const Bytes payload = frame->payload_span();
        now_[{"default", name}] = {revision_ + 1, 0, {payload.begin(), payload.end()}};
        history_.payloads.emplace_back(payload.begin(), payload.end());
    }
    void remove(Batch &batch, FrameKind kind, const std::vector<std::string> &names) {
        add_removal(batch, kind, names, revision_ + 1);
        for (const std::string &name : names)
            now_.erase({"default", name});
    }
    void end_transaction() {
        ++revision_;
        history_.states.push_back(now_);
    }
    void write_snapshot(std::uint64_t generation) {
        LogFile snapshot(FileKind::Snapshot, generation, revision_);
        Batch batch;
        for (const auto &[key, seen] : now_) {
            Frame head{};
            head.kind = static_cast<std::uint16_t>(FrameKind::Put);
            head.key_hash = key_hash(key.name_space, key.reference);
            head.revision = seen.revision;
            batch.add(head, seen.payload);
            if (batch.size_bytes() > 2048)
                snapshot.append(batch);
        }
        add_mark(batch, FrameKind::End, revision_, now_.size());
        snapshot.append(batch);
        history_.files[snapshot_name] = snapshot.bytes();
        history_.states = {now_};
    }
    std::uint64_t revision() const { return revision_; }

  private:
    History &history_;
    Images now_;
    std::uint64_t revision_ = 0;
};

/// A journal of eight transactions: one image, several, overwrites, a removal, a prune.
std::vector<std::uint8_t> write_journal(Writer &writer, std::uint64_t generation) {
    LogFile journal(FileKind::Journal, generation, writer.revision());
    const std::string value = "of journal " + std::to_string(generation);
    const std::string own = "own-" + std::to_string(generation);
    Batch batch;
    const auto commit = [&] {
        writer.end_transaction();
        journal.append(batch);
    };
    writer.put(batch, own, value, true);
    commit();
    for (const char *name : {"a", "b", "c", "d"})
        writer.put(batch, name, value, false);
    commit();
    writer.put(batch, "e", value, true);
    writer.end_transaction(); // Two transactions in one batch.
    writer.put(batch, "f", value, true);
    commit();
    writer.remove(batch, FrameKind::Remove, {"b"});
    commit();
    writer.put(batch, "a", value + ", again", true);
    commit();
    writer.remove(batch, FrameKind::Prune, {"c", "f"});
    commit();
    writer.put(batch, own, value + ", again", false);
    commit();
    return journal.bytes();
}

History make_history() {
    History history;
    Writer writer(history);
    history.files[lock_name] = sound_lock();
    writer.write_snapshot(1);
    history.files["journal.1"] = write_journal(writer, 1);
    history.older = history.files;
    history.files.erase("journal.1");
    writer.write_snapshot(2);
    history.files["journal.2"] = write_journal(writer, 2);
    history.older["journal.2"] = history.files["journal.2"];
    history.files["journal.3"] = write_journal(writer, 3);
    return history;
}

void edit(Files &files, const History &history, Input &input) {
    static constexpr std::array names = {"LOCK", "snapshot", "journal.2", "journal.3"};
    const std::string name = names[input.byte() % names.size()];
    const std::uint8_t what = input.byte();
    const std::size_t where = input.word();
    const std::uint16_t with = input.word();
    const auto file = files.find(name);
    if (file == files.end() || file->second.empty())
        return;
    std::vector<std::uint8_t> &bytes = file->second;
    const std::size_t at = where % bytes.size();
    const std::size_t block = at - at % block_bytes;
    const std::size_t other = (with * block_bytes) % bytes.size() / block_bytes * block_bytes;
    const std::size_t length = std::min(block_bytes, bytes.size() - std::max(block, other));
    const auto begin = [&](std::size_t offset) {
        return bytes.begin() + static_cast<std::ptrdiff_t>(offset);
    };
    switch (what % 9) {
    case 0:
    case 1:
        bytes[at] ^= static_cast<std::uint8_t>(with);
        break;
    case 2:
        std::fill(begin(block), begin(std::min(block + block_bytes, bytes.size())),
                  static_cast<std::uint8_t>(with));
        break;
    case 3:
        bytes.resize(at);
        break;
    case 4:
        std::copy_n(std::vector(begin(block), begin(block + length)).begin(), length, begin(other));
        break;
    case 5: {
        const std::vector copy(begin(block), begin(block + length));
        std::copy_n(begin(other), length, begin(block));
        std::copy(copy.begin(), copy.end(), begin(other));
        break;
    }
    case 6:
        bytes.resize(bytes.size() + with % 4096, static_cast<std::uint8_t>(where));
        break;
    case 7: // Its own former self, or another file's.
        if (const auto &older = with & 1 ? history.older : history.files;
            older.contains(names[with / 2 % names.size()]))
            bytes = older.at(names[with / 2 % names.size()]);
        break;
    default:
        files.erase(file);
    }
}

bool agrees(const Images &shown, const Images &state, bool is_all) {
    std::size_t unmarked = 0;
    for (const auto &[key, seen] : shown) {
        if (seen.flags != 0)
            continue;
        ++unmarked;
        const auto found = state.find(key);
        if (found == state.end() || !(found->second == seen))
            return false;
    }
    return !is_all || unmarked == state.size();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    static const History history = make_history();
    Files files = history.files;
    Input input(data, size);
    for (std::size_t edits = 0; edits < edits_max && !input.empty(); ++edits)
        edit(files, history, input);
    if (!files.contains(lock_name)) // Opening makes one, empty, before it recovers.
        files[lock_name] = {};
    const Opened opened = open_hostile(files, {}, false);
    if (!opened.status.ok())
        return 0;
    if (opened.created) {
        require(!files.contains(snapshot_name) &&
                    (files[lock_name].empty() || files[lock_name][0] == 0),
                "a store is made only where nothing has been");
        return 0;
    }
    for (const auto &[key, seen] : opened.images)
        require(std::ranges::find(history.payloads, seen.payload) != history.payloads.end(),
                "a record shown is one that was put", key.reference);
    // What a torn tail has cut off is a moment before; nothing else goes without being reported.
    const bool is_silent = opened.damage.empty();
    require(std::ranges::any_of(
                history.states,
                [&](const Images &state) { return agrees(opened.images, state, is_silent); }),
            is_silent ? "without damage all images of one moment are there"
                      : "images without a mark are those of one moment");
    return 0;
}
