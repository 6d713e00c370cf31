// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Writes the golden stores of the format that a library writes: golden_make LIBRARY DIRECTORY.
// Beside the files of each stands expected.json. Its images are what was put, not what was read;
// its report is what a recovery of the files says, and is to be read by a person before it is kept.
#include "image_description.h"
#include "store_files.h"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <functional>
#include <iterator>
#include <optional>

using namespace golden;
namespace fs = std::filesystem;

namespace {

std::string digest(const std::string &algorithm, std::size_t digits, char last) {
    return algorithm + ":" + std::string(digits - 1, '0') + last;
}
const std::string sha256_a = digest("sha256", 64, 'a');
const std::string sha256_b = digest("sha256", 64, 'b');
const std::string sha384_c = digest("sha384", 96, 'c');
const std::string sha512_d = digest("sha512", 128, 'd');

waybill::ImageSpec small_image(const std::string &reference, const std::string &value) {
    waybill::ImageSpec image;
    image.reference = reference;
    image.target_digest = sha256_a;
    image.layers = {{"", sha256_b}};
    image.labels = {{"value", value}};
    image.created_ns = 1'700'000'000'000'000'001;
    image.updated_ns = 1'700'000'000'000'000'002;
    return image;
}

waybill::ImageSpec full_image(const std::string &reference) {
    waybill::ImageSpec image = small_image(reference, "every field");
    image.name_space = "k8s.io";
    image.target_digest = sha512_d;
    image.target_media_type = "application/vnd.oci.image.index.v1+json";
    image.target_size_bytes = 0xfedc'ba98'7654'3210;
    image.config_digest = sha384_c;
    image.layers = {{"", sha256_a, "application/vnd.oci.image.layer.v1.tar+zstd", 1},
                    {"a-name-of-the-host", sha256_b, "", 0},
                    {"a-name-alone", "", "", 3},
                    {sha256_b, sha384_c, "application/x", 0xffff'ffff'ffff'ffff},
                    {sha512_d, sha512_d, "", 0}};
    image.labels = {{"a", ""}, {"b", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x93\xa6"}, {"z", "last"}};
    image.annotations = {{"org.opencontainers.image.ref.name", "v1"}, {"quote", "\"\\\n\t"}};
    image.pinned = true;
    image.os = "windows";
    image.architecture = "arm64";
    image.variant = "v8";
    image.os_version = "10.0.20348.1234";
    image.created_ns = -1;
    image.updated_ns = 0x7fff'ffff'ffff'ffff;
    image.last_used_ns = 1'700'000'000'000'000'003;
    return image;
}

/// A store that is being made, and what it must say once it has been read.
class Making final {
  public:
    Making(const waybill::Library &library, const fs::path &root, const std::string &references)
        : library_(library), root_(root), references_(references) {
        open();
    }

    void open() {
        const json config{
            {"root", root_}, {"references", references_}, {"limits", {{"journalBytes", 65536}}}};
        store_.emplace(waybill::Store::create(library_, config.dump()));
        store_->recover().get();
    }
    void close() { store_->destroy(), store_.reset(); }

    /// `key`: the name that it is kept under.
    void put(const waybill::ImageSpec &image, const std::string &key) { put({{image, key}}); }
    void put(const std::vector<std::pair<waybill::ImageSpec, std::string>> &images) {
        std::vector<waybill::ImageSpec> specs;
        for (const auto &image : images)
            specs.push_back(image.first);
        const std::uint64_t revision = store_->put(specs).get().revision;
        for (const auto &[spec, key] : images)
            images_[{spec.name_space, key}] = {spec, revision, 0};
    }
    void remove(const std::string &key) {
        require(store_->remove(key).get().existed, key + ": was not there");
        images_.erase({"default", key});
    }
    void prune(const std::vector<std::string> &keep) {
        for (const waybill::Key &gone : store_->prune_all_namespaces(keep).get().removed)
            images_.erase({gone.name_space, gone.reference});
    }
    void accept_loss() {
        store_->accept_loss().get();
        for (auto &[key, image] : images_)
            image.state = 0;
    }
    /// The record of `key` that the files still have is this one.
    void expect(const waybill::ImageSpec &image, const std::string &key, std::uint64_t revision,
                std::uint32_t state) {
        images_[{image.name_space, key}] = {image, revision, state};
    }
    void expect_state(const std::string &key, std::uint32_t state) {
        images_.at({"default", key}).state = state;
    }
    void expect_gone(const std::string &key) { images_.erase({"default", key}); }

    Files files() const { return read_store(root_); }
    const fs::path &root() const { return root_; }
    /// The one that is being written.
    std::string newest_journal() const {
        std::uint64_t newest = 0;
        for (const auto &file : files())
            if (file.first.rfind("journal.", 0) == 0)
                newest = std::max<std::uint64_t>(newest, std::stoull(file.first.substr(8)));
        return "journal." + std::to_string(newest);
    }
    json images() const {
        json images = json::array();
        for (const auto &[key, image] : images_)
            images.push_back(describe(image.spec, key.second, image.revision, image.state));
        return images;
    }

  private:
    struct Expected {
        waybill::ImageSpec spec;
        std::uint64_t revision;
        std::uint32_t state;
    };

    const waybill::Library &library_;
    fs::path root_;
    std::string references_;
    std::optional<waybill::Store> store_;
    std::map<std::pair<std::string, std::string>, Expected> images_;
};

/// Zeros that were allocated and not written, but for those that end a journal.
void trim(Files &files) {
    constexpr std::size_t header_block_bytes = 1024;
    constexpr std::size_t journal_end_bytes = 8;
    for (auto &[name, bytes] : files)
        if (name.rfind("journal.", 0) == 0) {
            const std::size_t last = bytes.find_last_not_of('\0');
            const std::size_t end = last == std::string::npos ? 0 : (last + 8) / 8 * 8;
            bytes.resize(
                std::min(bytes.size(), std::max(header_block_bytes, end) + journal_end_bytes));
        }
}

/// Flips a bit in the last place of a file where a text stands.
void damage(std::string &bytes, const std::string &text) {
    const std::size_t at = bytes.rfind(text);
    require(at != std::string::npos, text + ": stands nowhere");
    bytes[at] = static_cast<char>(bytes[at] ^ 1);
}

class Makers final {
  public:
    Makers(const waybill::Library &library, fs::path out)
        : library_(library), out_(std::move(out)) {}

    void make_all() {
        make("canonical-names-and-every-field", &Makers::canonical);
        make("opaque-names", &Makers::opaque);
        make("mesos-names", &Makers::mesos);
        make("overwrites-removes-and-prunes", &Makers::changes);
        make("closed-after-a-rotation", &Makers::rotated);
        make("two-journals-before-their-snapshot", &Makers::two_journals);
        make("killed-without-closing", &Makers::killed);
        make("torn-tail", &Makers::torn);
        make("damage-in-journal", &Makers::damaged_journal);
        make("damage-in-snapshot", &Makers::damaged_snapshot);
        make("degraded-with-marks", &Makers::degraded);
        make("loss-accepted-in-journal", &Makers::accepted);
    }
    std::size_t count() const { return count_; }

  private:
    using Maker = Files (Makers::*)(Making &);

    void make(const std::string &name, Maker maker) {
        ScratchDirectory scratch;
        const std::string references = name.substr(0, name.find('-'));
        Making making(library_, scratch / "store",
                      references == "opaque" || references == "mesos" ? references : "canonical");
        Files files = (this->*maker)(making);
        trim(files);
        write_store(scratch / "copy", files);
        const json config{{"root", scratch / "copy"}};
        waybill::Store store = waybill::Store::create(library_, config.dump());
        const json report = describe_report(store.recover().get().report_json);
        const json images = describe_images(store);
        store.destroy();
        if (images != making.images())
            throw std::runtime_error(name + ": read is not what was put: " +
                                     json::diff(making.images(), images).dump(2));
        fs::remove_all(out_ / name);
        write_store(out_ / name, files);
        write_file(out_ / name / "expected.json",
                   json{{"report", report}, {"images", images}}.dump(1) + "\n");
        ++count_;
    }

    static Files closed(Making &making) {
        making.close();
        return making.files();
    }

    Files canonical(Making &making) {
        making.put(full_image("registry.example:5000/team/app:v1@" + sha256_b),
                   "registry.example:5000/team/app@" + sha256_b);
        making.put(small_image("ubuntu", "short name"), "docker.io/library/ubuntu:latest");
        making.put(small_image("index.docker.io/team/app:1.2", "old domain"),
                   "docker.io/team/app:1.2");
        making.put(small_image("[2001:db8::1]:80/a.b_c__d---e:T", "IPv6"),
                   "[2001:db8::1]:80/a.b_c__d---e:T");
        return closed(making);
    }

    Files opaque(Making &making) {
        const std::string longest(1024, 'n');
        for (const std::string &name :
             {std::string("ubuntu"), std::string("UPPER case with spaces"), std::string("@:/@"),
              std::string("\xc3\xa4\xf0\x9f\x93\xa6"), longest})
            making.put(small_image(name, "opaque"), name);
        return closed(making);
    }

    Files mesos(Making &making) {
        making.put(small_image("busybox", "as it is"), "busybox");
        making.put(small_image("a:b:c@d", "tags beside a digest"), "a@d");
        making.put(small_image("localhost:5000/x:t", "tag"), "localhost:5000/x:t");
        making.put(small_image("", "no name at all"), "");
        return closed(making);
    }

    Files changes(Making &making) {
        making.put({{small_image("a", "1"), "docker.io/library/a:latest"},
                    {small_image("b", "1"), "docker.io/library/b:latest"},
                    {small_image("c", "1"), "docker.io/library/c:latest"},
                    {small_image("d", "1"), "docker.io/library/d:latest"},
                    {full_image("pinned"), "docker.io/library/pinned:latest"}});
        making.put(small_image("a", "2"), "docker.io/library/a:latest");
        making.remove("docker.io/library/b:latest");
        making.put(small_image("b", "2"), "docker.io/library/b:latest");
        making.remove("docker.io/library/c:latest");
        making.prune({"a", "docker.io/b"});
        making.put(small_image("e", "1"), "docker.io/library/e:latest");
        return closed(making);
    }

    /// Fills the journal until another is begun.
    static void rotate(Making &making) {
        const std::string before = making.newest_journal();
        for (int turn = 0; making.newest_journal() == before; ++turn) {
            require(turn < 1000, "a journal was never full");
            waybill::ImageSpec image = small_image("often", std::to_string(turn));
            image.annotations = {{"filling", std::string(4000, 'f')}};
            making.put(image, "docker.io/library/often:latest");
        }
        making.put(small_image("after", "the rotation"), "docker.io/library/after:latest");
    }

    Files rotated(Making &making) {
        making.put(small_image("before", "the rotation"), "docker.io/library/before:latest");
        rotate(making);
        making.close(); // Ends the snapshot, too.
        Files files = making.files();
        require(files.size() == 3 && files.count("journal.2") == 1, "a rotation has not ended");
        return files;
    }

    /// As a kill leaves it before the new snapshot has its name. Links keep what was replaced.
    Files two_journals(Making &making) {
        making.put(small_image("before", "the rotation"), "docker.io/library/before:latest");
        const fs::path kept = making.root().string() + "-kept";
        fs::create_directory(kept);
        for (const char *name : {"snapshot", "journal.1"})
            fs::create_hard_link(making.root() / name, kept / name);
        rotate(making);
        making.close();
        Files files = making.files();
        for (const char *name : {"snapshot", "journal.1"})
            files[name] = read_file(kept / name);
        return files;
    }

    Files killed(Making &making) {
        making.put(small_image("a", "1"), "docker.io/library/a:latest");
        making.put(small_image("b", "1"), "docker.io/library/b:latest");
        Files files = making.files();
        making.close();
        return files;
    }

    Files torn(Making &making) {
        making.put(small_image("a", "1"), "docker.io/library/a:latest");
        making.put({{small_image("b", "1"), "docker.io/library/b:latest"},
                    {small_image("c", "1"), "docker.io/library/c:latest"}});
        Files files = making.files();
        making.close();
        std::string &journal = files["journal.1"];
        journal.resize(journal.find_last_not_of('\0') + 1 - 100);
        making.expect_gone("docker.io/library/b:latest");
        making.expect_gone("docker.io/library/c:latest");
        return files;
    }

    /// An overwrite, a removal and a put that never had a predecessor are damaged.
    static Files damage_three(Making &making) {
        making.put({{small_image("a", "first"), "docker.io/library/a:latest"},
                    {small_image("b", "first"), "docker.io/library/b:latest"},
                    {small_image("sound", "first"), "docker.io/library/sound:latest"}});
        making.put(small_image("a", "overwritten"), "docker.io/library/a:latest");
        making.remove("docker.io/library/b:latest");
        making.put(small_image("new", "lost for good"), "docker.io/library/new:latest");
        making.put(small_image("later", "sound"), "docker.io/library/later:latest");
        making.close();
        Files files = making.files();
        std::string &journal = files["journal.1"];
        damage(journal, "overwritten");
        damage(journal, "lost for good");
        const std::size_t removal = journal.find("docker.io/library/b:latest",
                                                 journal.find("docker.io/library/b:latest") + 1);
        require(removal != std::string::npos, "a removal stands nowhere");
        journal[removal] = static_cast<char>(journal[removal] ^ 1);
        making.expect(small_image("a", "first"), "docker.io/library/a:latest", 1,
                      WAYBILL_IMAGE_UNCERTAIN);
        making.expect(small_image("b", "first"), "docker.io/library/b:latest", 1,
                      WAYBILL_IMAGE_RESURRECTED);
        making.expect_gone("docker.io/library/new:latest");
        return files;
    }
    Files damaged_journal(Making &making) { return damage_three(making); }

    Files damaged_snapshot(Making &making) {
        making.put({{small_image("a", "of the snapshot"), "docker.io/library/a:latest"},
                    {small_image("b", "lost there"), "docker.io/library/b:latest"}});
        rotate(making);
        making.close();
        Files files = making.files();
        damage(files["snapshot"], "lost there");
        making.expect_gone("docker.io/library/b:latest");
        return files;
    }

    /// Damage, mended: a snapshot that says so.
    static Files mend(Making &making) {
        write_store(making.root(), damage_three(making));
        making.open();
        making.put(small_image("a", "known again"), "docker.io/library/a:latest");
        return making.files();
    }
    Files degraded(Making &making) {
        (void)mend(making);
        return closed(making);
    }

    /// The acceptance is in the journal; the rotation that follows it has not ended.
    Files accepted(Making &making) {
        Files files = mend(making);
        const std::string journal = making.newest_journal();
        const fs::path kept = making.root().string() + "-kept";
        fs::create_hard_link(making.root() / journal, kept);
        making.accept_loss();
        making.close();
        files[journal] = read_file(kept);
        return files;
    }

    const waybill::Library &library_;
    fs::path out_;
    std::size_t count_ = 0;
};

} // namespace

int main(int argc, char **argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: %s LIBRARY DIRECTORY\n", argv[0]);
        return 2;
    }
    try {
        const waybill::Library library(argv[1]);
        Makers makers(library, argv[2]);
        makers.make_all();
        std::printf("%zu golden stores written to %s\n", makers.count(), argv[2]);
        return 0;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "golden_make: %s\n", error.what());
        return 1;
    }
}
