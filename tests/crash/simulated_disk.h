// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// A disk that tells what is cached from what is durable, so that the power can be cut at any call
// and every state that a file system might then hold can be looked at.
// What may be lost or kept, each by itself: every 512-byte piece written since the last successful
// sync of its file (any of its contents since then), the length of the file, and every directory
// entry changed since the last sync of the directory. A length may be kept without the bytes, which
// are zeros then. Only a sync sets an order. After a failed sync nothing that was written before is
// ever made durable by a later one, as on Linux.
#pragma once

#include "plugin/disk.h"

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace waybill::crash {

inline constexpr std::size_t piece_bytes = 512;

/// One thing whose fate a power cut decides: so many outcomes, 0 meaning that nothing arrived.
struct Undecided {
    std::uint32_t outcomes;
    std::uint64_t last_change; ///< number of the disk call that changed it last
    std::string what;          ///< for people, such as "journal.1 piece 2"
};

class SimulatedDisk final : public Disk {
  public:
    /// With an empty LOCK, durable, as the lock leaves it.
    SimulatedDisk();
    /// What a process finds that is started after another was killed: the cache is still there.
    SimulatedDisk(const SimulatedDisk &other);
    SimulatedDisk &operator=(const SimulatedDisk &) = delete;

    /// What is open now; the order is that of after_power_cut's argument.
    std::vector<Undecided> undecided() const;
    /// The disk after a cut, each of the undecided things having come out as told.
    std::unique_ptr<SimulatedDisk>
    after_power_cut(const std::vector<std::uint32_t> &outcomes) const;

    /// Asked before each call that changes something. Anything but Ok is the call's result; of a
    /// write half the bytes arrive then.
    std::function<Status(const char *call, const std::string &name)> before;
    /// Calls that changed something, so far.
    std::uint64_t calls() const { return calls_; }
    /// Bytes that files may take together.
    std::uint64_t capacity = ~std::uint64_t{0};
    /// Whether the file system has fallocate.
    bool can_allocate = true;
    /// Others take what is left.
    void fill() { capacity = used_bytes(); }
    bool is_full() const { return capacity != ~std::uint64_t{0}; }
    /// As after all files were copied by somebody who makes holes where zeros stand. Durable.
    void become_sparse_copy();
    /// As after all files were replaced by copies of the backup's. Durable.
    void restore(const SimulatedDisk &backup);

    /// The cached bytes of a file, without the zeros at its end; for those who damage them. Durable
    /// at once.
    std::vector<std::uint8_t> contents(const std::string &name) const;
    void overwrite(const std::string &name, std::vector<std::uint8_t> bytes);
    void remove_file(const std::string &name);
    std::vector<std::string> names() const; ///< with "damaged/…"

    Result<std::vector<std::string>> list() override;
    Result<std::unique_ptr<File>> open(const std::string &name, OpenMode mode) override;
    Result<std::unique_ptr<Replacement>> begin_replace(const std::string &name) override;
    Result<FileIdentity> identity(const std::string &name) override;
    Status unlink(const std::string &name) override;
    Status keep_damaged(const std::string &name, const std::string &kept_name) override;
    Status sync_directory() override;

  private:
    using Piece = std::array<std::uint8_t, piece_bytes>;
    template <typename Value> struct Version {
        std::uint64_t call;
        bool stuck; ///< a sync of it failed: no later one will write it
        Value value;
    };
    struct Inode {
        std::uint64_t number = 0;
        std::uint64_t size = 0;          ///< as cached
        std::uint64_t allocated = 0;     ///< up to there it has space; it is a hole from there on
        std::vector<std::uint8_t> bytes; ///< as cached; behind its end all is zeros
        std::uint64_t durable_size = 0;
        std::vector<std::uint8_t> durable;
        std::map<std::uint64_t, std::vector<Version<Piece>>> pieces;
        std::vector<Version<std::uint64_t>> sizes;
    };
    using InodePtr = std::shared_ptr<Inode>;
    /// One change of the directory, whole or not at all. A rename takes a name away as well.
    struct EntryChange {
        std::uint64_t call;
        std::string name;
        InodePtr inode; ///< null: removed
        std::string gone;
    };
    class OpenFile;
    class OpenReplacement;

    Status changing(const char *call, const std::string &name);
    void put_bytes(Inode &inode, std::uint64_t offset, Bytes bytes);
    void set_size(Inode &inode, std::uint64_t size);
    Status take_space(Inode &inode, const std::string &name, std::uint64_t end);
    Status write(Inode &inode, const std::string &name, std::uint64_t offset, Bytes bytes);
    Status sync(Inode &inode, const std::string &name);
    void change_entry(std::string name, InodePtr inode, std::string gone = {});
    static void apply(std::map<std::string, InodePtr> &entries, const EntryChange &change);
    std::vector<InodePtr> reachable() const;
    std::uint64_t used_bytes() const;
    std::string name_of(const Inode &inode) const;

    std::map<std::string, InodePtr> cached_;
    std::map<std::string, InodePtr> durable_;
    std::vector<EntryChange> entry_changes_;
    std::uint64_t inodes_ = 0;
    std::uint64_t calls_ = 0;
};

} // namespace waybill::crash
