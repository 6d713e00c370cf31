// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package adapter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/images"
	"github.com/containerd/containerd/leases"
	"github.com/containerd/containerd/log"
	"github.com/containerd/containerd/namespaces"
	"github.com/opencontainers/go-digest"
)

const (
	leasePrefix = "waybill-"
	// imageLabel holds the name of the image that a lease is for, storeLabel the store's identity.
	imageLabel = "io.waybill.image"
	storeLabel = "io.waybill.store"

	contentRefLabel  = "containerd.io/gc.ref.content"
	snapshotRefLabel = "containerd.io/gc.ref.snapshot."

	// What has begun is tidied up although the caller has gone; but not without end.
	tidyTimeout = 30 * time.Second
)

// Held is a store whose images keep their content alive. containerd's garbage collector knows only
// its own images and leases; so each image here has a lease there, which names what the image
// refers to.
//
// Invariants: content is referred to before a record names it, and as long as one does. A lease of
// this store's goes only when it is certain that its record is not there: not after the disk failed,
// and not while records that were lost to damage are missed. A crash may leave a lease without an
// image, or what an older target needed; Reconcile takes both away. Leases of another store's are
// left alone.
type Held struct {
	*Store
	leases leases.Manager
	// A record and its lease are in two databases, which no single write reaches; so what changes
	// both goes one after the other for each name. Who wins a race is the store's to say.
	names nameLocks
}

var _ images.Store = (*Held)(nil)

// Hold makes the images of a store hold their content by leases of this manager.
func Hold(store *Store, manager leases.Manager) *Held {
	return &Held{Store: store, leases: manager}
}

// --- leases --------------------------------------------------------------------------------------

// bare is a context without the values of the caller's: a lease that the caller works under must
// not take part in these calls.
type bare struct{ context.Context }

func (bare) Value(interface{}) interface{} { return nil }

func leaseContext(ctx context.Context, namespace string) context.Context {
	return namespaces.WithNamespace(bare{ctx}, namespace)
}

// tidyContext outlives the caller.
func tidyContext(namespace string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), tidyTimeout)
	return namespaces.WithNamespace(ctx, namespace), cancel
}

// leaseOf is the lease of an image. Its name cannot be guessed without knowing the store.
func (h *Held) leaseOf(name string) leases.Lease {
	sum := sha256.Sum256([]byte(h.id + "\x00" + name))
	return leases.Lease{ID: leasePrefix + hex.EncodeToString(sum[:])}
}

type resources map[leases.Resource]bool

func (r resources) equal(other resources) bool {
	for resource := range r {
		if !other[resource] {
			return false
		}
	}
	return len(r) == len(other)
}

// resourcesOf names what containerd's collector would find from an image of its own: the target,
// and what labels refer to. What cannot be referred to it passes over.
func resourcesOf(image images.Image) resources {
	needed := resources{{ID: image.Target.Digest.String(), Type: "content"}: true}
	for key, value := range image.Labels {
		if rest := strings.TrimPrefix(key, contentRefLabel); rest != key {
			if (rest == "" || rest[0] == '.' || rest[0] == '/') && digest.Digest(value).Validate() == nil {
				needed[leases.Resource{ID: value, Type: "content"}] = true
			}
		} else if snapshotter := strings.TrimPrefix(key, snapshotRefLabel); snapshotter != key {
			snapshotter, _, _ = strings.Cut(snapshotter, "/")
			if snapshotter != "" {
				needed[leases.Resource{ID: value, Type: "snapshots/" + snapshotter}] = true
			}
		}
	}
	return needed
}

// refer makes the lease of an image refer to all that the image needs, and tells whether there was
// none. Writes only what is missing.
func (h *Held) refer(ctx context.Context, image images.Image) (created bool, err error) {
	lease := h.leaseOf(image.Name)
	has, err := h.leases.ListResources(ctx, lease)
	if errdefs.IsNotFound(err) {
		_, err = h.leases.Create(ctx, leases.WithID(lease.ID),
			leases.WithLabels(map[string]string{imageLabel: image.Name, storeLabel: h.id}))
		created = err == nil
		if errdefs.IsAlreadyExists(err) {
			err = nil
		}
	}
	missing := resourcesOf(image)
	for _, resource := range has {
		delete(missing, resource)
	}
	for resource := range missing {
		if err == nil {
			err = h.leases.AddResource(ctx, lease, resource)
		}
	}
	if err != nil {
		return created, fmt.Errorf("lease for image %q: %w", image.Name, err)
	}
	return created, nil
}

// shrink makes the lease of an image refer to nothing else than what the image needs; but not if the
// record that says so may not be the last one.
func (h *Held) shrink(ctx context.Context, image images.Image) error {
	lease, needed := h.leaseOf(image.Name), resourcesOf(image)
	has, err := h.leases.ListResources(ctx, lease)
	if err != nil {
		return err
	}
	var excess []leases.Resource
	for _, resource := range has {
		if !needed[resource] {
			excess = append(excess, resource)
		}
	}
	if len(excess) == 0 {
		return nil
	}
	if mayHaveLost, err := h.mayHaveLost(); err != nil || mayHaveLost {
		return err
	}
	for _, resource := range excess {
		if err := h.leases.DeleteResource(ctx, lease, resource); err != nil {
			return err
		}
	}
	return nil
}

// release removes the lease of an image, and tells whether there was one.
func (h *Held) release(ctx context.Context, name string) (removed bool, err error) {
	err = h.leases.Delete(ctx, h.leaseOf(name))
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// fitting is what fit did to a lease.
type fitting int

const (
	kept    fitting = iota // There was a lease, or none was needed.
	added                  // There was none.
	removed                // There was no record.
	spared                 // Neither, but the record may have been lost.
)

// fit makes one name's lease fit its record, or be gone with it; if a record may have been lost, it
// only adds. The caller has the name's lock.
//
// Whether a record may have been lost is asked after the record was looked for: a write of it that
// ended in doubt ended before the lock was had, and since then the store says so. An older answer
// would not know of it.
func (h *Held) fit(ctx context.Context, namespace, name string) (fitting, error) {
	var record Record
	err := h.find(namespace, name, false, &record)
	if errdefs.IsNotFound(err) {
		return h.fitNone(ctx, name)
	}
	if err != nil {
		return kept, err
	}
	created, err := h.refer(ctx, record.Image)
	if err == nil {
		err = h.shrink(ctx, record.Image)
	}
	if created {
		return added, err
	}
	return kept, err
}

// fitNone is for a name without a record.
func (h *Held) fitNone(ctx context.Context, name string) (fitting, error) {
	mayHaveLost, err := h.mayHaveLost()
	if err != nil {
		return kept, err
	}
	if mayHaveLost {
		_, err := h.leases.ListResources(ctx, h.leaseOf(name))
		if errdefs.IsNotFound(err) {
			return kept, nil
		}
		return spared, err
	}
	if done, err := h.release(ctx, name); err != nil || !done {
		return kept, err
	}
	return removed, nil
}

// mend is for after a call that failed. If it may have happened all the same, everything is kept.
func (h *Held) mend(namespace, name string, failed error) {
	if isUncertain(failed) {
		return
	}
	ctx, cancel := tidyContext(namespace)
	defer cancel()
	_, err := h.fit(ctx, namespace, name)
	h.warn(err, name)
}

// warn is for what the next Reconcile mends.
func (h *Held) warn(err error, name string) {
	if err != nil {
		log.L.WithError(err).WithField("image", name).
			Warn("more content is kept than the images need, until leases are reconciled")
	}
}

// --- images --------------------------------------------------------------------------------------

// Create stores an image under a name that is free: first the lease, then the record.
func (h *Held) Create(ctx context.Context, image images.Image) (images.Image, error) {
	namespace, err := namespaceOf(ctx)
	if err != nil {
		return images.Image{}, err
	}
	if image, err = checked(image); err != nil {
		return images.Image{}, err
	}
	unlock, err := h.names.lock(ctx, namespace, image.Name)
	if err != nil {
		return images.Image{}, err
	}
	defer unlock()
	var taken Record
	if err := h.find(namespace, image.Name, false, &taken); err == nil {
		return images.Image{}, fmt.Errorf("image %q: %w", image.Name, errdefs.ErrAlreadyExists)
	} else if !errdefs.IsNotFound(err) {
		return images.Image{}, err
	}
	var created images.Image
	if _, err = h.refer(leaseContext(ctx, namespace), image); err == nil {
		created, err = h.Store.Create(ctx, image)
	}
	if err != nil {
		h.mend(namespace, image.Name, err)
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
	unlock, err := h.names.lock(ctx, namespace, image.Name)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err = h.refer(leaseContext(ctx, namespace), image); err == nil {
		err = h.Store.Import(ctx, image)
	}
	// Also after success: what was needed before goes.
	h.mend(namespace, image.Name, err)
	return err
}

// Update replaces an image or fields of it: first refers to what is new, then writes the record,
// then lets go of what was needed before.
func (h *Held) Update(ctx context.Context, image images.Image, fieldpaths ...string) (images.Image, error) {
	namespace, err := namespaceOf(ctx)
	if err != nil {
		return images.Image{}, err
	}
	unlock, err := h.names.lock(ctx, namespace, image.Name)
	if err != nil {
		return images.Image{}, err
	}
	defer unlock()
	differs := false
	updated, err := h.Store.update(ctx, image, fieldpaths, func(old, next images.Image) error {
		// What an attempt before this one referred to has to be let go of, too.
		differs = differs || !resourcesOf(old).equal(resourcesOf(next))
		if differs || setsTarget(fieldpaths) {
			// Also for a target that stays: pulling again mends a lease that somebody removed.
			_, err := h.refer(leaseContext(ctx, namespace), next)
			return err
		}
		return nil
	})
	if differs {
		h.mend(namespace, image.Name, err)
	}
	return updated, err
}

func setsTarget(fieldpaths []string) bool {
	for _, path := range fieldpaths {
		if path == "target" {
			return true
		}
	}
	return len(fieldpaths) == 0
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
	unlock, err := h.names.lock(ctx, namespace, name)
	if err != nil {
		return err
	}
	defer unlock()
	if err := h.Store.Delete(ctx, name); err != nil {
		return err
	}
	deleted()
	if wanted.Synchronous {
		if err = h.collect(leaseContext(ctx, namespace), name); err == nil {
			return nil
		}
	}
	tidying, cancel := tidyContext(namespace)
	defer cancel()
	_, left := h.release(tidying, name)
	h.warn(left, name)
	if err != nil {
		return fmt.Errorf("image %q is gone, but its content was not collected: %w", name, err)
	}
	return nil
}

// collect removes a lease, and returns when what nothing needs any longer is gone.
func (h *Held) collect(ctx context.Context, name string) error {
	err := h.leases.Delete(ctx, h.leaseOf(name), leases.SynchronousDelete)
	if !errdefs.IsNotFound(err) {
		return err
	}
	// Without a lease to remove nobody would collect.
	lease, err := h.leases.Create(ctx, leases.WithRandomID(), leases.WithExpiration(tidyTimeout))
	if err != nil {
		return err
	}
	return h.leases.Delete(ctx, lease, leases.SynchronousDelete)
}
