// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// A disk without a disk: quick enough to damage every byte of a file in turn, and willing to fail
// any call. It keeps no second, durable copy: what is written is there.
#pragma once

#include "plugin/disk.h"
#include "plugin/recovery.h"
#include "plugin/store_mark.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace waybill {

class MemoryDisk final : public Disk {
  public:
    struct Content {
        std::vector<std::uint8_t> bytes;
        std::uint64_t inode = 0;
    };

    MemoryDisk() { add(lock_name, {}); }
    /// A disk of its own with the same files; the damaged ones that were kept stay behind.
    explicit MemoryDisk(const std::map<std::string, std::vector<std::uint8_t>> &files) {
        for (const auto &[name, bytes] : files)
            add(name, bytes);
    }
    std::map<std::string, std::vector<std::uint8_t>> copy() const {
        std::map<std::string, std::vector<std::uint8_t>> files;
        for (const auto &[name, content] : contents)
            files[name] = content->bytes;
        return files;
    }

    void add(const std::string &name, std::vector<std::uint8_t> bytes) {
        contents[name] = std::make_shared<Content>(Content{std::move(bytes), ++inodes_});
    }
    std::vector<std::uint8_t> &bytes(const std::string &name) { return contents.at(name)->bytes; }
    bool has(const std::string &name) const { return contents.contains(name); }

    /// Asked before each call that changes something, by its name; what it returns is the result.
    std::function<Status(const std::string &call, const std::string &name)> before;
    std::uint64_t capacity = ~std::uint64_t{0};
    bool can_allocate = true;
    std::size_t changes = 0;
    std::map<std::string, std::shared_ptr<Content>> contents;
    std::map<std::string, std::shared_ptr<Content>> kept;

    Result<std::vector<std::string>> list() override {
        std::vector<std::string> names;
        for (const auto &[name, content] : contents)
            names.push_back(name);
        return names;
    }
    Result<std::unique_ptr<File>> open(const std::string &name, OpenMode mode) override {
        if (mode == OpenMode::Create) {
            if (Status status = changing("create", name); !status.ok())
                return status;
            if (has(name))
                return failure(Code::Io, name + ": exists");
            add(name, {});
        }
        if (!has(name))
            return failure(Code::NotFound, name + ": open");
        return std::unique_ptr<File>(new Opened(*this, name, contents.at(name)));
    }
    Result<std::unique_ptr<Replacement>> begin_replace(const std::string &name) override {
        if (Status status = changing("begin_replace", name); !status.ok())
            return status;
        return std::unique_ptr<Replacement>(
            new Replacing(*this, name, std::make_shared<Content>(Content{{}, ++inodes_})));
    }
    Result<FileIdentity> identity(const std::string &name) override {
        if (!has(name))
            return failure(Code::NotFound, name + ": stat");
        return FileIdentity{1, contents.at(name)->inode};
    }
    Status unlink(const std::string &name) override {
        if (Status status = changing("unlink", name); !status.ok())
            return status;
        return contents.erase(name) ? Status{} : failure(Code::NotFound, name + ": remove");
    }
    Status keep_damaged(const std::string &name, const std::string &kept_name) override {
        if (Status status = changing("keep_damaged", name); !status.ok())
            return status;
        if (!has(name))
            return failure(Code::NotFound, name + ": keep");
        kept[kept_name] = contents.at(name);
        return {};
    }
    Status sync_directory() override { return changing("sync_directory", {}); }

  private:
    Status changing(const std::string &call, const std::string &name) {
        ++changes;
        return before ? before(call, name) : Status{};
    }
    std::uint64_t used() const {
        std::uint64_t bytes = 0;
        for (const auto &[name, content] : contents)
            bytes += content->bytes.size();
        return bytes;
    }
    Status grow(Content &content, std::uint64_t size) {
        if (size <= content.bytes.size())
            return {};
        if (used() + size - content.bytes.size() > capacity)
            return failure(Code::NoSpace, "the disk is full");
        content.bytes.resize(size);
        return {};
    }

    class Opened final : public File {
      public:
        Opened(MemoryDisk &disk, std::string name, std::shared_ptr<Content> content)
            : disk_(disk), name_(std::move(name)), content_(std::move(content)) {}
        Result<std::size_t> read(std::uint64_t offset, std::span<std::uint8_t> out) override {
            if (offset >= content_->bytes.size())
                return std::size_t{0};
            const std::size_t length = std::min(out.size(), content_->bytes.size() - offset);
            std::copy_n(content_->bytes.begin() + static_cast<std::ptrdiff_t>(offset), length,
                        out.begin());
            return length;
        }
        Status write(std::uint64_t offset, Bytes bytes) override {
            if (Status status = disk_.changing("write", name_); !status.ok()) {
                // Half of it arrives.
                put(offset, bytes.first(bytes.size() / 2));
                return status;
            }
            if (Status grown = disk_.grow(*content_, offset + bytes.size()); !grown.ok())
                return grown;
            put(offset, bytes);
            return {};
        }
        Status sync() override { return disk_.changing("sync", name_); }
        Status allocate(std::uint64_t offset, std::uint64_t length) override {
            if (!disk_.can_allocate)
                return failure(Code::Invalid, "cannot reserve");
            if (Status status = disk_.changing("allocate", name_); !status.ok())
                return status;
            return disk_.grow(*content_, offset + length);
        }
        Result<std::uint64_t> size() override { return std::uint64_t{content_->bytes.size()}; }
        Result<std::uint64_t> allocated_bytes() override { return size(); }
        Result<FileIdentity> identity() override { return FileIdentity{1, content_->inode}; }
        Result<std::uint64_t> data_from(std::uint64_t offset) override { return offset; }
        void discard() noexcept override {
            for (const auto *names : {&disk_.contents, &disk_.kept})
                for (const auto &[name, content] : *names)
                    if (content == content_)
                        return;
            content_->bytes.clear();
        }

      private:
        void put(std::uint64_t offset, Bytes bytes) {
            if (content_->bytes.size() < offset + bytes.size())
                content_->bytes.resize(offset + bytes.size());
            std::copy(bytes.begin(), bytes.end(),
                      content_->bytes.begin() + static_cast<std::ptrdiff_t>(offset));
        }

        MemoryDisk &disk_;
        std::string name_;
        std::shared_ptr<Content> content_;
    };

    class Replacing final : public Replacement {
      public:
        Replacing(MemoryDisk &disk, std::string name, std::shared_ptr<Content> content)
            : disk_(disk), name_(std::move(name)), content_(std::move(content)) {}
        Status write(Bytes bytes) override {
            if (Status status = disk_.changing("write", name_); !status.ok())
                return status;
            content_->bytes.insert(content_->bytes.end(), bytes.begin(), bytes.end());
            return {};
        }
        Status sync() override { return disk_.changing("sync", name_); }
        Status commit() override {
            if (Status status = disk_.changing("commit", name_); !status.ok())
                return status;
            disk_.contents[name_] = content_;
            return {};
        }
        Result<FileIdentity> identity() override { return FileIdentity{1, content_->inode}; }

      private:
        MemoryDisk &disk_;
        std::string name_;
        std::shared_ptr<Content> content_;
    };

    std::uint64_t inodes_ = 0;
};

} // namespace waybill
