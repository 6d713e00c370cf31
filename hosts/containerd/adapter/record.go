// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package adapter

// #include "calls.h"
import "C"

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/images"
	"github.com/containerd/containerd/labels"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Record is an image as the store holds it.
type Record struct {
	Namespace string
	Revision  uint64 // of the write that stored it
	Image     images.Image
	Contents  Contents // only where it was asked for
	// Incomplete tells that a layer was not on disk when the store was opened.
	Incomplete bool
}

// --- what a record may be ------------------------------------------------------------------------

// The library's limits, which waybill.h states. They are checked before anything is done for an
// image; the library checks them again.
const (
	nameBytesMax      = 1024
	mediaTypeBytesMax = 255
	pairBytesMax      = 4096
	pairsMax          = 1024
)

func invalid(format string, arguments ...interface{}) error {
	return fmt.Errorf(format+": %w", append(arguments, errdefs.ErrInvalidArgument)...)
}

// isText tells whether C can take it, and the library will.
func isText(text string) bool { return utf8.ValidString(text) && strings.IndexByte(text, 0) < 0 }

// checked says what containerd's own store says of a wrong image, in the same words, then what only
// this one says; and drops what neither keeps: labels and annotations without a value.
func checked(image images.Image) (images.Image, error) {
	if image.Name == "" {
		return images.Image{}, invalid("image name must not be empty")
	}
	for key, value := range image.Labels {
		if err := labels.Validate(key, value); err != nil {
			return images.Image{}, fmt.Errorf("image.Labels: %w", err)
		}
	}
	target := image.Target
	if err := target.Digest.Validate(); err != nil {
		return images.Image{}, invalid("Target.Digest %q invalid: %v", target.Digest, err)
	}
	if target.Size <= 0 {
		return images.Image{}, invalid("Target.Size must be greater than zero")
	}
	if target.MediaType == "" {
		return images.Image{}, invalid("Target.MediaType must be set")
	}
	image.Labels = withValues(image.Labels)
	image.Target = ocispec.Descriptor{
		MediaType:   target.MediaType,
		Digest:      target.Digest,
		Size:        target.Size,
		Annotations: withValues(target.Annotations),
	}
	return image, withinLimits(&image)
}

func withinLimits(image *images.Image) error {
	if len(image.Name) > nameBytesMax || !isText(image.Name) {
		return invalid("image name of %d bytes: at most %d of UTF-8 without NUL are allowed", len(image.Name), nameBytesMax)
	}
	if media := image.Target.MediaType; len(media) > mediaTypeBytesMax || !isText(media) {
		return invalid("Target.MediaType of %d bytes: at most %d of UTF-8 without NUL are allowed", len(media), mediaTypeBytesMax)
	}
	for what, pairs := range map[string]map[string]string{"Labels": image.Labels, "Target.Annotations": image.Target.Annotations} {
		if len(pairs) > pairsMax {
			return invalid("image.%s: %d of them, at most %d are allowed", what, len(pairs), pairsMax)
		}
		for key, value := range pairs {
			if len(key)+len(value) > pairBytesMax || !isText(key) || !isText(value) {
				return invalid("image.%s: %.64q: at most %d bytes of UTF-8 without NUL are allowed", what, key, pairBytesMax)
			}
		}
	}
	return nil
}

func withValues(pairs map[string]string) map[string]string {
	var kept map[string]string
	for key, value := range pairs {
		if value == "" {
			continue
		}
		if kept == nil {
			kept = make(map[string]string, len(pairs))
		}
		kept[key] = value
	}
	return kept
}

// changed is what an update of `old` with `image` makes: all of it, or the named fields.
func changed(old, image images.Image, fieldpaths []string) (images.Image, error) {
	if len(fieldpaths) == 0 {
		image.CreatedAt = old.CreatedAt
		return checked(image)
	}
	next := old
	next.Labels = copyOf(old.Labels)
	next.Target.Annotations = copyOf(old.Target.Annotations)
	for _, path := range fieldpaths {
		if key := strings.TrimPrefix(path, "labels."); key != path {
			next.Labels[key] = image.Labels[key]
			continue
		}
		if key := strings.TrimPrefix(path, "annotations."); key != path {
			next.Target.Annotations[key] = image.Target.Annotations[key]
			continue
		}
		switch path {
		case "labels":
			next.Labels = copyOf(image.Labels)
		case "target":
			next.Target = image.Target
			next.Target.Annotations = copyOf(image.Target.Annotations)
		case "annotations":
			next.Target.Annotations = copyOf(image.Target.Annotations)
		default:
			return images.Image{}, fmt.Errorf("cannot update %q field on image %q: %w", path,
				image.Name, errdefs.ErrInvalidArgument)
		}
	}
	return checked(next)
}

func copyOf(pairs map[string]string) map[string]string {
	copied := make(map[string]string, len(pairs)+1)
	for key, value := range pairs {
		copied[key] = value
	}
	return copied
}

// --- to and from plain bytes ---------------------------------------------------------------------

const plainHeadBytes = int(C.sizeof_plain_image)

// plainWriter makes a plain_image. Its buffer begins with room for the head.
type plainWriter struct {
	buffer []byte
	layers []C.uint64_t
}

func (w *plainWriter) text(text string) {
	w.buffer = append(append(w.buffer, text...), 0)
}

func (w *plainWriter) pairs(pairs map[string]string) {
	for key, value := range pairs {
		w.text(key)
		w.text(value)
	}
}

// write makes the plain form of an image, which has been checked, to be stored under a condition.
func (w *plainWriter) write(namespace string, image *images.Image, contents Contents,
	condition C.uint32_t, expected uint64) {
	w.buffer = append(w.buffer[:0], make([]byte, plainHeadBytes)...)
	w.layers = w.layers[:0]
	w.text(namespace)
	w.text(image.Name)
	w.text(image.Target.Digest.String())
	w.text(image.Target.MediaType)
	w.text(contents.Config.String())
	w.pairs(image.Labels)
	w.pairs(image.Target.Annotations)
	for _, layer := range contents.Layers {
		w.text(layer.Digest.String())
		w.text(layer.MediaType)
		w.layers = append(w.layers, C.uint64_t(layer.Size))
	}
	*w.head() = C.plain_image{
		revision:         C.uint64_t(expected),
		target_bytes:     C.uint64_t(image.Target.Size),
		created_ns:       C.int64_t(image.CreatedAt.UnixNano()),
		updated_ns:       C.int64_t(image.UpdatedAt.UnixNano()),
		condition:        condition,
		label_count:      C.uint32_t(len(image.Labels)),
		annotation_count: C.uint32_t(len(image.Target.Annotations)),
		layer_count:      C.uint32_t(len(contents.Layers)),
	}
}

func (w *plainWriter) head() *C.plain_image {
	return (*C.plain_image)(unsafe.Pointer(&w.buffer[0]))
}

// read takes one image off the front of `plain`, and says where the next one stands. All texts are
// copied, but those that the caller knows: who looks for a name need not be told of it.
func read(plain []byte, name string, record *Record) (next []byte) {
	head := (*C.plain_image)(unsafe.Pointer(&plain[0]))
	known := plain[plainHeadBytes:head.bytes]
	if name != "" {
		known = known[bytes.IndexByte(known, 0)+1:] // The namespace.
		known = known[len(name)+1:]
	}
	// One copy for all texts of the image: they live and die together.
	texts := string(known)
	text := func() string {
		end := strings.IndexByte(texts, 0)
		first := texts[:end]
		texts = texts[end+1:]
		return first
	}
	pairs := func(count C.uint32_t) map[string]string {
		if count == 0 {
			return nil
		}
		read := make(map[string]string, int(count))
		for i := C.uint32_t(0); i < count; i++ {
			key := text()
			read[key] = text()
		}
		return read
	}
	record.Revision = uint64(head.revision)
	record.Incomplete = head.condition&C.WAYBILL_IMAGE_INCOMPLETE != 0
	image := &record.Image
	if image.Name = name; name == "" {
		record.Namespace = text()
		image.Name = text()
	}
	image.Target.Digest = digest.Digest(text())
	image.Target.MediaType = text()
	image.Target.Size = int64(head.target_bytes)
	image.CreatedAt = time.Unix(0, int64(head.created_ns)).UTC()
	image.UpdatedAt = time.Unix(0, int64(head.updated_ns)).UTC()
	config := digest.Digest(text())
	image.Labels = pairs(head.label_count)
	image.Target.Annotations = pairs(head.annotation_count)
	record.Contents = Contents{}
	if head.layer_count > 0 {
		record.Contents.Config = config
	}
	for i := C.uint32_t(0); i < head.layer_count; i++ {
		layer := ocispec.Descriptor{Digest: digest.Digest(text()), MediaType: text()}
		layer.Size, _ = strconv.ParseInt(text(), 10, 64)
		record.Contents.Layers = append(record.Contents.Layers, layer)
	}
	return plain[head.bytes:]
}

// alignedBuffer is memory for plain images, which begin with numbers of eight bytes.
func alignedBuffer(size int) []byte {
	words := make([]uint64, (size+7)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)
}
