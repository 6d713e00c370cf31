// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Opens golden stores, whoever wrote them: golden_test LIBRARY STORE… Each is copied first. What is
// in it must be what its expected.json says, read-only and for writing; then it must take a put and
// keep it.
#include "image_description.h"
#include "store_files.h"

#include <cstdio>
#include <exception>

using namespace golden;
namespace fs = std::filesystem;

namespace {

void require_same(const json &expected, const json &found, const std::string &what) {
    if (expected != found)
        throw std::runtime_error(what + " differs: " + json::diff(expected, found).dump(2));
}

class Trial final {
  public:
    Trial(const waybill::Library &library, const fs::path &store)
        : library_(library), files_(read_store(store)),
          expected_(json::parse(read_file(store / "expected.json"))) {
        require(files_.size() >= 2, store.string() + ": holds no store");
        write_store(root(), files_);
    }

    void run() {
        readersSeeWhatWasWritten();
        writersSeeWhatWasWritten();
        onePutMoreIsKept();
    }

  private:
    fs::path root() const { return scratch_ / "store"; }

    waybill::Store open(bool read_only, json *report) const {
        const json config{{"root", root()}, {"readOnly", read_only}};
        waybill::Store store = waybill::Store::create(library_, config.dump());
        *report = describe_report(store.recover().get().report_json);
        return store;
    }

    void readersSeeWhatWasWritten() {
        json report;
        waybill::Store store = open(true, &report);
        require_same(expected_.at("images"), describe_images(store), "what a reader sees");
        for (const char *member : {"images", "revision", "references", "degraded", "damage",
                                   "uncertain", "possiblyResurrected"})
            require_same(expected_.at("report").at(member), report.at(member),
                         std::string("a reader's report: ") + member);
        store.destroy();
        require(read_store(root()) == files_, "reading changed the files");
    }

    void writersSeeWhatWasWritten() {
        json report;
        waybill::Store store = open(false, &report);
        require_same(expected_.at("images"), describe_images(store), "what a writer sees");
        require_same(expected_.at("report"), report, "a writer's report");
        if (report.at("degraded").get<bool>())
            requirePruneRefuses(store);
        store.destroy();
    }

    static void requirePruneRefuses(waybill::Store &store) {
        try {
            (void)store.prune_all_namespaces({}).get();
        } catch (const waybill::Error &error) {
            require(error.code() == WAYBILL_EDEGRADED, error.what());
            return;
        }
        throw std::runtime_error("a degraded store was pruned");
    }

    void onePutMoreIsKept() {
        waybill::ImageSpec image;
        image.name_space = "zzz"; // Behind all others.
        image.reference = "put/by:golden_test";
        image.target_digest = "sha256:" + std::string(64, 'e');
        image.layers = {{"a-layer", ""}};
        image.created_ns = image.updated_ns = 1;
        json report;
        {
            waybill::Store store = open(false, &report);
            require(report.at("damage").empty(), "what was mended is damaged again");
            const std::uint64_t revision = store.put(image).get().revision;
            require(revision == expected_.at("report").at("revision").get<std::uint64_t>() + 1,
                    "a put's revision is not the next one");
            store.destroy();
        }
        waybill::Store store = open(false, &report);
        const auto put = store.get(image.reference, true, image.name_space);
        require(put.has_value(), "the image that was put is not there");
        json images = expected_.at("images");
        images.push_back(describe(*put));
        require_same(images, describe_images(store), "what is there after a put");
        require_same(expected_.at("report").at("degraded"), report.at("degraded"), "degraded");
        require(report.at("damage").empty(), "a put did damage");
        store.destroy();
    }

    const waybill::Library &library_;
    ScratchDirectory scratch_;
    Files files_;
    json expected_;
};

} // namespace

int main(int argc, char **argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: %s LIBRARY STORE…\n", argv[0]);
        return 2;
    }
    int failed = 0;
    try {
        const waybill::Library library(argv[1]);
        for (int i = 2; i < argc; ++i) {
            try {
                Trial(library, argv[i]).run();
            } catch (const std::exception &error) {
                std::fprintf(stderr, "%s: %s\n", argv[i], error.what());
                ++failed;
            }
        }
    } catch (const std::exception &error) {
        std::fprintf(stderr, "golden_test: %s\n", error.what());
        return 1;
    }
    std::printf("%d golden stores opened, read, put into and opened again; wrong: %d\n", argc - 2,
                failed);
    return failed == 0 ? 0 : 1;
}
