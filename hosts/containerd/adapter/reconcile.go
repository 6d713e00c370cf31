// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package adapter

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/log"
)

// Reconciled counts what Reconcile did.
type Reconciled struct {
	Images  int // in the store
	Added   int // leases that were missing
	Removed int // leases without an image
	Spared  int // leases without an image, kept since the image's record may have been lost
	Foreign int // leases of another store's
}

// Reconcile makes the leases of all namespaces fit the images: after a crash, after containerd lost
// its database, or after somebody removed a lease. `known` are containerd's namespaces. An image that
// cannot be reconciled does not hold the others up; the error then tells of the first.
func (h *Held) Reconcile(ctx context.Context, known []string) (Reconciled, error) {
	var done Reconciled
	names := map[string]map[string]bool{}
	for _, namespace := range known {
		names[namespace] = map[string]bool{}
	}
	err := h.each("", false, func(record Record) {
		if names[record.Namespace] == nil {
			names[record.Namespace] = map[string]bool{}
		}
		names[record.Namespace][record.Image.Name] = true
		done.Images++
	})
	if err != nil {
		return done, err
	}
	var first error
	failed := 0
	for namespace, images := range names {
		leasing := leaseContext(ctx, namespace)
		fit := func(name string) {
			what, err := h.fitLocked(leasing, namespace, name)
			switch what {
			case added:
				done.Added++
			case removed:
				done.Removed++
			case spared:
				done.Spared++
				log.G(ctx).WithField("image", name).WithField("namespace", namespace).
					Warn("an image has a lease and no record: it may have been lost to damage")
			}
			if err != nil {
				failed++
				if first == nil {
					first = fmt.Errorf("image %q in namespace %s: %w", name, namespace, err)
				}
			}
		}
		held, err := h.leases.List(leasing, fmt.Sprintf("id~=^%s", leasePrefix))
		if err != nil {
			return done, err
		}
		has := map[string]bool{}
		for _, lease := range held {
			name, ours := lease.Labels[imageLabel]
			if !ours || lease.Labels[storeLabel] != h.id || lease.ID != h.leaseOf(name).ID {
				done.Foreign++
				continue
			}
			has[name] = true
			fit(name)
		}
		for name := range images {
			if !has[name] {
				fit(name)
			}
		}
	}
	if first != nil {
		return done, fmt.Errorf("%d images were not reconciled, among them %w", failed, first)
	}
	return done, nil
}

func (h *Held) fitLocked(ctx context.Context, namespace, name string) (fitting, error) {
	unlock, err := h.names.lock(ctx, namespace, name)
	if err != nil {
		return kept, err
	}
	defer unlock()
	return h.fit(ctx, namespace, name)
}
