// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package adapter

import (
	"context"
	"errors"

	"github.com/containerd/containerd/content"
	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Contents is what an image is made of.
type Contents struct {
	Config digest.Digest // of the first platform, or ""
	Layers []ocispec.Descriptor
}

const (
	// A record holds so many; the library's limit.
	layersMax = 10_000
	// Manifests and indexes are documents of a few kilobytes; registries refuse more than 4 MiB.
	documentBytesMax = 4 << 20
)

var errTooMuch = errors.New("more layers or documents than an image has")

// contentsOf follows an image's target through indexes and manifests to its layers, base first,
// for every platform whose manifest is here. A target that cannot be followed, because its content
// is not here or is of a kind that containerd does not know, counts as the image's one layer: it is
// the blob that the image depends on.
func contentsOf(ctx context.Context, provider content.Provider, target ocispec.Descriptor) Contents {
	var contents Contents
	seen := map[digest.Digest]bool{}
	if provider != nil {
		handler := images.HandlerFunc(func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
			if seen[d.Digest] {
				return nil, nil
			}
			if len(seen) > 2*layersMax || len(contents.Layers) >= layersMax {
				return nil, errTooMuch
			}
			seen[d.Digest] = true
			switch {
			case images.IsLayerType(d.MediaType):
				contents.Layers = append(contents.Layers, d)
			case images.IsConfigType(d.MediaType):
				if contents.Config == "" {
					contents.Config = d.Digest
				}
			case d.Size <= documentBytesMax:
				children, err := images.Children(ctx, provider, d)
				if errdefs.IsNotFound(err) {
					return nil, nil // A platform that was not pulled.
				}
				return children, err
			}
			return nil, nil
		})
		if err := images.Walk(ctx, handler, target); err != nil {
			contents = Contents{}
		}
	}
	if len(contents.Layers) == 0 {
		contents.Layers = []ocispec.Descriptor{target}
	}
	return contents
}
