// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package adapter

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/containerd/content"
	"github.com/containerd/containerd/content/local"
	"github.com/containerd/containerd/images"
	"github.com/containerd/containerd/leases"
	"github.com/containerd/containerd/metadata"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// node is what a containerd holds besides images: content, leases and the collector.
type node struct {
	*testing.T
	ctx     context.Context
	root    string
	db      *metadata.DB
	content content.Store
	leases  leases.Manager
	held    *Held
}

func newNode(t *testing.T) *node {
	blobs, err := local.NewStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	n := &node{T: t, ctx: testContext(t), root: t.TempDir()}
	n.db = metadata.NewDB(boltDB(t), blobs, nil)
	if err := n.db.Init(n.ctx); err != nil {
		t.Fatal(err)
	}
	n.content = n.db.ContentStore()
	n.leases = metadata.NewLeaseManager(n.db)
	n.open()
	return n
}

func (n *node) open() {
	store, err := testLibrary(n).Open(Config{Root: n.root, Provider: n.content})
	if err != nil {
		n.Fatal(err)
	}
	n.Cleanup(func() { store.Close() })
	n.held = Hold(store, n.leases)
}

// failDisk makes the next sync of the store's journal fail: its descriptor becomes one of /dev/null,
// which takes every write and can sync none.
func (n *node) failDisk() {
	n.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	n.must(err)
	defer null.Close()
	descriptors, err := os.ReadDir("/proc/self/fd")
	n.must(err)
	failed := 0
	for _, descriptor := range descriptors {
		path, err := os.Readlink(filepath.Join("/proc/self/fd", descriptor.Name()))
		if err != nil || !strings.HasPrefix(path, filepath.Join(n.root, "journal.")) {
			continue // Among them the one that reads this directory.
		}
		number, err := strconv.Atoi(descriptor.Name())
		n.must(err)
		n.must(unix.Dup3(int(null.Fd()), number, unix.O_CLOEXEC))
		failed++
	}
	if failed == 0 {
		n.Fatal("the store has no journal open")
	}
}

func (n *node) must(err error) {
	n.Helper()
	if err != nil {
		n.Fatal(err)
	}
}

func (n *node) write(mediaType string, bytesOf []byte, labels map[string]string) ocispec.Descriptor {
	n.Helper()
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(bytesOf), Size: int64(len(bytesOf))}
	err := content.WriteBlob(n.ctx, n.content, d.Digest.String(), bytes.NewReader(bytesOf), d, content.WithLabels(labels))
	n.must(err)
	return d
}

// image writes an image's content: as many layers as texts are given, a config, a manifest.
func (n *node) image(name string, layers ...string) images.Image {
	n.Helper()
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	labels := map[string]string{}
	for i, layer := range layers {
		d := n.write(ocispec.MediaTypeImageLayer, []byte(layer), nil)
		manifest.Layers = append(manifest.Layers, d)
		labels[fmt.Sprintf("containerd.io/gc.ref.content.l.%d", i)] = d.Digest.String()
	}
	manifest.Config = n.write(ocispec.MediaTypeImageConfig, []byte(`{"name":"`+name+`"}`), nil)
	labels["containerd.io/gc.ref.content.config"] = manifest.Config.Digest.String()
	document, err := json.Marshal(manifest)
	n.must(err)
	return images.Image{Name: name, Target: n.write(ocispec.MediaTypeImageManifest, document, labels)}
}

func (n *node) collect() {
	n.Helper()
	_, err := n.db.GarbageCollect(n.ctx)
	n.must(err)
}

// blobs shows the content that begins with "layer", in order.
func (n *node) layers() string {
	n.Helper()
	var found []string
	n.must(n.content.Walk(n.ctx, func(info content.Info) error {
		blob, err := content.ReadBlob(n.ctx, n.content, ocispec.Descriptor{Digest: info.Digest, Size: info.Size})
		if text := string(blob); err == nil && strings.HasPrefix(text, "layer") {
			found = append(found, strings.TrimPrefix(text, "layer "))
		}
		return err
	}))
	sort.Strings(found)
	return strings.Join(found, " ")
}

func (n *node) expectLayers(when, want string) {
	n.Helper()
	n.collect()
	if got := n.layers(); got != want {
		n.Errorf("%s: content is %q, want %q", when, got, want)
	}
}

func (n *node) leaseCount() int {
	n.Helper()
	list, err := n.leases.List(n.ctx)
	n.must(err)
	return len(list)
}
