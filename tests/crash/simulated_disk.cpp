// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "simulated_disk.h"

#include "plugin/recovery.h"
#include "plugin/store_mark.h"

#include <algorithm>
#include <cstring>
#include <set>

namespace waybill::crash {

/// QSaveFile names the file so between its link and its rename.
static const char *const unnamed_suffix = ".x7Kq2a";

// --- what the calls do -------------------------------------------------------------------------

SimulatedDisk::SimulatedDisk() {
    auto lock = std::make_shared<Inode>();
    lock->number = ++inodes_;
    cached_[lock_name] = durable_[lock_name] = lock;
}

SimulatedDisk::SimulatedDisk(const SimulatedDisk &other)
    : capacity(other.capacity), can_allocate(other.can_allocate), inodes_(other.inodes_),
      calls_(other.calls_) {
    std::map<const Inode *, InodePtr> copies;
    const auto copy = [&copies](const InodePtr &inode) {
        if (!inode)
            return InodePtr();
        InodePtr &made = copies[inode.get()];
        if (!made)
            made = std::make_shared<Inode>(*inode);
        return made;
    };
    for (const auto &[name, inode] : other.cached_)
        cached_[name] = copy(inode);
    for (const auto &[name, inode] : other.durable_)
        durable_[name] = copy(inode);
    for (const EntryChange &change : other.entry_changes_)
        entry_changes_.push_back({change.call, change.name, copy(change.inode), change.gone});
}

Status SimulatedDisk::changing(const char *call, const std::string &name) {
    // Before the call is counted: what is looked at then is the state that it finds.
    Status status = before ? before(call, name) : Status{};
    ++calls_;
    return status;
}

void SimulatedDisk::set_size(Inode &inode, std::uint64_t size) {
    if (size == inode.size)
        return;
    inode.size = size;
    inode.sizes.push_back({calls_, false, size});
}

void SimulatedDisk::put_bytes(Inode &inode, std::uint64_t offset, Bytes bytes) {
    if (bytes.empty())
        return;
    const std::uint64_t end = offset + bytes.size();
    if (inode.bytes.size() < end)
        inode.bytes.resize(end);
    std::copy(bytes.begin(), bytes.end(),
              inode.bytes.begin() + static_cast<std::ptrdiff_t>(offset));
    for (std::uint64_t piece = offset / piece_bytes; piece * piece_bytes < end; ++piece) {
        Version<Piece> version{calls_, false, {}};
        const std::uint64_t from = piece * piece_bytes;
        const std::size_t length = std::min<std::size_t>(piece_bytes, inode.bytes.size() - from);
        std::memcpy(version.value.data(), inode.bytes.data() + from, length);
        inode.pieces[piece].push_back(version);
    }
    set_size(inode, std::max(inode.size, end));
}

std::uint64_t SimulatedDisk::used_bytes() const {
    std::uint64_t bytes = 0;
    for (const InodePtr &inode : reachable())
        bytes += inode->allocated;
    return bytes;
}

Status SimulatedDisk::take_space(Inode &inode, const std::string &name, std::uint64_t end) {
    const std::uint64_t whole = (end + piece_bytes - 1) / piece_bytes * piece_bytes;
    if (whole <= inode.allocated)
        return {};
    if (is_full() && used_bytes() + whole - inode.allocated > capacity)
        return failure(Code::NoSpace, name + ": the disk is full");
    inode.allocated = whole;
    return {};
}

Status SimulatedDisk::write(Inode &inode, const std::string &name, std::uint64_t offset,
                            Bytes bytes) {
    if (Status status = changing("write", name); !status.ok()) {
        put_bytes(inode, offset, bytes.first(bytes.size() / 2));
        return status;
    }
    const std::uint64_t end = offset + bytes.size();
    if (Status taken = take_space(inode, name, end); !taken.ok())
        return taken;
    // Where no space can be reserved a length grows as blocks are written, not all at once.
    const std::uint64_t whole_pieces = end / piece_bytes * piece_bytes;
    if (!can_allocate && whole_pieces > inode.size && whole_pieces < end)
        set_size(inode, whole_pieces);
    put_bytes(inode, offset, bytes);
    return {};
}

Status SimulatedDisk::sync(Inode &inode, const std::string &name) {
    if (Status status = changing("sync", name); !status.ok()) {
        for (auto &[piece, versions] : inode.pieces)
            for (auto &version : versions)
                version.stuck = true;
        for (auto &version : inode.sizes)
            version.stuck = true;
        return status;
    }
    const auto last_good = [](const auto &versions) {
        return std::find_if(versions.rbegin(), versions.rend(),
                            [](const auto &version) { return !version.stuck; });
    };
    if (const auto good = last_good(inode.sizes); good != inode.sizes.rend()) {
        inode.durable_size = good->value;
        inode.sizes.erase(inode.sizes.begin(), good.base());
    }
    for (auto at = inode.pieces.begin(); at != inode.pieces.end();) {
        auto &[piece, versions] = *at;
        if (const auto good = last_good(versions); good != versions.rend()) {
            const std::uint64_t from = piece * piece_bytes;
            if (inode.durable.size() < from + piece_bytes)
                inode.durable.resize(from + piece_bytes);
            std::memcpy(inode.durable.data() + from, good->value.data(), piece_bytes);
            versions.erase(versions.begin(), good.base());
        }
        at = versions.empty() ? inode.pieces.erase(at) : std::next(at);
    }
    return {};
}

void SimulatedDisk::apply(std::map<std::string, InodePtr> &entries, const EntryChange &change) {
    if (!change.gone.empty())
        entries.erase(change.gone);
    if (change.inode)
        entries[change.name] = change.inode;
    else
        entries.erase(change.name);
}

void SimulatedDisk::change_entry(std::string name, InodePtr inode, std::string gone) {
    entry_changes_.push_back({calls_, std::move(name), std::move(inode), std::move(gone)});
    apply(cached_, entry_changes_.back());
}

// --- power cuts --------------------------------------------------------------------------------

std::vector<SimulatedDisk::InodePtr> SimulatedDisk::reachable() const {
    std::vector<InodePtr> found;
    std::set<const Inode *> seen;
    const auto add = [&](const InodePtr &inode) {
        if (inode && seen.insert(inode.get()).second)
            found.push_back(inode);
    };
    for (const auto &[name, inode] : durable_)
        add(inode);
    for (const EntryChange &change : entry_changes_)
        add(change.inode);
    return found;
}

std::string SimulatedDisk::name_of(const Inode &inode) const {
    for (const auto *entries : {&cached_, &durable_})
        for (const auto &[name, found] : *entries)
            if (found.get() == &inode)
                return name;
    return "a removed file";
}

std::vector<Undecided> SimulatedDisk::undecided() const {
    std::vector<Undecided> open;
    for (const EntryChange &change : entry_changes_)
        open.push_back({2, change.call, (change.inode ? "entry " : "removal of ") + change.name});
    for (const InodePtr &inode : reachable()) {
        if (!inode->sizes.empty())
            open.push_back({static_cast<std::uint32_t>(inode->sizes.size() + 1),
                            inode->sizes.back().call, "length of " + name_of(*inode)});
        for (const auto &[piece, versions] : inode->pieces)
            open.push_back({static_cast<std::uint32_t>(versions.size() + 1), versions.back().call,
                            name_of(*inode) + " piece " + std::to_string(piece)});
    }
    return open;
}

std::unique_ptr<SimulatedDisk>
SimulatedDisk::after_power_cut(const std::vector<std::uint32_t> &outcomes) const {
    auto disk = std::make_unique<SimulatedDisk>();
    disk->inodes_ = inodes_;
    disk->calls_ = calls_;
    disk->capacity = capacity;
    disk->can_allocate = can_allocate;
    std::size_t at = 0;
    std::map<std::string, InodePtr> entries = durable_;
    for (const EntryChange &change : entry_changes_)
        if (outcomes[at++] != 0)
            apply(entries, change);
    std::map<const Inode *, InodePtr> left;
    for (const InodePtr &inode : reachable()) {
        auto made = std::make_shared<Inode>();
        made->number = inode->number;
        made->durable = inode->durable;
        made->durable_size = inode->durable_size;
        if (!inode->sizes.empty())
            if (const std::uint32_t outcome = outcomes[at++]; outcome != 0)
                made->durable_size = inode->sizes[outcome - 1].value;
        for (const auto &[piece, versions] : inode->pieces) {
            const std::uint32_t outcome = outcomes[at++];
            if (outcome == 0)
                continue;
            const std::uint64_t from = piece * piece_bytes;
            if (made->durable.size() < from + piece_bytes)
                made->durable.resize(from + piece_bytes);
            std::memcpy(made->durable.data() + from, versions[outcome - 1].value.data(),
                        piece_bytes);
        }
        made->durable.resize(std::min<std::uint64_t>(made->durable.size(), made->durable_size));
        made->bytes = made->durable;
        made->size = made->durable_size;
        made->allocated = inode->allocated;
        left[inode.get()] = std::move(made);
    }
    disk->cached_.clear();
    for (const auto &[name, inode] : entries)
        disk->cached_[name] = left.at(inode.get());
    disk->durable_ = disk->cached_;
    return disk;
}

// --- files -------------------------------------------------------------------------------------

class SimulatedDisk::OpenFile final : public File {
  public:
    OpenFile(SimulatedDisk &disk, std::string name, InodePtr inode)
        : disk_(disk), name_(std::move(name)), inode_(std::move(inode)) {}

    Result<std::size_t> read(std::uint64_t offset, std::span<std::uint8_t> out) override {
        if (offset >= inode_->size)
            return std::size_t{0};
        const std::size_t length = std::min<std::uint64_t>(out.size(), inode_->size - offset);
        const std::size_t held =
            offset < inode_->bytes.size()
                ? std::min<std::uint64_t>(length, inode_->bytes.size() - offset)
                : 0;
        if (held > 0)
            std::memcpy(out.data(), inode_->bytes.data() + offset, held);
        std::memset(out.data() + held, 0, length - held);
        return length;
    }
    Status write(std::uint64_t offset, Bytes bytes) override {
        return disk_.write(*inode_, name_, offset, bytes);
    }
    Status sync() override { return disk_.sync(*inode_, name_); }
    Status allocate(std::uint64_t offset, std::uint64_t length) override {
        if (!disk_.can_allocate)
            return failure(Code::Invalid, name_ + ": space cannot be reserved here");
        if (Status status = disk_.changing("allocate", name_); !status.ok())
            return status;
        if (Status taken = disk_.take_space(*inode_, name_, offset + length); !taken.ok())
            return taken;
        disk_.set_size(*inode_, std::max(inode_->size, offset + length));
        return {};
    }
    Result<std::uint64_t> size() override { return std::uint64_t{inode_->size}; }
    Result<std::uint64_t> allocated_bytes() override { return std::uint64_t{inode_->allocated}; }
    Result<FileIdentity> identity() override { return FileIdentity{1, inode_->number}; }
    /// Behind what was ever written there are holes.
    Result<std::uint64_t> data_from(std::uint64_t offset) override {
        return offset < inode_->bytes.size() ? offset : inode_->size;
    }
    /// The length may be gone whether or not the name is.
    void discard() noexcept override {
        for (const auto &[name, inode] : disk_.cached_)
            if (inode == inode_)
                return;
        if (!disk_.changing("discard", name_).ok())
            return;
        inode_->bytes.clear();
        inode_->allocated = 0;
        disk_.set_size(*inode_, 0);
    }

  private:
    SimulatedDisk &disk_;
    std::string name_;
    InodePtr inode_;
};

class SimulatedDisk::OpenReplacement final : public Replacement {
  public:
    OpenReplacement(SimulatedDisk &disk, std::string name, InodePtr inode)
        : disk_(disk), name_(std::move(name)), inode_(std::move(inode)) {}

    Status write(Bytes bytes) override { return disk_.write(*inode_, name_, inode_->size, bytes); }
    Status sync() override { return disk_.sync(*inode_, name_); }
    Status commit() override {
        const std::string unnamed = name_ + unnamed_suffix;
        if (Status status = disk_.changing("link", unnamed); !status.ok())
            return status;
        disk_.change_entry(unnamed, inode_);
        if (Status status = disk_.changing("rename", name_); !status.ok())
            return status;
        disk_.change_entry(name_, inode_, unnamed);
        return {};
    }
    Result<FileIdentity> identity() override { return FileIdentity{1, inode_->number}; }

  private:
    SimulatedDisk &disk_;
    std::string name_;
    InodePtr inode_;
};

// --- the directory -----------------------------------------------------------------------------

static bool is_kept(const std::string &name) { return name.find('/') != std::string::npos; }

Result<std::vector<std::string>> SimulatedDisk::list() {
    std::vector<std::string> found;
    for (const auto &[name, inode] : cached_)
        if (!is_kept(name))
            found.push_back(name);
    return found;
}

std::vector<std::string> SimulatedDisk::names() const {
    std::vector<std::string> found;
    for (const auto &[name, inode] : cached_)
        found.push_back(name);
    return found;
}

Result<std::unique_ptr<File>> SimulatedDisk::open(const std::string &name, OpenMode mode) {
    if (mode == OpenMode::Create) {
        if (Status status = changing("create", name); !status.ok())
            return status;
        if (cached_.contains(name))
            return failure(Code::Io, name + ": exists");
        auto inode = std::make_shared<Inode>();
        inode->number = ++inodes_;
        change_entry(name, std::move(inode));
    }
    const auto found = cached_.find(name);
    if (found == cached_.end())
        return failure(Code::NotFound, name + ": open");
    return std::unique_ptr<File>(new OpenFile(*this, name, found->second));
}

Result<std::unique_ptr<Replacement>> SimulatedDisk::begin_replace(const std::string &name) {
    if (Status status = changing("begin to replace", name); !status.ok())
        return status;
    auto inode = std::make_shared<Inode>();
    inode->number = ++inodes_;
    return std::unique_ptr<Replacement>(new OpenReplacement(*this, name, std::move(inode)));
}

Result<FileIdentity> SimulatedDisk::identity(const std::string &name) {
    const auto found = cached_.find(name);
    if (found == cached_.end())
        return failure(Code::NotFound, name + ": stat");
    return FileIdentity{1, found->second->number};
}

Status SimulatedDisk::unlink(const std::string &name) {
    if (Status status = changing("unlink", name); !status.ok())
        return status;
    if (!cached_.contains(name))
        return failure(Code::NotFound, name + ": remove");
    change_entry(name, nullptr);
    return {};
}

Status SimulatedDisk::keep_damaged(const std::string &name, const std::string &kept_name) {
    if (Status status = changing("keep", name); !status.ok())
        return status;
    const auto found = cached_.find(name);
    if (found == cached_.end())
        return failure(Code::NotFound, name + ": keep");
    if (!cached_.contains("damaged/" + kept_name))
        change_entry("damaged/" + kept_name, found->second);
    return sync_directory();
}

Status SimulatedDisk::sync_directory() {
    if (Status status = changing("sync", "the directory"); !status.ok())
        return status;
    for (const EntryChange &change : entry_changes_)
        apply(durable_, change);
    entry_changes_.clear();
    return {};
}

// --- damage ------------------------------------------------------------------------------------

std::vector<std::uint8_t> SimulatedDisk::contents(const std::string &name) const {
    const auto found = cached_.find(name);
    return found == cached_.end() ? std::vector<std::uint8_t>() : found->second->bytes;
}

void SimulatedDisk::overwrite(const std::string &name, std::vector<std::uint8_t> bytes) {
    InodePtr &inode = cached_[name];
    if (!inode) {
        inode = std::make_shared<Inode>();
        inode->number = ++inodes_;
    }
    inode->size = inode->durable_size = std::max<std::uint64_t>(inode->size, bytes.size());
    inode->pieces.clear();
    inode->sizes.clear();
    inode->bytes = inode->durable = std::move(bytes);
    inode->allocated = std::max(inode->allocated, inode->size);
    durable_[name] = inode;
}

void SimulatedDisk::become_sparse_copy() {
    for (const auto &[name, inode] : cached_) {
        const auto last = std::find_if(inode->bytes.rbegin(), inode->bytes.rend(),
                                       [](std::uint8_t byte) { return byte != 0; });
        const auto end = static_cast<std::uint64_t>(inode->bytes.rend() - last);
        overwrite(name, {inode->bytes.begin(), last.base()});
        inode->allocated = (end + piece_bytes - 1) / piece_bytes * piece_bytes;
    }
    entry_changes_.clear();
}

void SimulatedDisk::restore(const SimulatedDisk &backup) {
    cached_.clear();
    entry_changes_.clear();
    for (const auto &[name, inode] : backup.cached_) {
        overwrite(name, inode->bytes);
        cached_[name]->size = cached_[name]->durable_size = inode->size;
        cached_[name]->allocated = inode->allocated;
    }
    durable_ = cached_;
}

void SimulatedDisk::remove_file(const std::string &name) {
    cached_.erase(name);
    durable_.erase(name);
}

} // namespace waybill::crash
