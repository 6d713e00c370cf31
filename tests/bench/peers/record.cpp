// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "record.h"

#include <cstdint>
#include <cstring>
#include <stdexcept>

namespace bench {
namespace {

void append_number(std::string &record, std::uint64_t number) {
    char bytes[sizeof number];
    std::memcpy(bytes, &number, sizeof number);
    record.append(bytes, sizeof bytes);
}

void append_length(std::string &record, std::size_t length) {
    const auto written = static_cast<std::uint16_t>(length);
    if (written != length)
        throw std::runtime_error("a text or list is too long for the flat encoding");
    char bytes[sizeof written];
    std::memcpy(bytes, &written, sizeof written);
    record.append(bytes, sizeof bytes);
}

void append_text(std::string &record, std::string_view text) {
    append_length(record, text.size());
    record += text;
}

std::string_view text_or_empty(const char *text) { return text ? text : ""; }

class Cursor final {
  public:
    explicit Cursor(std::string_view record) : left_(record) {}

    std::uint64_t number() {
        std::uint64_t number = 0;
        std::memcpy(&number, take(sizeof number).data(), sizeof number);
        return number;
    }
    std::size_t length() {
        std::uint16_t length = 0;
        std::memcpy(&length, take(sizeof length).data(), sizeof length);
        return length;
    }
    std::string_view text() { return take(length()); }
    void must_be_at_end() const {
        if (!left_.empty())
            throw std::runtime_error("a record goes on behind its end");
    }

  private:
    std::string_view take(std::size_t bytes) {
        if (bytes > left_.size())
            throw std::runtime_error("a record ends early");
        const std::string_view taken = left_.substr(0, bytes);
        left_.remove_prefix(bytes);
        return taken;
    }

    std::string_view left_;
};

} // namespace

std::string encode(const waybill_image_spec &image) {
    std::string record;
    record.reserve(1536);
    append_text(record, image.reference);
    append_text(record, image.target_digest);
    append_text(record, text_or_empty(image.target_media_type));
    append_number(record, image.target_size_bytes);
    append_text(record, text_or_empty(image.config_digest));
    append_text(record, text_or_empty(image.os));
    append_text(record, text_or_empty(image.architecture));
    append_length(record, image.layer_count);
    for (std::uint32_t i = 0; i < image.layer_count; ++i) {
        append_text(record, image.layers[i].digest);
        append_number(record, image.layers[i].size_bytes);
    }
    append_length(record, image.label_count);
    for (std::uint32_t i = 0; i < image.label_count; ++i) {
        append_text(record, image.labels[i].key);
        append_text(record, image.labels[i].value);
    }
    return record;
}

std::string encode(const waybill::ImageSpec &image) {
    std::string record;
    append_text(record, image.reference);
    append_text(record, image.target_digest);
    append_text(record, image.target_media_type);
    append_number(record, image.target_size_bytes);
    append_text(record, image.config_digest);
    append_text(record, image.os);
    append_text(record, image.architecture);
    append_length(record, image.layers.size());
    for (const waybill::Layer &layer : image.layers) {
        append_text(record, layer.digest);
        append_number(record, layer.size_bytes);
    }
    append_length(record, image.labels.size());
    for (const auto &[key, value] : image.labels) {
        append_text(record, key);
        append_text(record, value);
    }
    return record;
}

waybill::ImageSpec decode(std::string_view record) {
    Cursor cursor(record);
    waybill::ImageSpec image;
    image.reference = cursor.text();
    image.target_digest = cursor.text();
    image.target_media_type = cursor.text();
    image.target_size_bytes = cursor.number();
    image.config_digest = cursor.text();
    image.os = cursor.text();
    image.architecture = cursor.text();
    for (std::size_t layers = cursor.length(); layers > 0; --layers) {
        waybill::Layer layer;
        layer.digest = cursor.text();
        layer.size_bytes = cursor.number();
        image.layers.push_back(std::move(layer));
    }
    for (std::size_t labels = cursor.length(); labels > 0; --labels) {
        const std::string key(cursor.text());
        image.labels[key] = cursor.text();
    }
    cursor.must_be_at_end();
    return image;
}

std::size_t walk(std::string_view record) {
    Cursor cursor(record);
    std::size_t sum = 0;
    const auto text = [&] {
        const std::string_view found = cursor.text();
        sum += found.size() + static_cast<unsigned char>(found.empty() ? 0 : found.back());
    };
    text(); // reference
    text(); // target digest
    text(); // media type
    sum += cursor.number();
    text(); // config digest
    text(); // os
    text(); // architecture
    for (std::size_t layers = cursor.length(); layers > 0; --layers) {
        text();
        sum += cursor.number();
    }
    for (std::size_t labels = cursor.length(); labels > 0; --labels) {
        text();
        text();
    }
    cursor.must_be_at_end();
    return sum;
}

std::string difference(const waybill::ImageSpec &put, const waybill::ImageSpec &got) {
    const auto differs = [](const std::string &field, const std::string &a, const std::string &b) {
        return a == b ? std::string() : field + ": put \"" + a + "\", got \"" + b + "\"";
    };
    std::string found;
    const auto compare = [&](const std::string &field, const std::string &a, const std::string &b) {
        if (found.empty())
            found = differs(field, a, b);
    };
    compare("reference", put.reference, got.reference);
    compare("target digest", put.target_digest, got.target_digest);
    compare("media type", put.target_media_type, got.target_media_type);
    compare("size", std::to_string(put.target_size_bytes), std::to_string(got.target_size_bytes));
    compare("config digest", put.config_digest, got.config_digest);
    compare("os", put.os, got.os);
    compare("architecture", put.architecture, got.architecture);
    compare("layers", std::to_string(put.layers.size()), std::to_string(got.layers.size()));
    for (std::size_t i = 0; found.empty() && i < put.layers.size(); ++i) {
        const std::string layer = "layer " + std::to_string(i);
        compare(layer, put.layers[i].digest, got.layers[i].digest);
        compare(layer + " size", std::to_string(put.layers[i].size_bytes),
                std::to_string(got.layers[i].size_bytes));
    }
    compare("labels", std::to_string(put.labels.size()), std::to_string(got.labels.size()));
    for (const auto &[key, value] : put.labels) {
        const auto at = got.labels.find(key);
        compare("label " + key, value, at == got.labels.end() ? "(none)" : at->second);
    }
    return found;
}

std::string to_hex(std::string_view bytes) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string text;
    text.reserve(2 * bytes.size());
    for (const char c : bytes) {
        text += digits[static_cast<unsigned char>(c) >> 4];
        text += digits[static_cast<unsigned char>(c) & 15];
    }
    return text;
}

std::string from_hex(std::string_view text) {
    const auto digit = [](char c) {
        if (c >= '0' && c <= '9')
            return c - '0';
        if (c >= 'a' && c <= 'f')
            return c - 'a' + 10;
        throw std::runtime_error("a record is not in hexadecimal");
    };
    if (text.size() % 2 != 0)
        throw std::runtime_error("a record has half a byte");
    std::string bytes;
    bytes.reserve(text.size() / 2);
    for (std::size_t i = 0; i < text.size(); i += 2)
        bytes += static_cast<char>(digit(text[i]) << 4 | digit(text[i + 1]));
    return bytes;
}

} // namespace bench
