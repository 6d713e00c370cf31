// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

// bench times the adapter and containerd's own image store in one process, on one disk, in turns,
// and prints medians and ratios.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"

	"github.com/containerd/containerd/images"
	"github.com/containerd/containerd/metadata"
	"github.com/containerd/containerd/namespaces"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	bolt "go.etcd.io/bbolt"

	"waybill/hosts/containerd/adapter"
)

var (
	directory = flag.String("dir", "", "`DIRECTORY` on the disk to measure (default: a new one below /var/tmp)")
	library   = flag.String("library", adapter.DefaultLibrary, "`PATH` of libwaybill.so.1")
	rounds    = flag.Int("rounds", 5, "medians of so many")
	stored    = flag.Int("images", 1000, "images in the store")
)

var root string // of both stores

func must(err error) {
	if err != nil {
		os.RemoveAll(root)
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func image(name string) images.Image {
	return images.Image{
		Name:   name,
		Labels: map[string]string{"containerd.io/distribution.source.registry.example": "library/" + name},
		Target: ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageManifest,
			Digest:    digest.FromString(name),
			Size:      1234,
		},
	}
}

func name(i int) string { return fmt.Sprintf("registry.example/library/image-%07d:latest", i) }

// names are those that are looked up, made before the clock runs, in an order without a pattern.
func names(count int) []string {
	made := make([]string, count)
	for i := range made {
		made[i] = name(i * 7919 % *stored)
	}
	return made
}

// store is one of the two, with images in it.
type store struct {
	images.Store
	close func()
	next  int // number of the next new image
}

// openAll opens our store alone, our store with leases in containerd's database as the hosts have it,
// and containerd's own.
func openAll(root string, ctx context.Context) (ours, leased, theirs *store) {
	loaded, err := adapter.Load(*library)
	must(err)
	waybill, err := loaded.Open(adapter.Config{Root: filepath.Join(root, "waybill")})
	must(err)
	db, err := bolt.Open(filepath.Join(root, "meta.db"), 0644, bolt.DefaultOptions) // As containerd does.
	must(err)
	meta := metadata.NewDB(db, nil, nil)
	must(meta.Init(ctx))
	second, err := loaded.Open(adapter.Config{Root: filepath.Join(root, "leased")})
	must(err)
	held := adapter.Hold(second, metadata.NewLeaseManager(meta))
	ours = &store{waybill, func() { waybill.Close() }, 0}
	leased = &store{held, func() { held.Close() }, 0}
	theirs = &store{metadata.NewImageStore(meta), func() { db.Close() }, 0}
	for _, each := range []*store{ours, leased, theirs} {
		each.create(ctx, 64, *stored)
	}
	return ours, leased, theirs
}

// create makes `count` new images from several goroutines, each waiting for its own.
func (s *store) create(ctx context.Context, goroutines, count int) {
	var all sync.WaitGroup
	first := s.next
	s.next += count
	for g := 0; g < goroutines; g++ {
		g := g
		all.Add(1)
		go func() {
			defer all.Done()
			for i := g; i < count; i += goroutines {
				_, err := s.Create(ctx, image(name(first+i)))
				must(err)
			}
		}()
	}
	all.Wait()
}

// measurement does something so often, and each time is one of its operations.
type measurement struct {
	what  string
	count int
	wants float64 // how many times as fast it is to be, or 0
	// leases tells that the hosts change a lease with it.
	leases bool
	run    func(ctx context.Context, s *store, names []string)
}

var measurements = []measurement{
	{"Get", 20000, 5, false, func(ctx context.Context, s *store, names []string) {
		for _, name := range names {
			_, err := s.Get(ctx, name)
			must(err)
		}
	}},
	{"Get, 8 goroutines", 80000, 0, false, func(ctx context.Context, s *store, names []string) {
		var all sync.WaitGroup
		for g := 0; g < 8; g++ {
			g := g
			all.Add(1)
			go func() {
				defer all.Done()
				for i := g; i < len(names); i += 8 {
					_, err := s.Get(ctx, names[i])
					must(err)
				}
			}()
		}
		all.Wait()
	}},
	{"List, of all", 20, 0, false, func(ctx context.Context, s *store, names []string) {
		for range names {
			_, err := s.List(ctx)
			must(err)
		}
	}},
	{"List, a filter that one passes", 20, 0, false, func(ctx context.Context, s *store, names []string) {
		for _, name := range names {
			found, err := s.List(ctx, "name=="+name)
			must(err)
			if len(found) != 1 {
				must(fmt.Errorf("%d images of one name", len(found)))
			}
		}
	}},
	{"Create", 200, 0, true, func(ctx context.Context, s *store, names []string) { s.create(ctx, 1, len(names)) }},
	{"Create, 64 goroutines", 2000, 20, true, func(ctx context.Context, s *store, names []string) { s.create(ctx, 64, len(names)) }},
	{"Update, one label", 200, 0, false, func(ctx context.Context, s *store, names []string) {
		for _, name := range names {
			changed := image(name)
			changed.Labels = map[string]string{"round": fmt.Sprint(time.Now().UnixNano())}
			_, err := s.Update(ctx, changed, "labels.round")
			must(err)
		}
	}},
	{"Delete", 200, 0, true, func(ctx context.Context, s *store, names []string) {
		for range names {
			s.next--
			must(s.Delete(ctx, name(s.next)))
		}
	}},
}

func median(values []float64) float64 {
	sort.Float64s(values)
	return values[len(values)/2]
}

func main() {
	flag.Parse()
	if *directory == "" {
		*directory = "/var/tmp"
	}
	made, err := os.MkdirTemp(*directory, "waybill-bench")
	must(err)
	root = made
	defer os.RemoveAll(root)
	ctx := namespaces.WithNamespace(context.Background(), "default")
	ours, leased, theirs := openAll(root, ctx)
	defer ours.close()
	defer leased.close()
	defer theirs.close()

	fmt.Printf("%d images, medians of %d rounds, microseconds an operation\n\n", *stored, *rounds)
	fmt.Println("| operation | containerd's store | Waybill | times as fast | wanted |")
	fmt.Println("|---|---|---|---|---|")
	for _, m := range measurements {
		compare(ctx, m, m.what, ours, theirs)
	}
	for _, m := range measurements {
		if m.leases {
			m.wants = 0
			compare(ctx, m, m.what+", with its lease in containerd", leased, theirs)
		}
	}
}

func compare(ctx context.Context, m measurement, what string, ours, theirs *store) {
	names := names(m.count)
	var their, our, ratio []float64
	for round := 0; round < *rounds; round++ {
		var took [2]float64
		for i := range took {
			// In turns, and each goes first as often.
			which := (i + round) % 2
			began := time.Now()
			m.run(ctx, []*store{ours, theirs}[which], names)
			took[which] = time.Since(began).Seconds() * 1e6 / float64(m.count)
		}
		our, their, ratio = append(our, took[0]), append(their, took[1]), append(ratio, took[1]/took[0])
	}
	wants := ""
	if m.wants > 0 {
		wants = fmt.Sprintf("%.0f", m.wants)
	}
	fmt.Printf("| %s | %.2f | %.2f | %.2f | %s |\n", what, median(their), median(our), median(ratio), wants)
}
