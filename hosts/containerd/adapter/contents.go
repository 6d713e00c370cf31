// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package adapter

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/containerd/content"
	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc/status"
)

// Contents is what an image is made of.
type Contents struct {
	Config digest.Digest // of the first platform, or ""
	Layers []ocispec.Descriptor
}

// Who pushes an image chooses what its documents say; so all of it is bounded.
const (
	// A record holds so many; the library's limit.
	layersMax = 10_000
	// Manifests and indexes are documents of a few kilobytes; registries refuse more than 4 MiB.
	documentBytesMax = 4 << 20
	// The largest indexes in the wild have some dozens of platforms.
	documentsMax = 1000
)

var errTooMuch = errors.New("more layers or documents than an image has")

// contentsOf follows an image's target through indexes and manifests to its layers, base first,
// for every platform whose manifest is here. A target that cannot be followed, because its content
// is not here or is none of what containerd knows, counts as the image's one layer: it is the blob
// that the image depends on. Fails only if content could not be asked.
func contentsOf(ctx context.Context, provider content.Provider, target ocispec.Descriptor) (Contents, error) {
	var contents Contents
	documents, seen := 0, map[digest.Digest]bool{}
	visit := func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		if seen[d.Digest] {
			return nil, nil
		}
		seen[d.Digest] = true
		switch {
		case images.IsLayerType(d.MediaType):
			if len(contents.Layers) == layersMax {
				return nil, errTooMuch
			}
			contents.Layers = append(contents.Layers, d)
			return nil, validLayer(d)
		case images.IsConfigType(d.MediaType):
			if contents.Config == "" {
				contents.Config = d.Digest
			}
			return nil, d.Digest.Validate()
		}
		if documents++; documents > documentsMax {
			return nil, errTooMuch
		}
		children, err := images.Children(ctx, bounded{provider}, d)
		if transient(err) || errors.As(err, new(unread)) {
			return nil, err
		}
		return children, nil // A platform that was not pulled, or a document that is none, has none.
	}
	if provider != nil {
		err := images.Walk(ctx, images.HandlerFunc(visit), target)
		if transient(err) || errors.As(err, new(unread)) {
			return Contents{}, fmt.Errorf("manifest %s: %w", target.Digest, err)
		}
		if err != nil {
			contents = Contents{}
		}
	}
	if len(contents.Layers) == 0 {
		contents.Layers = []ocispec.Descriptor{target}
	}
	return contents, nil
}

// transient tells faults that say nothing about the content.
func transient(err error) bool {
	return errdefs.IsUnavailable(err) || errdefs.IsCanceled(err) || errdefs.IsDeadlineExceeded(err) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

func validLayer(d ocispec.Descriptor) error {
	if err := d.Digest.Validate(); err != nil {
		return err
	}
	if d.Size < 0 || len(d.MediaType) > mediaTypeBytesMax || !isText(d.MediaType) {
		return invalid("layer %s", d.Digest)
	}
	return nil
}

// standsForItself tells contents of a target that could not be followed.
func (c *Contents) standsForItself(target ocispec.Descriptor) bool {
	return len(c.Layers) == 1 && c.Layers[0].Digest == target.Digest
}

// unread tells that content which may well be here, and whole, could not be read: neither its absence
// nor a fault of its own.
type unread struct{ error }

func (u unread) Unwrap() error { return u.error }

// failureToRead tells what it is that a reader says.
func failureToRead(err error) error {
	if _, plain := status.FromError(err); plain {
		err = errdefs.FromGRPC(err) // The client's reader hands on what the call said.
	}
	if err == nil || err == io.EOF || errdefs.IsNotFound(err) || errdefs.IsInvalidArgument(err) {
		return err
	}
	return unread{err}
}

// bounded refuses to read blobs that are larger than a document, whatever their descriptor says.
type bounded struct{ content.Provider }

func (b bounded) ReaderAt(ctx context.Context, d ocispec.Descriptor) (content.ReaderAt, error) {
	reader, err := b.Provider.ReaderAt(ctx, d)
	if err != nil {
		return nil, failureToRead(err)
	}
	if size := reader.Size(); size > documentBytesMax {
		reader.Close()
		return nil, invalid("document %s of %d bytes, at most %d are read", d.Digest, size, documentBytesMax)
	}
	return explained{reader}, nil
}

type explained struct{ content.ReaderAt }

func (e explained) ReadAt(to []byte, offset int64) (int, error) {
	count, err := e.ReaderAt.ReadAt(to, offset)
	return count, failureToRead(err)
}
