// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
// The algorithm of the metadata store in Mesos' docker provisioner, written anew: a hash map, and
// at every put the whole map as one protobuf into a temporary file that is renamed over the old
// one. Upstream syncs nothing. MAP_FILE_SYNC makes a variant, not upstream's, that syncs the file
// before the rename and the directory after it. Upstream hands each call to an actor; here a mutex
// stands in its place.
#include "engine.h"

#include "images.pb.h"

#include <fcntl.h>
#include <mutex>
#include <system_error>
#include <unistd.h>
#include <unordered_map>
#include <unordered_set>

namespace bench {
namespace {

#ifdef MAP_FILE_SYNC
constexpr bool sync_files = true;
#else
constexpr bool sync_files = false;
#endif

void must(bool good, const std::string &path) {
    if (!good)
        throw std::system_error(errno, std::generic_category(), path);
}

/// A descriptor that is closed with the object.
class Descriptor final {
  public:
    Descriptor(const std::string &path, int flags)
        : path_(path), fd_(::open(path.c_str(), flags | O_CLOEXEC, 0600)) {
        must(fd_ >= 0, path);
    }
    ~Descriptor() { ::close(fd_); }
    Descriptor(const Descriptor &) = delete;
    Descriptor &operator=(const Descriptor &) = delete;

    int get() const { return fd_; }
    void sync() { must(::fsync(fd_) == 0, path_); }

  private:
    std::string path_;
    int fd_;
};

std::string text_or_empty(const char *text) { return text ? text : ""; }

proto::Image to_proto(const waybill_image_spec &from) {
    proto::Image image;
    image.set_name(from.reference);
    image.set_target_digest(from.target_digest);
    image.set_media_type(text_or_empty(from.target_media_type));
    image.set_size_bytes(from.target_size_bytes);
    image.set_config_digest(text_or_empty(from.config_digest));
    image.set_os(text_or_empty(from.os));
    image.set_architecture(text_or_empty(from.architecture));
    for (std::uint32_t i = 0; i < from.layer_count; ++i) {
        proto::Layer *layer = image.add_layers();
        layer->set_digest(from.layers[i].digest);
        layer->set_size_bytes(from.layers[i].size_bytes);
    }
    for (std::uint32_t i = 0; i < from.label_count; ++i) {
        proto::Label *label = image.add_labels();
        label->set_key(from.labels[i].key);
        label->set_value(from.labels[i].value);
    }
    return image;
}

std::size_t sum_of(const std::string &text) {
    return text.size() + static_cast<unsigned char>(text.empty() ? 0 : text.back());
}

std::size_t read_image(const proto::Image &image) {
    std::size_t sum = sum_of(image.name()) + sum_of(image.target_digest()) +
                      sum_of(image.media_type()) + image.size_bytes() +
                      sum_of(image.config_digest()) + sum_of(image.os()) +
                      sum_of(image.architecture());
    for (const proto::Layer &layer : image.layers())
        sum += sum_of(layer.digest()) + layer.size_bytes();
    for (const proto::Label &label : image.labels())
        sum += sum_of(label.key()) + sum_of(label.value());
    return sum;
}

using Map = std::unordered_map<std::string, proto::Image>;

class MapReader final : public Reader {
  public:
    MapReader(const Map &images, std::mutex &mutex) : images_(images), mutex_(mutex) {}

    void get(const std::string &name) override {
        const std::lock_guard lock(mutex_);
        image_ = std::make_unique<proto::Image>(images_.at(name));
    }
    std::size_t read_fields() override { return read_image(*image_); }
    waybill::ImageSpec record() override {
        waybill::ImageSpec spec;
        spec.reference = image_->name();
        spec.target_digest = image_->target_digest();
        spec.target_media_type = image_->media_type();
        spec.target_size_bytes = image_->size_bytes();
        spec.config_digest = image_->config_digest();
        spec.os = image_->os();
        spec.architecture = image_->architecture();
        for (const proto::Layer &from : image_->layers()) {
            waybill::Layer layer;
            layer.digest = from.digest();
            layer.size_bytes = from.size_bytes();
            spec.layers.push_back(std::move(layer));
        }
        for (const proto::Label &label : image_->labels())
            spec.labels[label.key()] = label.value();
        return spec;
    }

  private:
    const Map &images_;
    std::mutex &mutex_;
    std::unique_ptr<proto::Image> image_;
};

class MapFile final : public Engine {
  public:
    void open(const std::string &directory) override;
    void close() override { images_.clear(); }
    void fill(std::size_t count) override {
        images_.clear();
        in_thousands(count, [&](const PreparedImages &images) {
            for (std::size_t i = 0; i < images.size(); ++i)
                images_.insert_or_assign(images[i].reference, to_proto(images[i]));
        });
        persist();
    }
    void put(const waybill_image_spec &image) override {
        proto::Image stored = to_proto(image);
        const std::lock_guard lock(mutex_);
        images_.insert_or_assign(image.reference, std::move(stored));
        persist();
    }
    void remove(const std::string &name) override {
        const std::lock_guard lock(mutex_);
        images_.erase(name);
        persist();
    }
    std::size_t prune(const std::vector<std::string> &keep) override {
        const std::unordered_set<std::string> kept(keep.begin(), keep.end());
        const std::lock_guard lock(mutex_);
        const std::size_t removed = std::erase_if(
            images_, [&](const Map::value_type &entry) { return !kept.contains(entry.first); });
        persist();
        return removed;
    }
    std::size_t list() override {
        const std::lock_guard lock(mutex_);
        for (const auto &[name, image] : images_)
            sum_ += read_image(proto::Image(image));
        return images_.size();
    }
    std::unique_ptr<Reader> reader() override {
        return std::make_unique<MapReader>(images_, mutex_);
    }

  private:
    void persist();

    std::string directory_, path_;
    std::mutex mutex_;
    Map images_;
    std::size_t sum_ = 0;
};

void MapFile::open(const std::string &directory) {
    directory_ = directory;
    path_ = directory + "/images";
    if (::access(path_.c_str(), F_OK) != 0)
        return;
    Descriptor file(path_, O_RDONLY);
    proto::Images all;
    if (!all.ParseFromFileDescriptor(file.get()))
        throw std::runtime_error(path_ + ": cannot be parsed");
    for (const proto::Image &image : all.images())
        images_[image.name()] = image;
}

void MapFile::persist() {
    proto::Images all;
    for (const auto &[name, image] : images_)
        *all.add_images() = image;
    const std::string temporary = path_ + ".new";
    {
        Descriptor file(temporary, O_CREAT | O_TRUNC | O_WRONLY);
        must(all.SerializeToFileDescriptor(file.get()), temporary);
        if (sync_files)
            file.sync();
    }
    must(::rename(temporary.c_str(), path_.c_str()) == 0, path_);
    if (sync_files)
        Descriptor(directory_, O_RDONLY | O_DIRECTORY).sync();
}

} // namespace

std::unique_ptr<Engine> make_engine() { return std::make_unique<MapFile>(); }

} // namespace bench
