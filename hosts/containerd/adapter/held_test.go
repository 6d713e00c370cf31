// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package adapter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/images"
	"github.com/containerd/containerd/leases"
	"github.com/containerd/containerd/metadata"
	"github.com/opencontainers/go-digest"
)

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

// rewritten has the record written by somebody else, once, between reading it and writing it.
type rewritten struct {
	leases.Manager
	once  sync.Once
	write func()
}

func (r *rewritten) AddResource(ctx context.Context, lease leases.Lease, resource leases.Resource) error {
	r.once.Do(r.write)
	return r.Manager.AddResource(ctx, lease, resource)
}

func TestUpdateThatBeganAnewLetsGoOfTheOldTarget(t *testing.T) {
	n := newNode(t)
	first, second := n.image("a", "layer one"), n.image("a", "layer two")
	_, err := n.held.Create(n.ctx, first)
	n.must(err)
	n.held.leases = &rewritten{Manager: n.leases, write: func() {
		_, err := n.held.Store.Update(n.ctx, second, "target")
		n.must(err)
	}}
	_, err = n.held.Update(n.ctx, second, "target")
	n.must(err)
	n.expectLayers("a target that was moved twice", "two")
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
