// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	"github.com/containerd/containerd/gc"
	"github.com/containerd/containerd/leases"
	"github.com/containerd/containerd/log"
	"github.com/containerd/containerd/metadata"
	"github.com/containerd/containerd/plugin"
	"github.com/containerd/containerd/services"
	bolt "go.etcd.io/bbolt"
	"google.golang.org/grpc"

	"waybill/hosts/containerd/adapter"
)

// settings are [plugins."io.containerd.service.v1.images-service"] in containerd's configuration.
type settings struct {
	// Library is a path, or a name that the dynamic linker knows.
	Library string `toml:"library"`
	// Root is the directory of the store; "" is one below containerd's root.
	Root string `toml:"root"`
}

func init() {
	plugin.Register(&plugin.Registration{
		Type:     plugin.ServicePlugin,
		ID:       services.ImagesService,
		Requires: []plugin.Type{plugin.MetadataPlugin, plugin.GCPlugin},
		Config:   &settings{Library: adapter.DefaultLibrary},
		InitFn:   openImages,
	})
	plugin.Register(&plugin.Registration{
		Type:     plugin.GRPCPlugin,
		ID:       "images",
		Requires: []plugin.Type{plugin.ServicePlugin},
		InitFn: func(in *plugin.InitContext) (interface{}, error) {
			all, err := in.GetByType(plugin.ServicePlugin)
			if err != nil {
				return nil, err
			}
			service, ok := all[services.ImagesService]
			if !ok {
				return nil, errors.New("images service not found")
			}
			instance, err := service.Instance()
			if err != nil {
				return nil, err
			}
			return api{instance.(*images).Service}, nil
		},
	})
}

// images answers the Images API to clients in this process.
type images struct {
	adapter.Local
	held *adapter.Held
}

var _ imagesapi.ImagesClient = (*images)(nil)

// Close is called when containerd stops.
func (i *images) Close() error { return i.held.Close() }

// api answers the Images API on containerd's socket.
type api struct{ *adapter.Service }

func (a api) Register(server *grpc.Server) error {
	imagesapi.RegisterImagesServer(server, a.Service)
	return nil
}

func openImages(in *plugin.InitContext) (interface{}, error) {
	config := in.Config.(*settings)
	library, err := adapter.Load(config.Library)
	if err != nil {
		return nil, err
	}
	in.Meta.Exports["library"] = library.Path
	in.Meta.Exports["version"] = library.Version
	in.Meta.Exports["abi"] = fmt.Sprint(library.ABI)
	in.Meta.Exports["plugin"] = library.Type + "." + library.ID

	instance, err := in.Get(plugin.MetadataPlugin)
	if err != nil {
		return nil, err
	}
	db := instance.(*metadata.DB)
	if instance, err = in.Get(plugin.GCPlugin); err != nil {
		return nil, err
	}
	collector := instance.(scheduler)

	root := config.Root
	if root == "" {
		root = in.Root
	}
	in.Meta.Exports["root"] = root
	store, err := library.Open(adapter.Config{
		Root:        root,
		ContentRoot: filepath.Join(filepath.Dir(in.Root), "io.containerd.content.v1.content"),
		Provider:    db.ContentStore(),
		Log:         adapter.LogTo(log.G(in.Context)),
	})
	if err != nil {
		return nil, err
	}
	held := adapter.Hold(store, collecting{metadata.NewLeaseManager(db), collector})
	if err := reconcile(in.Context, db, held); err != nil {
		// Content that an image needs may be without its lease; without images nobody could mend that.
		log.G(in.Context).WithError(err).Error("leases were not reconciled; they are at the next start")
	}
	return &images{adapter.Local{Service: adapter.NewService(held, in.Events)}, held}, nil
}

// reconcile comes before anybody is served.
func reconcile(ctx context.Context, db *metadata.DB, held *adapter.Held) error {
	var known []string
	err := db.View(func(tx *bolt.Tx) (err error) {
		known, err = metadata.NewNamespaceStore(tx).List(ctx)
		return err
	})
	if err != nil {
		return err
	}
	done, err := held.Reconcile(ctx, known)
	log.G(ctx).WithField("images", done.Images).WithField("added", done.Added).
		WithField("removed", done.Removed).WithField("spared", done.Spared).
		WithField("foreign", done.Foreign).Info("leases looked through")
	return err
}

type scheduler interface {
	ScheduleAndWait(context.Context) (gc.Stats, error)
}

// collecting is containerd's lease manager with what its service adds: a synchronous deletion waits
// for the collector.
type collecting struct {
	leases.Manager
	scheduler scheduler
}

func (c collecting) Delete(ctx context.Context, lease leases.Lease, options ...leases.DeleteOpt) error {
	var wanted leases.DeleteOptions
	for _, option := range options {
		if err := option(ctx, &wanted); err != nil {
			return err
		}
	}
	err := c.Manager.Delete(ctx, lease)
	if err == nil && wanted.Synchronous {
		_, err = c.scheduler.ScheduleAndWait(ctx)
	}
	return err
}
