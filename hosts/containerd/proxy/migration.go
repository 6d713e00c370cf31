// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package main

import (
	"context"
	"fmt"
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

type migrated struct{ copied, kept int }

func (m migrated) String() string {
	return fmt.Sprintf("%d copied, %d were there already", m.copied, m.kept)
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
	for _, namespace := range spaces {
		done, err := direction(m, namespaces.WithNamespace(context.Background(), namespace))
		if done.copied+done.kept > 0 {
			fmt.Printf("namespace %s: %s\n", namespace, done)
		}
		if err != nil {
			return fmt.Errorf("namespace %s: %w", namespace, err)
		}
	}
	return held.Close()
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

func same(a, b images.Image) bool {
	return a.Target.Digest == b.Target.Digest && fmt.Sprint(a.Labels) == fmt.Sprint(b.Labels)
}

// fromContainerd copies a namespace's images here. Times are kept.
func (m *migration) fromContainerd(ctx context.Context) (migrated, error) {
	var done migrated
	theirs := m.containerd.client.ImageService()
	listed, err := theirs.List(ctx)
	if err != nil {
		return done, err
	}
	for _, image := range listed {
		held, err := m.held.Get(ctx, image.Name)
		switch {
		case errdefs.IsNotFound(err) || err == nil && m.overwrite && !same(held, image):
			if err := m.held.Import(ctx, image); err != nil {
				return done, fmt.Errorf("image %q: %w", image.Name, err)
			}
			done.copied++
		case err != nil:
			return done, err
		default:
			done.kept++
			if !same(held, image) {
				continue // Theirs is another one: it is not forgotten.
			}
		}
		if m.move {
			if err := theirs.Delete(ctx, image.Name); err != nil && !errdefs.IsNotFound(err) {
				return done, err
			}
		}
	}
	return done, nil
}

// toContainerd copies a namespace's images into containerd's own store, which gives them its own
// times.
func (m *migration) toContainerd(ctx context.Context) (migrated, error) {
	var done migrated
	theirs := m.containerd.client.ImageService()
	listed, err := m.held.List(ctx)
	if err != nil {
		return done, err
	}
	for _, image := range listed {
		held, err := theirs.Get(ctx, image.Name)
		switch {
		case errdefs.IsNotFound(err):
			if _, err := theirs.Create(ctx, image); err != nil {
				return done, fmt.Errorf("image %q: %w", image.Name, err)
			}
			done.copied++
		case err != nil:
			return done, err
		case m.overwrite && !same(held, image):
			if _, err := theirs.Update(ctx, image); err != nil {
				return done, fmt.Errorf("image %q: %w", image.Name, err)
			}
			done.copied++
		default:
			done.kept++
			if !same(held, image) {
				continue
			}
		}
		if m.move {
			if err := m.held.Delete(ctx, image.Name); err != nil && !errdefs.IsNotFound(err) {
				return done, err
			}
		}
	}
	return done, nil
}
