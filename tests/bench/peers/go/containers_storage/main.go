// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

// The image store of containers/storage, as podman and CRI-O use it, on its vfs driver.
//
// An image is its id, one name, the manifest's digest, and in its metadata the record as JSON; it
// has no layer directories. A put is SetMetadata: the one call that replaces a record in place,
// and like all others it rewrites images.json.
package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containers/storage"
	"github.com/opencontainers/go-digest"

	"waybill.bench/worker"
)

// record decodes the metadata only when a field is asked for.
type record struct{ stored *storage.Image }

func (r record) Image() (worker.Image, error) {
	var image worker.Image
	err := json.Unmarshal([]byte(r.stored.Metadata), &image)
	return image, err
}

func (r record) ReadFields() (int, error) {
	image, err := r.Image()
	if err != nil {
		return 0, err
	}
	sum := len(image.Reference) + len(image.TargetDigest) + len(image.MediaType) +
		int(image.SizeBytes) + len(image.ConfigDigest) + len(image.OS) + len(image.Architecture)
	for _, layer := range image.Layers {
		sum += len(layer.Digest) + int(layer.SizeBytes)
	}
	for key, value := range image.Labels {
		sum += len(key) + len(value)
	}
	return sum, nil
}

type engine struct {
	directory string
	store     storage.Store
	sum       int
}

func (e *engine) imagesDirectory() string { return filepath.Join(e.directory, "root", "vfs-images") }

func (e *engine) Open(directory string) error {
	e.directory = directory
	var err error
	e.store, err = storage.GetStore(storage.StoreOptions{
		GraphRoot:       filepath.Join(directory, "root"),
		RunRoot:         filepath.Join(directory, "run"),
		GraphDriverName: "vfs",
	})
	return err
}

func (e *engine) Close() error {
	_, err := e.store.Shutdown(false)
	return err
}

// id names an image by its first config digest, as the programs that use this store do.
func id(image worker.Image) string { return strings.TrimPrefix(image.ConfigDigest, "sha256:") }

// Fill writes images.json as the store itself would: by its own calls, each of which rewrites the
// file, ten thousand images take the better part of an hour.
func (e *engine) Fill(count int) error {
	all := make([]*storage.Image, 0, count)
	for i := 0; i < count; i++ {
		image := worker.Make(i, 0)
		metadata, err := json.Marshal(image)
		if err != nil {
			return err
		}
		all = append(all, &storage.Image{
			ID:       id(image),
			Digest:   digest.Digest(image.TargetDigest),
			Names:    []string{image.Reference},
			Metadata: string(metadata),
			Created:  time.Unix(1700000000, 0).UTC(),
		})
	}
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(e.imagesDirectory(), "images.json"), text, 0600); err != nil {
		return err
	}
	return e.announceChange(count)
}

// announceChange makes the store read the file again, as after a change by another process: the
// lock file then holds another writer's mark.
func (e *engine) announceChange(count int) error {
	var mark [32]byte
	if _, err := rand.Read(mark[:]); err != nil {
		return err
	}
	path := filepath.Join(e.imagesDirectory(), "images.lock")
	if err := os.WriteFile(path, []byte(hex.EncodeToString(mark[:])), 0600); err != nil {
		return err
	}
	all, err := e.store.Images()
	if err == nil && len(all) != count {
		err = fmt.Errorf("the store sees %d images after a fill with %d", len(all), count)
	}
	return err
}

func (e *engine) Put(image worker.Image) error {
	metadata, err := json.Marshal(image)
	if err != nil {
		return err
	}
	return e.store.SetMetadata(image.Reference, string(metadata))
}

func (e *engine) Get(name string) (worker.Record, error) {
	stored, err := e.store.Image(name)
	return record{stored}, err
}

func (e *engine) Remove(name string) error {
	stored, err := e.store.Image(name)
	if err == nil {
		_, err = e.store.DeleteImage(stored.ID, true)
	}
	return err
}

func (e *engine) Prune([]string) (int, error) {
	return 0, fmt.Errorf("%w it removes one image a call and rewrites images.json each time",
		worker.ErrUnsupported)
}

func (e *engine) List() (int, error) {
	all, err := e.store.Images()
	if err != nil {
		return 0, err
	}
	for i := range all {
		sum, err := record{&all[i]}.ReadFields()
		if err != nil {
			return 0, err
		}
		e.sum += sum
	}
	return len(all), nil
}

func (e *engine) Compact() error { return nil }

func main() { worker.Serve(&engine{}) }
