// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package adapter

// #include "calls.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/images"
)

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
