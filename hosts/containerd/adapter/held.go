// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package adapter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"

	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/images"
	"github.com/containerd/containerd/leases"
	"github.com/containerd/containerd/log"
	"github.com/containerd/containerd/namespaces"
)

const (
	leasePrefix = "waybill-"
	// leaseLabel holds the name of the image that a lease is for.
	leaseLabel = "io.waybill.image"

	contentRefLabel  = "containerd.io/gc.ref.content"
	snapshotRefLabel = "containerd.io/gc.ref.snapshot."
)

// Held is a store whose images keep their content alive. containerd's garbage collector knows only
// its own images and leases; so each image here has a lease there, which names what the image
// refers to.
//
// Invariant: content is referred to before a record names it, and as long as one does. A crash may
// leave a lease without an image, or what an older target needed; Reconcile takes both away.
type Held struct {
	*Store
	leases leases.Manager

	// A record and its lease are in two databases, which no single write reaches; so what changes
	// both goes one after the other for each name. Who wins a race is the store's to say.
	names [256]sync.Mutex
	seed  maphash.Seed
}

var _ images.Store = (*Held)(nil)

// Hold makes the images of a store hold their content by leases of this manager.
func Hold(store *Store, manager leases.Manager) *Held {
	return &Held{Store: store, leases: manager, seed: maphash.MakeSeed()}
}

func (h *Held) lock(namespace, name string) *sync.Mutex {
	var hash maphash.Hash
	hash.SetSeed(h.seed)
	hash.WriteString(namespace)
	hash.WriteByte(0)
	hash.WriteString(name)
	mutex := &h.names[hash.Sum64()%uint64(len(h.names))]
	mutex.Lock()
	return mutex
}

// --- leases --------------------------------------------------------------------------------------

// bare is a context without the values of the caller's: a lease that the caller works under must
// not take part in these calls.
type bare struct{ context.Context }

func (bare) Value(interface{}) interface{} { return nil }

func leaseContext(ctx context.Context, namespace string) context.Context {
	return namespaces.WithNamespace(bare{ctx}, namespace)
}

func leaseOf(name string) leases.Lease {
	sum := sha256.Sum256([]byte(name))
	return leases.Lease{ID: leasePrefix + hex.EncodeToString(sum[:])}
}

// resourcesOf names what containerd's collector would find from an image of its own: the target,
// and what labels refer to.
func resourcesOf(image images.Image) map[leases.Resource]bool {
	resources := map[leases.Resource]bool{{ID: image.Target.Digest.String(), Type: "content"}: true}
	for key, value := range image.Labels {
		if rest := strings.TrimPrefix(key, contentRefLabel); rest != key {
			if rest == "" || rest[0] == '.' || rest[0] == '/' {
				resources[leases.Resource{ID: value, Type: "content"}] = true
			}
		} else if snapshotter := strings.TrimPrefix(key, snapshotRefLabel); snapshotter != key {
			snapshotter, _, _ = strings.Cut(snapshotter, "/")
			resources[leases.Resource{ID: value, Type: "snapshots/" + snapshotter}] = true
		}
	}
	return resources
}

// hold makes the lease of an image refer to what the image needs, and to nothing else.
func (h *Held) hold(ctx context.Context, image images.Image) error {
	lease := leaseOf(image.Name)
	_, err := h.leases.Create(ctx, leases.WithID(lease.ID),
		leases.WithLabels(map[string]string{leaseLabel: image.Name}))
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("lease for image %q: %w", image.Name, err)
	}
	existed := err != nil
	needed := resourcesOf(image)
	for resource := range needed {
		if err := h.leases.AddResource(ctx, lease, resource); err != nil {
			return fmt.Errorf("lease for image %q: %w", image.Name, err)
		}
	}
	if existed {
		return h.keepOnly(ctx, lease, needed)
	}
	return nil
}

func (h *Held) keepOnly(ctx context.Context, lease leases.Lease, needed map[leases.Resource]bool) error {
	resources, err := h.leases.ListResources(ctx, lease)
	if err != nil {
		return err
	}
	for _, resource := range resources {
		if !needed[resource] {
			if err := h.leases.DeleteResource(ctx, lease, resource); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *Held) release(ctx context.Context, name string, options ...leases.DeleteOpt) error {
	err := h.leases.Delete(ctx, leaseOf(name), options...)
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// --- images --------------------------------------------------------------------------------------

// Create stores an image under a name that is free: first the lease, then the record.
func (h *Held) Create(ctx context.Context, image images.Image) (images.Image, error) {
	namespace, err := namespaceOf(ctx)
	if err != nil {
		return images.Image{}, err
	}
	image, err = checked(image)
	if err != nil {
		return images.Image{}, err
	}
	defer h.lock(namespace, image.Name).Unlock()
	var taken Record
	if err := h.find(namespace, image.Name, &taken); err == nil {
		return images.Image{}, fmt.Errorf("image %q: %w", image.Name, errdefs.ErrAlreadyExists)
	} else if !errdefs.IsNotFound(err) {
		return images.Image{}, err
	}
	leasing := leaseContext(ctx, namespace)
	if err := h.hold(leasing, image); err != nil {
		return images.Image{}, err
	}
	created, err := h.Store.Create(ctx, image)
	if err != nil {
		h.mend(leasing, namespace, image.Name)
	}
	return created, err
}

// Import stores an image as it is, its times included, whether or not the name is free.
func (h *Held) Import(ctx context.Context, image images.Image) error {
	namespace, err := namespaceOf(ctx)
	if err != nil {
		return err
	}
	if image, err = checked(image); err != nil {
		return err
	}
	defer h.lock(namespace, image.Name).Unlock()
	leasing := leaseContext(ctx, namespace)
	if err := h.hold(leasing, image); err != nil {
		return err
	}
	if err = h.Store.Import(ctx, image); err != nil {
		h.mend(leasing, namespace, image.Name)
	}
	return err
}

// Update replaces an image or fields of it: first refers to what is new, then writes the record,
// then lets go of what was needed before.
func (h *Held) Update(ctx context.Context, image images.Image, fieldpaths ...string) (images.Image, error) {
	namespace, err := namespaceOf(ctx)
	if err != nil {
		return images.Image{}, err
	}
	defer h.lock(namespace, image.Name).Unlock()
	leasing := leaseContext(ctx, namespace)
	lease := leaseOf(image.Name)
	var before, after map[leases.Resource]bool
	updated, err := h.Store.update(ctx, image, fieldpaths, func(old, next images.Image) error {
		before, after = resourcesOf(old), resourcesOf(next)
		for resource := range after {
			if before[resource] {
				continue
			}
			err := h.leases.AddResource(leasing, lease, resource)
			if errdefs.IsNotFound(err) {
				return h.hold(leasing, next) // Somebody removed the lease.
			}
			if err != nil {
				return fmt.Errorf("lease for image %q: %w", next.Name, err)
			}
		}
		return nil
	})
	if err != nil {
		if before != nil {
			h.mend(leasing, namespace, image.Name)
		}
		return images.Image{}, err
	}
	for resource := range before {
		if !after[resource] {
			if err := h.leases.DeleteResource(leasing, lease, resource); err != nil && !errdefs.IsNotFound(err) {
				log.G(ctx).WithError(err).WithField("image", image.Name).
					Warn("what the image needed before is kept until the next start")
			}
		}
	}
	return updated, nil
}

// Delete forgets an image: first the record, then the lease. With SynchronousDelete it returns
// when what nothing needs any longer has been collected.
func (h *Held) Delete(ctx context.Context, name string, options ...images.DeleteOpt) error {
	return h.delete(ctx, name, func() {}, options...)
}

// delete calls `deleted` as soon as the record is gone.
func (h *Held) delete(ctx context.Context, name string, deleted func(), options ...images.DeleteOpt) error {
	var wanted images.DeleteOptions
	for _, option := range options {
		if err := option(ctx, &wanted); err != nil {
			return err
		}
	}
	namespace, err := namespaceOf(ctx)
	if err != nil {
		return err
	}
	defer h.lock(namespace, name).Unlock()
	if err := h.Store.Delete(ctx, name); err != nil {
		return err
	}
	deleted()
	var leaseOptions []leases.DeleteOpt
	if wanted.Synchronous {
		leaseOptions = append(leaseOptions, leases.SynchronousDelete)
	}
	err = h.release(leaseContext(ctx, namespace), name, leaseOptions...)
	if err != nil && !wanted.Synchronous {
		log.G(ctx).WithError(err).WithField("image", name).
			Warn("the image is gone; its content is kept until the next start")
	} else if err != nil {
		return fmt.Errorf("image %q is gone, but its content was not collected: %w", name, err)
	}
	return nil
}

// --- after a crash -------------------------------------------------------------------------------

// mend makes one name's lease fit its record, or be gone with it. The caller has the name's lock.
func (h *Held) mend(leasing context.Context, namespace, name string) {
	if err := h.fit(leasing, namespace, name); err != nil {
		log.G(leasing).WithError(err).WithField("image", name).
			Warn("the lease does not fit the image until the next start")
	}
}

func (h *Held) fit(leasing context.Context, namespace, name string) error {
	var record Record
	err := h.find(namespace, name, &record)
	if errdefs.IsNotFound(err) {
		return h.release(leasing, name)
	}
	if err != nil {
		return err
	}
	return h.hold(leasing, record.Image)
}

// Reconciled counts what Reconcile found.
type Reconciled struct {
	Images  int // in the store
	Added   int // leases that were missing
	Removed int // leases without an image
}

// Reconcile makes the leases of all namespaces fit the images: after a crash, after containerd lost
// its database, or after somebody removed a lease. `known` are containerd's namespaces.
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
	for namespace, images := range names {
		leasing := leaseContext(ctx, namespace)
		held, err := h.leases.List(leasing, fmt.Sprintf("id~=^%s", leasePrefix))
		if err != nil {
			return done, err
		}
		has := map[string]bool{}
		for _, lease := range held {
			name, ours := lease.Labels[leaseLabel]
			if !ours || lease.ID != leaseOf(name).ID {
				continue
			}
			has[name] = true
			if !images[name] {
				done.Removed++
			}
			if err := h.fitLocked(leasing, namespace, name); err != nil {
				return done, err
			}
		}
		for name := range images {
			if has[name] {
				continue
			}
			done.Added++
			if err := h.fitLocked(leasing, namespace, name); err != nil {
				return done, err
			}
		}
	}
	return done, nil
}

func (h *Held) fitLocked(leasing context.Context, namespace, name string) error {
	defer h.lock(namespace, name).Unlock()
	return h.fit(leasing, namespace, name)
}
