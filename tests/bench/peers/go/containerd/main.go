// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

// containerd's metadata store of images on bbolt, in process and without its daemon.
//
// Its image has a name, labels and a target descriptor. What the workload has beyond that (layers,
// config digest, platform) is kept in labels of this program's own.
package main

import (
	"context"
	_ "crypto/sha256" // what digests are checked with
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/containerd/images"
	"github.com/containerd/containerd/metadata"
	"github.com/containerd/containerd/namespaces"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"

	"waybill.bench/worker"
)

const (
	layerPrefix       = "bench.layer."
	configLabel       = "bench.config"
	osLabel           = "bench.os"
	architectureLabel = "bench.architecture"
)

func toStored(image worker.Image) images.Image {
	labels := make(map[string]string, len(image.Labels)+len(image.Layers)+3)
	for key, value := range image.Labels {
		labels[key] = value
	}
	for i, layer := range image.Layers {
		labels[layerPrefix+strconv.Itoa(i)] = layer.Digest + " " +
			strconv.FormatUint(layer.SizeBytes, 10)
	}
	labels[configLabel] = image.ConfigDigest
	labels[osLabel] = image.OS
	labels[architectureLabel] = image.Architecture
	return images.Image{
		Name:   image.Reference,
		Labels: labels,
		Target: ocispec.Descriptor{
			MediaType: image.MediaType,
			Digest:    digest.Digest(image.TargetDigest),
			Size:      int64(image.SizeBytes),
		},
	}
}

type record struct{ stored images.Image }

func (r record) ReadFields() (int, error) {
	sum := len(r.stored.Name) + len(r.stored.Target.MediaType) + len(r.stored.Target.Digest) +
		int(r.stored.Target.Size)
	for key, value := range r.stored.Labels {
		if strings.HasPrefix(key, layerPrefix) {
			digest, size, _ := strings.Cut(value, " ")
			bytes, err := strconv.ParseUint(size, 10, 64)
			if err != nil {
				return 0, err
			}
			sum += len(digest) + int(bytes)
		} else {
			sum += len(key) + len(value)
		}
	}
	return sum, nil
}

func (r record) Image() (worker.Image, error) {
	image := worker.Image{
		Reference:    r.stored.Name,
		TargetDigest: r.stored.Target.Digest.String(),
		MediaType:    r.stored.Target.MediaType,
		SizeBytes:    uint64(r.stored.Target.Size),
		Labels:       map[string]string{},
	}
	layers := 0
	for key, value := range r.stored.Labels {
		switch {
		case strings.HasPrefix(key, layerPrefix):
			layers++
		case key == configLabel:
			image.ConfigDigest = value
		case key == osLabel:
			image.OS = value
		case key == architectureLabel:
			image.Architecture = value
		default:
			image.Labels[key] = value
		}
	}
	for i := 0; i < layers; i++ {
		value := r.stored.Labels[layerPrefix+strconv.Itoa(i)]
		digest, size, _ := strings.Cut(value, " ")
		bytes, err := strconv.ParseUint(size, 10, 64)
		if err != nil {
			return image, err
		}
		image.Layers = append(image.Layers, worker.Layer{Digest: digest, SizeBytes: bytes})
	}
	return image, nil
}

type engine struct {
	path    string
	bolt    *bbolt.DB
	store   images.Store
	context context.Context
	filled  bool
	sum     int
}

func (e *engine) Open(directory string) error {
	e.path = filepath.Join(directory, "meta.db")
	_, err := os.Stat(e.path)
	e.filled = err == nil
	if e.bolt, err = bbolt.Open(e.path, 0600, nil); err != nil {
		return err
	}
	database := metadata.NewDB(e.bolt, nil, nil)
	e.context = namespaces.WithNamespace(context.Background(), "default")
	if err := database.Init(e.context); err != nil {
		return err
	}
	e.store = metadata.NewImageStore(database)
	return nil
}

func (e *engine) Close() error { return e.bolt.Close() }

// Fill puts a thousand images a transaction. What an earlier round removed is made anew.
func (e *engine) Fill(count int) error {
	for first := 0; first < count; first += 1000 {
		err := e.inOne(func(ctx context.Context) error {
			for i := first; i < first+1000 && i < count; i++ {
				image := toStored(worker.Make(i, 0))
				_, err := e.store.Create(ctx, image)
				if err != nil && e.filled {
					_, err = e.store.Update(ctx, image)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	e.filled = true
	return nil
}

// inOne runs what several calls do in one transaction, by the way that containerd has for it.
func (e *engine) inOne(work func(ctx context.Context) error) error {
	return e.bolt.Update(func(tx *bbolt.Tx) error {
		return work(metadata.WithTransactionContext(e.context, tx))
	})
}

func (e *engine) Put(image worker.Image) error {
	_, err := e.store.Update(e.context, toStored(image))
	return err
}

func (e *engine) Get(name string) (worker.Record, error) {
	stored, err := e.store.Get(e.context, name)
	return record{stored}, err
}

func (e *engine) Remove(name string) error { return e.store.Delete(e.context, name) }

func (e *engine) Prune(keep []string) (int, error) {
	kept := make(map[string]struct{}, len(keep))
	for _, name := range keep {
		kept[name] = struct{}{}
	}
	removed := 0
	err := e.inOne(func(ctx context.Context) error {
		all, err := e.store.List(ctx)
		if err != nil {
			return err
		}
		for _, image := range all {
			if _, wanted := kept[image.Name]; wanted {
				continue
			}
			if err := e.store.Delete(ctx, image.Name); err != nil {
				return err
			}
			removed++
		}
		return nil
	})
	return removed, err
}

func (e *engine) List() (int, error) {
	all, err := e.store.List(e.context)
	if err != nil {
		return 0, err
	}
	for _, stored := range all {
		sum, err := record{stored}.ReadFields()
		if err != nil {
			return 0, err
		}
		e.sum += sum
	}
	return len(all), nil
}

// Compact does what "bbolt compact" does.
func (e *engine) Compact() error {
	small := e.path + ".small"
	to, err := bbolt.Open(small, 0600, nil)
	if err != nil {
		return err
	}
	if err := bbolt.Compact(to, e.bolt, 65536); err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	if err := to.Close(); err != nil {
		return err
	}
	return os.Rename(small, e.path)
}

func main() { worker.Serve(&engine{}) }
