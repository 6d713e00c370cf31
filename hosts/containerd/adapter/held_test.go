// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package adapter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/containerd/content"
	"github.com/containerd/containerd/content/local"
	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/images"
	"github.com/containerd/containerd/leases"
	"github.com/containerd/containerd/metadata"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
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

func TestContentLivesAsLongAsAnImageNamesIt(t *testing.T) {
	n := newNode(t)
	_, err := n.held.Create(n.ctx, n.image("a", "layer base", "layer a"))
	n.must(err)
	_, err = n.held.Create(n.ctx, n.image("b", "layer base", "layer b"))
	n.must(err)
	n.image("pulled by nobody", "layer lost")
	n.expectLayers("two images", "a b base")
	n.must(n.held.Delete(n.ctx, "a"))
	n.expectLayers("one deleted", "b base")

	moved := n.image("b", "layer base", "layer b2")
	_, err = n.held.Update(n.ctx, moved, "target")
	n.must(err)
	n.expectLayers("a moved tag", "b2 base")
	_, err = n.held.Update(n.ctx, images.Image{Name: "b", Labels: map[string]string{"x": "y"}}, "labels.x")
	n.must(err)
	n.expectLayers("a label", "b2 base")

	n.must(n.held.Delete(n.ctx, "b", images.SynchronousDelete()))
	n.expectLayers("all deleted", "")
	if left := n.leaseCount(); left != 0 {
		t.Errorf("%d leases are left", left)
	}
}

func TestLabelsReferToContentAsOnContainerdsImages(t *testing.T) {
	n := newNode(t)
	image := n.image("a", "layer a")
	extra := n.write("text/plain", []byte("layer extra"), nil)
	image.Labels = map[string]string{
		"containerd.io/gc.ref.content.extra": extra.Digest.String(),
		"containerd.io/gc.ref.contentment":   digest.FromString("not a reference").String(),
	}
	_, err := n.held.Create(n.ctx, image)
	n.must(err)
	n.expectLayers("referred to by a label", "a extra")
	_, err = n.held.Update(n.ctx, images.Image{Name: "a"}, "labels")
	n.must(err)
	n.expectLayers("the label gone", "a")
}

func TestCallersLeaseTakesNoPart(t *testing.T) {
	n := newNode(t)
	pull, err := n.leases.Create(n.ctx, leases.WithID("pull"))
	n.must(err)
	image := n.image("a", "layer a")
	_, err = n.held.Create(leases.WithLease(n.ctx, "pull"), image)
	n.must(err)
	n.must(n.leases.Delete(n.ctx, pull))
	n.expectLayers("the pull's lease gone", "a")
}

func TestRefusedCreateLeavesNoLease(t *testing.T) {
	n := newNode(t)
	image := n.image("a", "layer a")
	_, err := n.held.Create(n.ctx, image)
	n.must(err)
	if _, err := n.held.Create(n.ctx, n.image("a", "layer other")); !errdefs.IsAlreadyExists(err) {
		t.Error(err)
	}
	n.expectLayers("a second image of the name", "a")
	for _, name := range []string{"", "a\x00", strings.Repeat("n", 2000)} {
		image.Name = name
		if _, err := n.held.Create(n.ctx, image); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%.10q: %v", name, err)
		}
	}
	if left := n.leaseCount(); left != 1 {
		t.Errorf("%d leases for one image", left)
	}
}

func TestManyAtOnceLeaveALeaseForEachImage(t *testing.T) {
	n := newNode(t)
	image := n.image("it", "layer it")
	var all sync.WaitGroup
	for i := 0; i < 8; i++ {
		i := i
		all.Add(1)
		go func() {
			defer all.Done()
			for j := 0; j < 20; j++ {
				image := image
				image.Name = fmt.Sprintf("image-%d", j%5)
				switch (i + j) % 3 {
				case 0:
					n.held.Delete(n.ctx, image.Name)
				case 1:
					n.held.Update(n.ctx, image, "target")
				default:
					n.held.Create(n.ctx, image)
				}
			}
		}()
	}
	all.Wait()
	listed, err := n.held.List(n.ctx)
	n.must(err)
	if n.leaseCount() != len(listed) {
		t.Errorf("%d leases for %d images", n.leaseCount(), len(listed))
	}
	done, err := n.held.Reconcile(n.ctx, []string{"testing"})
	n.must(err)
	if done.Added != 0 || done.Removed != 0 {
		t.Errorf("%+v", done)
	}
}

// failing fails every call from the n-th on that changes something: containerd went away.
type failing struct {
	leases.Manager
	left int
}

var errAway = errors.New("away")

func (f *failing) spend() error {
	if f.left == 0 {
		return errAway
	}
	f.left--
	return nil
}

func (f *failing) Create(ctx context.Context, options ...leases.Opt) (leases.Lease, error) {
	if err := f.spend(); err != nil {
		return leases.Lease{}, err
	}
	return f.Manager.Create(ctx, options...)
}

func (f *failing) Delete(ctx context.Context, lease leases.Lease, options ...leases.DeleteOpt) error {
	if err := f.spend(); err != nil {
		return err
	}
	return f.Manager.Delete(ctx, lease, options...)
}

func (f *failing) AddResource(ctx context.Context, lease leases.Lease, resource leases.Resource) error {
	if err := f.spend(); err != nil {
		return err
	}
	return f.Manager.AddResource(ctx, lease, resource)
}

func (f *failing) DeleteResource(ctx context.Context, lease leases.Lease, resource leases.Resource) error {
	if err := f.spend(); err != nil {
		return err
	}
	return f.Manager.DeleteResource(ctx, lease, resource)
}

// Whichever call containerd dies at: what has a record keeps its content, and the next start leaves
// exactly one lease for each record.
func TestWhereverContainerdDiesNoImageLosesContentAndReconcileTidiesUp(t *testing.T) {
	for survived := 0; survived < 14; survived++ {
		n := newNode(t)
		first, second := n.image("a", "layer one"), n.image("a", "layer two")
		guard, err := n.leases.Create(n.ctx, leases.WithID("guard"))
		n.must(err)
		for _, image := range []images.Image{first, second} {
			n.must(n.leases.AddResource(n.ctx, guard, leases.Resource{ID: image.Target.Digest.String(), Type: "content"}))
		}
		dying := Hold(n.held.Store, &failing{n.leases, survived})
		_, created := dying.Create(n.ctx, first)
		_, updated := dying.Update(n.ctx, second, "target")
		deleted := dying.Delete(n.ctx, "a", images.SynchronousDelete())

		check := func(when string) {
			n.must(n.leases.Delete(n.ctx, guard))
			record, err := n.held.Get(n.ctx, "a")
			want := map[digest.Digest]string{first.Target.Digest: "one", second.Target.Digest: "two", "": ""}
			n.collect()
			got := n.layers()
			if err == nil && !strings.Contains(got, want[record.Target.Digest]) {
				t.Errorf("%d calls, %s: the image needs %q, there is %q", survived, when, want[record.Target.Digest], got)
			}
			_, err = n.leases.Create(n.ctx, leases.WithID("guard"))
			n.must(err)
		}
		check("before Reconcile")
		_, err = n.held.Reconcile(n.ctx, []string{"testing"})
		n.must(err)
		check("after Reconcile")
		listed, err := n.held.List(n.ctx)
		n.must(err)
		if n.leaseCount()-1 != len(listed) {
			t.Errorf("%d calls (%v, %v, %v): %d leases for %d images", survived, created, updated, deleted,
				n.leaseCount()-1, len(listed))
		}
		if survived == 0 && !errors.Is(created, errAway) {
			t.Errorf("nothing worked, and yet: %v", created)
		}
		if survived == 13 && (created != nil || updated != nil || deleted != nil) {
			t.Errorf("everything worked, and yet: %v, %v, %v", created, updated, deleted)
		}
	}
}

func TestReconcileMendsWhatACrashLeft(t *testing.T) {
	n := newNode(t)
	kept, stray := n.image("kept", "layer kept"), n.image("stray", "layer stray")
	_, err := n.held.Create(n.ctx, kept)
	n.must(err)
	// Died between lease and record.
	n.must(n.held.refer(leaseContext(n.ctx, "testing"), stray))
	// Died between the record and what was needed before.
	n.must(n.leases.AddResource(n.ctx, n.held.leaseOf("kept"), leases.Resource{ID: stray.Target.Digest.String(), Type: "content"}))
	// Somebody else's.
	_, err = n.leases.Create(n.ctx, leases.WithID("waybill-of-another"))
	n.must(err)
	_, err = n.held.Store.Create(n.ctx, n.image("unheld", "layer unheld"))
	n.must(err)

	done, err := n.held.Reconcile(n.ctx, []string{"testing", "empty"})
	n.must(err)
	if want := (Reconciled{Images: 2, Added: 1, Removed: 1, Foreign: 1}); done != want {
		t.Errorf("%+v, want %+v", done, want)
	}
	n.expectLayers("reconciled", "kept unheld")
	if left := n.leaseCount(); left != 3 {
		t.Errorf("%d leases", left)
	}
}

// --- what images are made of ---------------------------------------------------------------------

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

// --- what a reviewer tried -----------------------------------------------------------------------

func TestDegradedStoreReleasesNothing(t *testing.T) {
	n := newNode(t)
	for _, name := range []string{"a", "b", "c"} {
		_, err := n.held.Create(n.ctx, n.image(name, "layer "+name))
		n.must(err)
	}
	n.must(n.held.Close())
	journals, err := filepath.Glob(filepath.Join(n.root, "journal.*"))
	n.must(err)
	journal, err := os.ReadFile(journals[0])
	n.must(err)
	journal[bytes.Index(journal, []byte("testing"))] ^= 1
	n.must(os.WriteFile(journals[0], journal, 0600))

	n.open()
	if n.held.Recovery["degraded"] != true {
		t.Fatal(n.held.Recovery)
	}
	done, err := n.held.Reconcile(n.ctx, []string{"testing"})
	n.must(err)
	if want := (Reconciled{Images: 2, Spared: 1}); done != want {
		t.Errorf("%+v, want %+v", done, want)
	}
	n.expectLayers("a record was lost", "a b c")
}

func TestOtherStoreLeavesLeasesAlone(t *testing.T) {
	n := newNode(t)
	_, err := n.held.Create(n.ctx, n.image("a", "layer a"))
	n.must(err)
	first := n.held
	n.root = t.TempDir() // A wrong path: an empty store.
	n.open()
	done, err := n.held.Reconcile(n.ctx, []string{"testing"})
	n.must(err)
	if want := (Reconciled{Foreign: 1}); done != want {
		t.Errorf("%+v, want %+v", done, want)
	}
	n.expectLayers("another store was opened", "a")
	_, err = n.held.Create(n.ctx, n.image("a", "layer a"))
	n.must(err)
	n.must(n.held.Delete(n.ctx, "a"))
	n.expectLayers("the other one had an image of that name", "a")
	done, err = first.Reconcile(n.ctx, []string{"testing"})
	n.must(err)
	if want := (Reconciled{Images: 1}); done != want {
		t.Errorf("%+v, want %+v", done, want)
	}
}

func TestPullingAgainMendsALeaseThatSomebodyRemoved(t *testing.T) {
	n := newNode(t)
	image := n.image("a", "layer a")
	_, err := n.held.Create(n.ctx, image)
	n.must(err)
	n.must(n.leases.Delete(n.ctx, n.held.leaseOf("a")))
	n.expectLayers("without its lease", "")
	n.image("a", "layer a")
	_, err = n.held.Update(n.ctx, image, "target")
	n.must(err)
	n.expectLayers("pulled again", "a")
}

func TestNothingIsLeasedForAnImageThatIsRefused(t *testing.T) {
	n := newNode(t)
	dying := Hold(n.held.Store, &failing{n.leases, 0})
	for what, change := range map[string]func(*images.Image){
		"a long name":       func(i *images.Image) { i.Name = strings.Repeat("n", 1025) },
		"many labels":       func(i *images.Image) { i.Labels = manyPairs(1025) },
		"many annotations":  func(i *images.Image) { i.Target.Annotations = manyPairs(1025) },
		"a long annotation": func(i *images.Image) { i.Target.Annotations["k"] = strings.Repeat("v", 4096) },
		"a long media type": func(i *images.Image) { i.Target.MediaType = strings.Repeat("m", 256) },
		"no UTF-8":          func(i *images.Image) { i.Labels["\xff"] = "v" },
	} {
		image := sample("it")
		change(&image)
		if _, err := dying.Create(n.ctx, image); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := n.held.Store.Create(n.ctx, image); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s, by the store: %v", what, err)
		}
	}
	// And what is just within the limits is not.
	image := sample(strings.Repeat("n", 1024))
	image.Labels, image.Target.Annotations = manyPairs(1024), manyPairs(1023)
	image.Target.Annotations["k"] = strings.Repeat("v", 4095)
	image.Target.MediaType = strings.Repeat("m", 255)
	_, err := n.held.Create(n.ctx, image)
	n.must(err)
}

func manyPairs(count int) map[string]string {
	pairs := map[string]string{}
	for i := 0; i < count; i++ {
		pairs[fmt.Sprint("key-", i)] = "value"
	}
	return pairs
}

// away answers as containerd does when it cannot be reached.
type away struct{ content.Store }

func (away) ReaderAt(context.Context, ocispec.Descriptor) (content.ReaderAt, error) {
	return nil, errdefs.ErrUnavailable
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

// gone is a client that goes as soon as its record is written or removed.
type gone struct {
	leases.Manager
	leave context.CancelFunc
}

func (g *gone) Delete(ctx context.Context, lease leases.Lease, options ...leases.DeleteOpt) error {
	g.leave()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return g.Manager.Delete(ctx, lease, options...)
}

func TestClientThatGoesLeavesNoLease(t *testing.T) {
	for _, sync := range []bool{false, true} {
		n := newNode(t)
		_, err := n.held.Create(n.ctx, n.image("a", "layer a"))
		n.must(err)
		ctx, leave := context.WithCancel(n.ctx)
		var options []images.DeleteOpt
		if sync {
			options = append(options, images.SynchronousDelete())
		}
		err = Hold(n.held.Store, &gone{n.leases, leave}).Delete(ctx, "a", options...)
		if sync != errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if left := n.leaseCount(); left != 0 {
			t.Errorf("%d leases are left", left)
		}
		n.expectLayers("a client went", "")
	}
}

func TestLabelsThatReferToNothingAreTakenAsContainerdTakesThem(t *testing.T) {
	n := newNode(t)
	stock := metadata.NewImageStore(n.db)
	image := n.image("a", "layer a")
	image.Labels = map[string]string{
		"containerd.io/gc.ref.content.x":     "bogus",
		"containerd.io/gc.ref.snapshot.":     "x",
		"containerd.io/gc.ref.snapshot./f":   "x",
		"containerd.io/gc.ref.snapshot.none": "x",
	}
	_, err := stock.Create(n.ctx, image)
	n.must(err)
	n.must(stock.Delete(n.ctx, "a"))
	_, err = n.held.Create(n.ctx, image)
	n.must(err)
	n.expectLayers("with odd labels", "a")
}

func TestReconcileOfWhatFitsWritesNothing(t *testing.T) {
	n := newNode(t)
	for i := 0; i < 20; i++ {
		_, err := n.held.Create(n.ctx, n.image(fmt.Sprint("image-", i), "layer a"))
		n.must(err)
	}
	done, err := Hold(n.held.Store, &failing{n.leases, 0}).Reconcile(n.ctx, []string{"testing"})
	n.must(err)
	if want := (Reconciled{Images: 20}); done != want {
		t.Errorf("%+v, want %+v", done, want)
	}
}

func TestWhereverAnImportDiesTheImageKeepsItsContent(t *testing.T) {
	for survived := 0; survived < 6; survived++ {
		n := newNode(t)
		first, second := n.image("a", "layer one"), n.image("a", "layer two")
		_, err := n.held.Create(n.ctx, first)
		n.must(err)
		imported := Hold(n.held.Store, &failing{n.leases, survived}).Import(n.ctx, second)
		got, err := n.held.Get(n.ctx, "a")
		n.must(err)
		want := map[digest.Digest]string{first.Target.Digest: "one", second.Target.Digest: "two"}[got.Target.Digest]
		n.collect()
		if layers := n.layers(); !strings.Contains(layers, want) {
			t.Errorf("%d calls (%v): the image needs %q, there is %q", survived, imported, want, layers)
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
