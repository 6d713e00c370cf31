// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package adapter

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/content"
	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/images"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func (n *node) recorded(name string) string {
	n.Helper()
	var layers []string
	n.must(n.held.Each("testing", func(record Record) {
		if record.Image.Name == name {
			for _, layer := range record.Contents.Layers {
				layers = append(layers, layer.Digest.String())
			}
		}
	}))
	for i, layer := range layers {
		blob, err := content.ReadBlob(n.ctx, n.content, ocispec.Descriptor{Digest: digest.Digest(layer)})
		if err == nil && len(blob) < 20 {
			layers[i] = strings.TrimPrefix(string(blob), "layer ")
		}
	}
	return strings.Join(layers, " ")
}

// away answers as containerd does when it cannot be reached.
type away struct{ content.Store }

func (away) ReaderAt(context.Context, ocispec.Descriptor) (content.ReaderAt, error) {
	return nil, errdefs.ErrUnavailable
}

// broken lets content be found and fails where it is read.
type broken struct {
	content.Store
	err error
}

type brokenReader struct {
	content.ReaderAt
	err error
}

func (b broken) ReaderAt(ctx context.Context, d ocispec.Descriptor) (content.ReaderAt, error) {
	reader, err := b.Store.ReaderAt(ctx, d)
	return brokenReader{reader, b.err}, err
}

func (b brokenReader) ReadAt([]byte, int64) (int, error) { return 0, b.err }

func TestManifestThatCannotBeReadIsNoneWithoutLayers(t *testing.T) {
	n := newNode(t)
	image := n.image("a", "layer base", "layer a")
	for _, failure := range []error{
		status.Error(codes.Unavailable, "transport is closing"), // As the client's reader has it.
		syscall.EIO,
	} {
		n.held.Store.provider = broken{n.content, failure}
		if _, err := n.held.Create(n.ctx, image); err == nil || !strings.Contains(err.Error(), "manifest") {
			t.Errorf("%v: %v, and it is made of %q", failure, err, n.recorded("a"))
			n.must(n.held.Delete(n.ctx, "a"))
		}
	}
	// What goes while it is read is not here.
	n.held.Store.provider = broken{n.content, status.Error(codes.NotFound, "it went")}
	_, err := n.held.Create(n.ctx, image)
	n.must(err)
}

func TestLayersAreRecordedBaseFirst(t *testing.T) {
	n := newNode(t)
	_, err := n.held.Create(n.ctx, n.image("a", "layer base", "layer middle", "layer top"))
	n.must(err)
	if got := n.recorded("a"); got != "base middle top" {
		t.Error(got)
	}
}

func TestLayersOfEveryPlatformThatIsHereAreRecorded(t *testing.T) {
	n := newNode(t)
	arm, amd := n.image("arm", "layer arm"), n.image("amd", "layer base", "layer amd")
	absent := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("absent"), Size: 9}
	document, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{amd.Target, absent, arm.Target}})
	n.must(err)
	_, err = n.held.Create(n.ctx, images.Image{Name: "index", Target: n.write(ocispec.MediaTypeImageIndex, document, nil)})
	n.must(err)
	got := strings.Fields(n.recorded("index"))
	sort.Strings(got)
	if strings.Join(got, " ") != "amd arm base" {
		t.Error(got)
	}
}

func TestTargetStandsForLayersThatCannotBeRead(t *testing.T) {
	n := newNode(t)
	for _, d := range []ocispec.Descriptor{
		{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("absent"), Size: 6},
		{MediaType: "application/vnd.nobody.knows", Digest: digest.FromString("odd"), Size: 3},
		n.write(ocispec.MediaTypeImageManifest, []byte("no JSON"), nil),
		{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("huge"), Size: 1 << 40},
	} {
		image := images.Image{Name: d.Digest.String(), Target: d}
		_, err := n.held.Create(n.ctx, image)
		n.must(err)
		if got := n.recorded(image.Name); got != d.Digest.String() && got != "no JSON" {
			t.Errorf("%s: %s", d.MediaType, got)
		}
	}
}

func TestHostileManifestsAreNotFollowed(t *testing.T) {
	n := newNode(t)
	layer := func(mediaType, digest string, size int64) string {
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, digest, size)
	}
	good := layer(ocispec.MediaTypeImageLayer, digest.FromString("x").String(), 1)
	var documents []string
	for _, bad := range []string{
		layer(ocispec.MediaTypeImageLayer, "sha256:zz", 1),
		layer(ocispec.MediaTypeImageLayer, "../../etc/passwd", 1),
		layer(ocispec.MediaTypeImageLayer, digest.FromString("y").String(), -1),
		layer(ocispec.MediaTypeImageLayer+"+"+strings.Repeat("m", 300), digest.FromString("y").String(), 1),
	} {
		documents = append(documents, `{"schemaVersion":2,"layers":[`+good+","+bad+"]}")
	}
	many := make([]string, 10_001)
	for i := range many {
		many[i] = layer(ocispec.MediaTypeImageLayer, digest.FromString(fmt.Sprint(i)).String(), 1)
	}
	documents = append(documents, `{"schemaVersion":2,"layers":[`+strings.Join(many, ",")+"]}",
		`{"schemaVersion":2,"layers":[`+good+`],"padding":"`+strings.Repeat("x", 5<<20)+`"}`)
	for i, document := range documents {
		d := n.write(ocispec.MediaTypeImageManifest, []byte(document), nil)
		d.Size = 1 // Whatever is claimed.
		image := images.Image{Name: fmt.Sprint("image-", i), Target: d}
		_, err := n.held.Create(n.ctx, image)
		n.must(err)
		if got := n.recorded(image.Name); got != d.Digest.String() {
			t.Errorf("document %d is made of %.200s", i, got)
		}
	}
}

func TestLabelsAreChangedAndLayersKeptWhileContainerdIsAway(t *testing.T) {
	n := newNode(t)
	_, err := n.held.Create(n.ctx, n.image("a", "layer base", "layer a"))
	n.must(err)
	n.held.Store.provider = away{n.content}
	n.held = Hold(n.held.Store, &failing{n.leases, 0})
	_, err = n.held.Update(n.ctx, images.Image{Name: "a", Labels: map[string]string{"x": "y"}}, "labels.x")
	n.must(err)
	if got := n.recorded("a"); got != "base a" {
		t.Error(got)
	}
	other := sample("b")
	other.Target.MediaType = ocispec.MediaTypeImageManifest
	if _, err := n.held.Store.Create(n.ctx, other); !errdefs.IsUnavailable(err) {
		t.Errorf("layers that could not be asked for: %v", err)
	}
}
