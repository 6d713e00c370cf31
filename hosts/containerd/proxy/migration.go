// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package main

import (
	"context"
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/images"
	"github.com/containerd/containerd/namespaces"

	"waybill/hosts/containerd/adapter"
)

// migration copies image records between containerd's own store and a Waybill store that no proxy
// has open.
type migration struct {
	containerd *upstream
	held       *adapter.Held
	overwrite  bool // also over an image of the same name
	move       bool // and forget it where it was
}

type migrated struct {
	copied, kept, failed int
	left                 int // not forgotten, since the two are not the same
}

func (m migrated) String() string {
	text := fmt.Sprintf("%d copied, %d were there already", m.copied, m.kept)
	if m.left > 0 {
		text += fmt.Sprintf(", %d differ and were left on both sides", m.left)
	}
	if m.failed > 0 {
		text += fmt.Sprintf(", %d failed", m.failed)
	}
	return text
}

// migrate runs one of the two directions for all namespaces.
func migrate(c config, overwrite, move bool, direction func(*migration, context.Context) (migrated, error)) error {
	containerd, err := dial(c.Containerd)
	if err != nil {
		return err
	}
	defer containerd.conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	serving, err := containerd.client.IsServing(ctx)
	cancel()
	if err != nil || !serving {
		return fmt.Errorf("containerd is away (%s): %v", c.Containerd, err)
	}
	held, err := open(c, containerd.client)
	if err != nil {
		return err
	}
	defer held.Close()
	m := &migration{containerd: containerd, held: held, overwrite: overwrite, move: move}
	spaces, err := m.namespaces()
	if err != nil {
		return err
	}
	var first error
	for _, namespace := range spaces {
		done, err := direction(m, namespaces.WithNamespace(context.Background(), namespace))
		if done != (migrated{}) {
			fmt.Printf("namespace %s: %s\n", namespace, done)
		}
		if err != nil && first == nil {
			first = fmt.Errorf("namespace %s: %w", namespace, err)
		}
	}
	if err := held.Close(); err != nil {
		return err
	}
	return first
}

// namespaces are those of both sides, sorted.
func (m *migration) namespaces() ([]string, error) {
	known, err := m.containerd.client.NamespaceService().List(context.Background())
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for _, namespace := range known {
		all[namespace] = true
	}
	err = m.held.Each("", func(record adapter.Record) { all[record.Namespace] = true })
	var sorted []string
	for namespace := range all {
		sorted = append(sorted, namespace)
	}
	sort.Strings(sorted)
	return sorted, err
}

// same tells whether two images are equal in all but their times.
func same(a, b images.Image) bool {
	return a.Target.Digest == b.Target.Digest && a.Target.Size == b.Target.Size &&
		a.Target.MediaType == b.Target.MediaType &&
		samePairs(a.Target.Annotations, b.Target.Annotations) && samePairs(a.Labels, b.Labels)
}

func samePairs(a, b map[string]string) bool {
	for key, value := range a {
		if other, ok := b[key]; !ok || other != value {
			return false
		}
	}
	return len(a) == len(b)
}

// side is one of the two stores.
type side struct {
	images.Store
	// add fails if there is one of that name, where others may make one; put replaces it.
	add, put func(context.Context, images.Image) error
}

// fromContainerd copies a namespace's images here. Times are kept.
func (m *migration) fromContainerd(ctx context.Context) (migrated, error) {
	theirs := side{Store: m.containerd.client.ImageService()}
	// Nobody else has the store open.
	return m.copy(ctx, theirs, side{m.held, m.held.Import, m.held.Import})
}

// toContainerd copies a namespace's images into containerd's own store, which gives them its own
// times.
func (m *migration) toContainerd(ctx context.Context) (migrated, error) {
	return m.copy(ctx, side{Store: m.held}, containerdSide(m.containerd.client.ImageService()))
}

func containerdSide(theirs images.Store) side {
	add := func(ctx context.Context, image images.Image) error {
		_, err := theirs.Create(ctx, image)
		return err
	}
	put := func(ctx context.Context, image images.Image) error {
		err := add(ctx, image)
		if errdefs.IsAlreadyExists(err) {
			_, err = theirs.Update(ctx, image)
		}
		return err
	}
	return side{theirs, add, put}
}

// copy goes on after an image that cannot be copied; the error tells of the first.
func (m *migration) copy(ctx context.Context, from, to side) (migrated, error) {
	var done migrated
	listed, err := from.List(ctx)
	if err != nil {
		return done, err
	}
	var first error
	for _, image := range listed {
		if err := m.copyOne(ctx, image, from, to, &done); err != nil {
			done.failed++
			fmt.Fprintf(os.Stderr, "image %q: %s\n", image.Name, err)
			if first == nil {
				first = err
			}
		}
	}
	return done, first
}

func (m *migration) copyOne(ctx context.Context, image images.Image, from, to side, done *migrated) error {
	there, err := to.Get(ctx, image.Name)
	exists := err == nil
	if err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	if exists && (same(there, image) || !m.overwrite) {
		done.kept++
	} else {
		put := to.add
		if m.overwrite {
			put = to.put
		}
		switch err := put(ctx, image); {
		case err == nil:
			done.copied++
		case errdefs.IsAlreadyExists(err) && !m.overwrite:
			done.kept++ // Somebody pulled it meanwhile.
		default:
			return err
		}
	}
	if !m.move {
		return nil
	}
	// Only what is there as it is here now is forgotten here: somebody may have pulled meanwhile.
	now, err := from.Get(ctx, image.Name)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err == nil {
		there, err = to.Get(ctx, image.Name)
	}
	if err == nil && !same(now, there) {
		done.left++
		return nil
	}
	if err == nil {
		err = from.Delete(ctx, image.Name)
	}
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
