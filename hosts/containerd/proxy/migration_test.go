// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package main

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/images"
	"github.com/containerd/containerd/metadata"
	"github.com/containerd/containerd/namespaces"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	bolt "go.etcd.io/bbolt"
)

// imageStore is containerd's own.
func imageStore(t *testing.T, ctx context.Context) images.Store {
	t.Helper()
	bolted, err := bolt.Open(filepath.Join(t.TempDir(), "meta.db"), 0600, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bolted.Close() })
	db := metadata.NewDB(bolted, nil, nil)
	if err := db.Init(ctx); err != nil {
		t.Fatal(err)
	}
	return metadata.NewImageStore(db)
}

// pulled is a store into which somebody pulls an image just after it was asked for and not there.
type pulled struct {
	images.Store
	image images.Image
}

func (p *pulled) Get(ctx context.Context, name string) (images.Image, error) {
	got, err := p.Store.Get(ctx, name)
	if err != nil {
		p.Store.Create(ctx, p.image)
	}
	return got, err
}

func TestImagePulledDuringExportIsLeftAsItIs(t *testing.T) {
	ctx := namespaces.WithNamespace(context.Background(), "testing")
	of := func(content string) images.Image {
		return images.Image{Name: "a", Target: ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(content), Size: 3}}
	}
	for _, overwrite := range []bool{false, true} {
		here, theirs := imageStore(t, ctx), imageStore(t, ctx)
		if _, err := here.Create(ctx, of("old")); err != nil {
			t.Fatal(err)
		}
		m := &migration{overwrite: overwrite}
		done, err := m.copy(ctx, side{Store: here}, containerdSide(&pulled{theirs, of("new")}))
		if err != nil {
			t.Fatal(err)
		}
		want, counts := of("new"), migrated{kept: 1}
		if overwrite {
			want, counts = of("old"), migrated{copied: 1}
		}
		if got, err := theirs.Get(ctx, "a"); err != nil || got.Target.Digest != want.Target.Digest || done != counts {
			t.Errorf("overwrite %v: %v %v, %v", overwrite, got.Target.Digest == of("old").Target.Digest, err, done)
		}
	}
}
