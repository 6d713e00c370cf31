// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package adapter

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/leases"
)

func (n *node) expectReconciled(held *Held, want Reconciled) {
	n.Helper()
	done, err := held.Reconcile(n.ctx, []string{"testing"})
	n.must(err)
	if done != want {
		n.Errorf("%+v, want %+v", done, want)
	}
}

func TestReconcileMendsWhatACrashLeft(t *testing.T) {
	n := newNode(t)
	kept, stray := n.image("kept", "layer kept"), n.image("stray", "layer stray")
	_, err := n.held.Create(n.ctx, kept)
	n.must(err)
	// Died between lease and record.
	_, err = n.held.refer(leaseContext(n.ctx, "testing"), stray)
	n.must(err)
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
	n.expectReconciled(n.held, Reconciled{Images: 2, Spared: 1})
	n.expectLayers("a record was lost", "a b c")
}

// meanwhile does something just before leases are listed: after Reconcile has looked at the store, and
// before it acts on what it saw.
type meanwhile struct {
	leases.Manager
	do func()
}

func (m *meanwhile) List(ctx context.Context, filters ...string) ([]leases.Lease, error) {
	m.do()
	return m.Manager.List(ctx, filters...)
}

// A record that failed to be written may come back at the next start, and needs its content then;
// also if the disk failed while leases were being reconciled.
func TestCreateInDoubtDuringReconcileCostsNoContent(t *testing.T) {
	n := newNode(t)
	image := n.image("a", "layer a")
	n.held.leases = &meanwhile{n.leases, func() {
		n.failDisk()
		if _, err := n.held.Create(n.ctx, image); !isUncertain(err) {
			t.Errorf("create on a disk that failed: %v", err)
		}
	}}
	n.expectReconciled(n.held, Reconciled{Spared: 1})
	n.expectLayers("a record in doubt", "a")
}

func TestUpdateInDoubtDuringReconcileCostsNoContent(t *testing.T) {
	n := newNode(t)
	first, second := n.image("a", "layer one"), n.image("a", "layer two")
	_, err := n.held.Create(n.ctx, first)
	n.must(err)
	n.held.leases = &meanwhile{n.leases, func() {
		n.failDisk()
		if _, err := n.held.Update(n.ctx, second, "target"); !isUncertain(err) {
			t.Errorf("update on a disk that failed: %v", err)
		}
	}}
	n.expectReconciled(n.held, Reconciled{Images: 1})
	n.expectLayers("an update in doubt", "one two")
}

func TestReconcileCountsWhatItDoesNotWhatItSaw(t *testing.T) {
	n := newNode(t)
	_, err := n.held.Create(n.ctx, n.image("going", "layer going"))
	n.must(err)
	coming := n.image("coming", "layer coming")
	n.held.leases = &meanwhile{n.leases, func() {
		_, err := n.held.Create(n.ctx, coming)
		n.must(err)
		n.must(n.held.Delete(n.ctx, "going"))
	}}
	n.expectReconciled(n.held, Reconciled{Images: 1})
	n.expectLayers("images that came and went", "coming")
}

func TestOtherStoreLeavesLeasesAlone(t *testing.T) {
	n := newNode(t)
	_, err := n.held.Create(n.ctx, n.image("a", "layer a"))
	n.must(err)
	first := n.held
	n.root = t.TempDir() // A wrong path: an empty store.
	n.open()
	n.expectReconciled(n.held, Reconciled{Foreign: 1})
	n.expectLayers("another store was opened", "a")
	_, err = n.held.Create(n.ctx, n.image("a", "layer a"))
	n.must(err)
	n.must(n.held.Delete(n.ctx, "a"))
	n.expectLayers("the other one had an image of that name", "a")
	n.expectReconciled(first, Reconciled{Images: 1})
}

func TestReconcileOfWhatFitsWritesNothing(t *testing.T) {
	n := newNode(t)
	for i := 0; i < 20; i++ {
		_, err := n.held.Create(n.ctx, n.image(fmt.Sprint("image-", i), "layer a"))
		n.must(err)
	}
	n.expectReconciled(Hold(n.held.Store, &failing{n.leases, 0}), Reconciled{Images: 20})
}
