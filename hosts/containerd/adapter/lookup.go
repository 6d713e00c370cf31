// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package adapter

// #include "calls.h"
// #include <stdlib.h>
import "C"

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"unsafe"

	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/filters"
	"github.com/containerd/containerd/images"
)

// scratch is what a lookup needs, kept from one to the next.
type scratch struct {
	key    []byte
	image  []byte
	needed C.size_t
	error  C.waybill_error
}

var scratches = sync.Pool{New: func() interface{} {
	return &scratch{image: alignedBuffer(2048), error: *newError()}
}}

func notFound(name string) error {
	return fmt.Errorf("image %q: %w", name, errdefs.ErrNotFound)
}

// setKey puts both names behind each other, each with its NUL.
func (s *scratch) setKey(namespace, name string) (cNamespace, cName *C.char, err error) {
	if strings.IndexByte(name, 0) >= 0 {
		return nil, nil, notFound(name)
	}
	s.key = append(append(append(append(s.key[:0], namespace...), 0), name...), 0)
	return (*C.char)(unsafe.Pointer(&s.key[0])), (*C.char)(unsafe.Pointer(&s.key[len(namespace)+1])), nil
}

// find fills `record`, which is large, where the caller has it; its contents if they are wanted.
func (s *Store) find(namespace, name string, withContents bool, record *Record) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	with := scratches.Get().(*scratch)
	defer scratches.Put(with)
	cNamespace, cName, err := with.setKey(namespace, name)
	if err != nil {
		return err
	}
	var layers C.uint32_t
	if withContents {
		layers = 1
	}
	for {
		out, needed, e := (*C.char)(unsafe.Pointer(&with.image[0])), &with.needed, &with.error
		status := C.call_get(s.store, cNamespace, cName, layers, out, C.size_t(len(with.image)), needed, e)
		switch status {
		case C.WAYBILL_OK:
		case C.WAYBILL_ENOTFOUND, C.WAYBILL_EINVAL, C.WAYBILL_ELIMIT: // No image can have the last two.
			return notFound(name)
		default:
			return fmt.Errorf("image %q: %w", name, failureOf(status, &with.error))
		}
		if int(with.needed) <= len(with.image) {
			read(with.image, name, record)
			return nil
		}
		with.image = alignedBuffer(int(with.needed) * 2)
	}
}

// Get returns the image of this name.
func (s *Store) Get(ctx context.Context, name string) (images.Image, error) {
	namespace, err := namespaceOf(ctx)
	if err != nil {
		return images.Image{}, err
	}
	var record Record
	err = s.find(namespace, name, false, &record)
	return record.Image, err
}

// List returns the images that any of the filters matches, sorted by name.
func (s *Store) List(ctx context.Context, fs ...string) ([]images.Image, error) {
	namespace, err := namespaceOf(ctx)
	if err != nil {
		return nil, err
	}
	filter, err := filters.ParseAll(fs...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", err.Error(), errdefs.ErrInvalidArgument)
	}
	var matching []images.Image
	err = s.each(namespace, false, func(record Record) {
		if filter.Match(adapt(record.Image)) {
			matching = append(matching, record.Image)
		}
	})
	return matching, err
}

// Each shows all images of a namespace, or of all of them if it is "", as they were at one moment.
// `show` must not call the store.
func (s *Store) Each(namespace string, show func(Record)) error {
	return s.each(namespace, true, show)
}

func (s *Store) each(namespace string, withContents bool, show func(Record)) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	var cNamespace *C.char
	if namespace != "" {
		cNamespace = C.CString(namespace)
		defer C.free(unsafe.Pointer(cNamespace))
	}
	var layers C.uint32_t
	if withContents {
		layers = 1
	}
	var plain *C.char
	var size C.size_t
	e := newError()
	if status := C.call_list(s.store, cNamespace, layers, &plain, &size, e); status != C.WAYBILL_OK {
		return failureOf(status, e)
	}
	defer C.call_text_free(plain)
	rest := unsafe.Slice((*byte)(unsafe.Pointer(plain)), int(size))
	for len(rest) > 0 {
		var record Record
		rest = read(rest, "", &record)
		show(record)
	}
	return nil
}

// adapt shows an image to a filter, with the fields that containerd documents.
func adapt(image images.Image) filters.Adaptor {
	text := func(value string) (string, bool) { return value, value != "" }
	pair := func(pairs map[string]string, path []string) (string, bool) {
		value, found := pairs[strings.Join(path, ".")]
		return value, found
	}
	return filters.AdapterFunc(func(path []string) (string, bool) {
		switch {
		case len(path) == 0:
		case path[0] == "name":
			return text(image.Name)
		case path[0] == "target" && len(path) > 1 && path[1] == "digest":
			return text(image.Target.Digest.String())
		case path[0] == "target" && len(path) > 1 && path[1] == "mediatype":
			return text(image.Target.MediaType)
		case path[0] == "labels":
			return pair(image.Labels, path[1:])
		case path[0] == "annotations":
			return pair(image.Target.Annotations, path[1:])
		}
		return "", false
	})
}
