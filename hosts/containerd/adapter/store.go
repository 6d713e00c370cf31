// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package adapter

// #include "calls.h"
// #include <stdlib.h>
import "C"

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/cgo"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/containerd/containerd/content"
	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/filters"
	"github.com/containerd/containerd/images"
	"github.com/containerd/containerd/namespaces"
	"github.com/sirupsen/logrus"
)

// Config says which store to open, and how.
type Config struct {
	// Root is the directory of the store. It is made if it does not exist.
	Root string
	// ContentRoot is containerd's content directory (…/io.containerd.content.v1.content), where
	// recovery looks for the layers that images depend on. "" does not look.
	ContentRoot string
	// Provider shows manifests, so that the layers of an image are recorded with it. nil: the
	// target stands for them.
	Provider content.Provider
	// Log gets the library's log lines, on threads of the library. It must not call the store.
	Log func(severity int, message string)
}

// Store is an open store. It implements images.Store; Held does, too, and keeps content alive.
// All methods may be called by any goroutine.
type Store struct {
	store       C.call_store
	completions *completions
	log         cgo.Handle
	provider    content.Provider

	// Calls hold it shared, Close alone: a host that stops may still be answering its clients.
	use    sync.RWMutex
	closed bool

	// Recovery is what opening the store found: images, damage, … as the library reports it.
	Recovery map[string]interface{}
}

var _ images.Store = (*Store)(nil)

// LogTo makes the library's log lines lines of this log.
func LogTo(log *logrus.Entry) func(severity int, message string) {
	return func(severity int, message string) {
		switch {
		case severity <= C.WAYBILL_LOG_ERROR:
			log.Error(message)
		case severity <= C.WAYBILL_LOG_WARNING:
			log.Warn(message)
		default:
			log.Info(message)
		}
	}
}

//export waybillLog
func waybillLog(handle C.uintptr_t, severity C.int32_t, message *C.char) {
	cgo.Handle(handle).Value().(func(int, string))(int(severity), C.GoString(message))
}

// Open opens a store for reading and writing, mends what a crash left, and returns when all images
// are in memory.
func (l *Library) Open(config Config) (*Store, error) {
	settings := map[string]interface{}{"root": config.Root, "references": "opaque"}
	if config.ContentRoot != "" {
		settings["layers"] = map[string]string{"root": config.ContentRoot, "layout": "oci"}
	}
	text, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	log := config.Log
	if log == nil {
		log = func(int, string) {}
	}
	s := &Store{provider: config.Provider, log: cgo.NewHandle(log)}
	cText := C.CString(string(text))
	defer C.free(unsafe.Pointer(cText))
	e := newError()
	if status := C.call_create(l.api, cText, C.uintptr_t(s.log), &s.store, e); status != C.WAYBILL_OK {
		s.log.Delete()
		return nil, fmt.Errorf("store %s: %w", config.Root, failureOf(status, e))
	}
	if err := s.recover(); err != nil {
		C.call_destroy(s.store, nil)
		C.call_free(s.store)
		s.log.Delete()
		return nil, fmt.Errorf("store %s: %w", config.Root, err)
	}
	return s, nil
}

func (s *Store) recover() error {
	var report *C.char
	e := newError()
	if status := C.call_recover(s.store, &report, e); status != C.WAYBILL_OK {
		return failureOf(status, e)
	}
	err := json.Unmarshal([]byte(C.GoString(report)), &s.Recovery)
	C.call_text_free(report)
	if err == nil {
		s.completions, err = newCompletions(s.store)
	}
	return err
}

// lastNamespace is one that has been found valid: nearly all calls are of the same, and containerd's
// check is an expression that takes a quarter of a lookup.
var lastNamespace atomic.Value

func namespaceOf(ctx context.Context) (string, error) {
	namespace, _ := namespaces.Namespace(ctx)
	if namespace != "" && namespace == lastNamespace.Load() {
		return namespace, nil
	}
	namespace, err := namespaces.NamespaceRequired(ctx)
	if err == nil {
		lastNamespace.Store(namespace)
	}
	return namespace, err
}

// enter is for every call that uses the open store; leave for when it has ended.
func (s *Store) enter() error {
	s.use.RLock()
	if s.closed {
		s.use.RUnlock()
		return fmt.Errorf("the store is closed: %w", errdefs.ErrUnavailable)
	}
	return nil
}

func (s *Store) leave() { s.use.RUnlock() }

// Close completes what is under way and gives the store's lock back. Calls that come later fail.
func (s *Store) Close() error {
	s.use.Lock()
	defer s.use.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	e := newError()
	if status := C.call_destroy(s.store, e); status != C.WAYBILL_OK {
		return failureOf(status, e)
	}
	s.completions.close()
	C.call_free(s.store)
	s.log.Delete()
	return nil
}

// mayHaveLost tells that a record that is not here may have been, or may come back: the disk failed,
// or damage was found and the loss was not accepted.
func (s *Store) mayHaveLost() (bool, error) {
	statistics, err := s.Statistics()
	return statistics["degraded"] == true || statistics["readOnly"] == true, err
}

// Statistics are the library's counters and sizes, by name.
func (s *Store) Statistics() (map[string]interface{}, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	name := C.CString("stats")
	defer C.free(unsafe.Pointer(name))
	var report *C.char
	e := newError()
	if status := C.call_report(s.store, name, &report, e); status != C.WAYBILL_OK {
		return nil, failureOf(status, e)
	}
	defer C.call_text_free(report)
	var statistics map[string]interface{}
	err := json.Unmarshal([]byte(C.GoString(report)), &statistics)
	return statistics, err
}

// --- reading -------------------------------------------------------------------------------------

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

// --- writing -------------------------------------------------------------------------------------

var plainWriters = sync.Pool{New: func() interface{} {
	return &plainWriter{buffer: alignedBuffer(2048)}
}}

// put stores an image that has been checked, and returns when it is on disk. What has begun is not
// cut short: whether it happened would not be known.
func (s *Store) put(ctx context.Context, namespace string, image *images.Image, contents Contents,
	condition C.uint32_t, expected uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	writer := plainWriters.Get().(*plainWriter)
	defer plainWriters.Put(writer)
	writer.write(namespace, image, contents, condition, expected)
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	var layerBytes *C.uint64_t
	if len(writer.layers) > 0 {
		layerBytes = &writer.layers[0]
	}
	outcome := s.completions.do(func(token C.uint64_t, now *C.plain_outcome) C.int {
		return C.call_put(s.store, token, writer.head(), layerBytes, now)
	})
	if outcome.failure != nil {
		return outcome.failure
	}
	return nil
}

// Create stores an image under a name that is free. Of several at once, the library lets one win.
func (s *Store) Create(ctx context.Context, image images.Image) (images.Image, error) {
	namespace, err := namespaceOf(ctx)
	if err != nil {
		return images.Image{}, err
	}
	image, err = checked(image)
	if err != nil {
		return images.Image{}, err
	}
	contents, err := contentsOf(ctx, s.provider, image.Target)
	if err != nil {
		return images.Image{}, fmt.Errorf("image %q: %w", image.Name, err)
	}
	image.CreatedAt = time.Now().UTC()
	image.UpdatedAt = image.CreatedAt
	if err := s.put(ctx, namespace, &image, contents, C.WAYBILL_PUT_IF_ABSENT, 0); err != nil {
		if errdefs.IsAlreadyExists(err) {
			err = errdefs.ErrAlreadyExists
		}
		return images.Image{}, fmt.Errorf("image %q: %w", image.Name, err)
	}
	return image, nil
}

// Import stores an image as it is, its times included, whether or not the name is free.
func (s *Store) Import(ctx context.Context, image images.Image) error {
	namespace, err := namespaceOf(ctx)
	if err != nil {
		return err
	}
	if image, err = checked(image); err != nil {
		return err
	}
	contents, err := contentsOf(ctx, s.provider, image.Target)
	if err != nil {
		return err
	}
	return s.put(ctx, namespace, &image, contents, C.WAYBILL_PUT_ANY, 0)
}

// Update replaces an image, or only the named fields of it, and keeps its time of creation.
func (s *Store) Update(ctx context.Context, image images.Image, fieldpaths ...string) (images.Image, error) {
	return s.update(ctx, image, fieldpaths, func(images.Image, images.Image) error { return nil })
}

// update calls `prepare` with the old and the new image before it writes. If the record changed
// between reading and writing, all of it is done again.
func (s *Store) update(ctx context.Context, image images.Image, fieldpaths []string,
	prepare func(old, next images.Image) error) (images.Image, error) {
	namespace, err := namespaceOf(ctx)
	if err != nil {
		return images.Image{}, err
	}
	if image.Name == "" {
		return images.Image{}, fmt.Errorf("image name is required for update: %w", errdefs.ErrInvalidArgument)
	}
	for {
		var record Record
		if err := s.find(namespace, image.Name, true, &record); err != nil {
			return images.Image{}, err
		}
		next, err := changed(record.Image, image, fieldpaths)
		if err != nil {
			return images.Image{}, err
		}
		contents := record.Contents
		if next.Target.Digest != record.Image.Target.Digest || contents.standsForItself(next.Target) {
			if contents, err = contentsOf(ctx, s.provider, next.Target); err != nil {
				return images.Image{}, fmt.Errorf("image %q: %w", image.Name, err)
			}
		}
		next.UpdatedAt = time.Now().UTC()
		if err := prepare(record.Image, next); err != nil {
			return images.Image{}, err
		}
		err = s.put(ctx, namespace, &next, contents, C.WAYBILL_PUT_IF_REVISION, record.Revision)
		if err == nil {
			return next, nil
		}
		var failure *Failure
		if !errors.As(err, &failure) || !failure.conflicts() {
			return images.Image{}, fmt.Errorf("image %q: %w", image.Name, err)
		}
	}
}

// Delete forgets an image. Its content is none of this store's business, so options are ignored.
func (s *Store) Delete(ctx context.Context, name string, _ ...images.DeleteOpt) error {
	namespace, err := namespaceOf(ctx)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
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
	outcome := s.completions.do(func(token C.uint64_t, now *C.plain_outcome) C.int {
		return C.call_remove(s.store, token, cNamespace, cName, now)
	})
	switch {
	case outcome.failure != nil && errdefs.IsInvalidArgument(outcome.failure):
		return notFound(name) // No image can have such a name.
	case outcome.failure != nil:
		return fmt.Errorf("image %q: %w", name, outcome.failure)
	case !outcome.existed:
		return notFound(name)
	}
	return nil
}
