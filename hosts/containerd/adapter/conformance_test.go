// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package adapter

// The cases of containerd's own image tests, on its store and on ours.

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/images"
	"github.com/containerd/containerd/metadata"
	"github.com/containerd/containerd/namespaces"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	bolt "go.etcd.io/bbolt"
)

func boltDB(t testing.TB) *bolt.DB {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "meta.db"), 0600, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// onBoth runs a test on containerd's own store first: what it does is what is expected.
func onBoth(t *testing.T, test func(t *testing.T, store images.Store)) {
	t.Run("containerd", func(t *testing.T) {
		test(t, metadata.NewImageStore(metadata.NewDB(boltDB(t), nil, nil)))
	})
	t.Run("waybill", func(t *testing.T) { test(t, openStore(t, t.TempDir())) })
}

func TestListShowsWhatAnyFilterMatches(t *testing.T) {
	onBoth(t, func(t *testing.T, store images.Store) {
		ctx := testContext(t)
		for i := 0; i < 4; i++ {
			image := sample(fmt.Sprintf("image-%d", i))
			image.Target.MediaType = "application/vnd.containerd.test"
			image.Labels = map[string]string{
				"namelabel": image.Name,
				"even":      fmt.Sprint(i%2 == 0),
				"a.b":       "dotted",
			}
			if _, err := store.Create(ctx, image); err != nil {
				t.Fatal(err)
			}
		}
		for _, each := range []struct{ filters, found string }{
			{"", "0 1 2 3"},
			{"labels.even==true|labels.even==false", "0 1 2 3"},
			{"labels.even==true", "0 2"},
			{"labels.even==false", "1 3"},
			{"name==image-0", "0"},
			{"name~=image-[12]", "1 2"},
			{"labels.namelabel==image-0,labels.even==true", "0"},
			{"labels.namelabel==image-0,labels.even==false", ""},
			{`labels."a.b"==dotted`, "0 1 2 3"},
			{"labels.even", "0 1 2 3"},
			{"labels.none", ""},
			{"annotations.foo==bar", "0 1 2 3"},
			{"annotations.foo!=bar", ""},
			{"target.mediatype~=application/vnd.*", "0 1 2 3"},
			{"target.digest==" + digest.FromString("image-3").String(), "3"},
			{"target", ""},
			{"size==10", ""},
			{"name==image-3|name==image-1", "1 3"},
		} {
			var filters []string
			if each.filters != "" {
				filters = strings.Split(each.filters, "|")
			}
			listed, err := store.List(ctx, filters...)
			if err != nil {
				t.Fatal(err)
			}
			var found []string
			for _, image := range listed {
				found = append(found, strings.TrimPrefix(image.Name, "image-"))
			}
			if got := strings.Join(found, " "); got != each.found {
				t.Errorf("%q shows %q, want %q", each.filters, got, each.found)
			}
		}
		if _, err := store.List(ctx, "name=="); !errdefs.IsInvalidArgument(err) {
			t.Errorf("a broken filter: %v", err)
		}
		for i := 0; i < 4; i++ {
			name := fmt.Sprintf("image-%d", i)
			if err := store.Delete(ctx, name); err != nil {
				t.Fatal(err)
			}
			if err := store.Delete(ctx, name); !errdefs.IsNotFound(err) {
				t.Errorf("deleted twice: %v", err)
			}
		}
	})
}

func TestUpdateChangesWhatItNames(t *testing.T) {
	other := map[string]string{"for": "bar", "boo": "boo"}
	some := map[string]string{"foo": "baz", "baz": "bunk"}
	for _, each := range []struct {
		name   string
		change func(image *images.Image)
		paths  []string
		want   func(image *images.Image)
		fails  error
	}{
		{"everything", func(i *images.Image) { i.Labels = other; i.Target.Size = 20 }, nil,
			func(i *images.Image) { i.Labels = other; i.Target.Size = 20 }, nil},
		{"everything, without labels", func(i *images.Image) { i.Labels = nil }, nil,
			func(i *images.Image) { i.Labels = nil }, nil},
		{"labels", func(i *images.Image) { i.Labels = other; i.Target.Size = 20; i.Target.MediaType += "+ignored" },
			[]string{"labels"}, func(i *images.Image) { i.Labels = other }, nil},
		{"labels and annotations", func(i *images.Image) { i.Labels = other; i.Target.Annotations = some; i.Target.Size = 20 },
			[]string{"annotations", "labels"},
			func(i *images.Image) { i.Labels = other; i.Target.Annotations = some }, nil},
		{"one label", func(i *images.Image) { i.Labels = some }, []string{"labels.foo"},
			func(i *images.Image) { i.Labels = map[string]string{"foo": "baz", "baz": "boo"} }, nil},
		{"one annotation", func(i *images.Image) { i.Labels = some; i.Target.Annotations = some }, []string{"annotations.foo"},
			func(i *images.Image) {
				i.Target.Annotations = map[string]string{"foo": "baz", "baz": "boo"}
			}, nil},
		{"a label without a value", func(i *images.Image) { i.Labels = nil }, []string{"labels.foo"},
			func(i *images.Image) { i.Labels = map[string]string{"baz": "boo"} }, nil},
		{"the target", func(i *images.Image) {
			i.Labels = other
			i.Target.MediaType += "+replaced"
			i.Target.Digest = digest.FromString("another")
			i.Target.Annotations = map[string]string{"fox": "dog"}
		}, []string{"target"}, func(i *images.Image) {
			i.Target.MediaType += "+replaced"
			i.Target.Digest = digest.FromString("another")
			i.Target.Annotations = map[string]string{"fox": "dog"}
		}, nil},
		{"no size", func(i *images.Image) { i.Target.Size = 0 }, nil, nil, errdefs.ErrInvalidArgument},
		{"no size in the target", func(i *images.Image) { i.Target.Size = 0 }, []string{"target"}, nil, errdefs.ErrInvalidArgument},
		{"no media type", func(i *images.Image) { i.Target.MediaType = "" }, nil, nil, errdefs.ErrInvalidArgument},
		{"no digest", func(i *images.Image) { i.Target.Digest = "sha256:0" }, nil, nil, errdefs.ErrInvalidArgument},
		{"a path that is none", func(i *images.Image) {}, []string{"size"}, nil, errdefs.ErrInvalidArgument},
		{"an image that is none", func(i *images.Image) { i.Name = "none" }, nil, nil, errdefs.ErrNotFound},
		{"no name", func(i *images.Image) { i.Name = "" }, nil, nil, errdefs.ErrInvalidArgument},
		{"a label that is too long", func(i *images.Image) { i.Labels = map[string]string{"k": strings.Repeat("v", 4096)} },
			nil, nil, errdefs.ErrInvalidArgument},
		{"the longest label", func(i *images.Image) { i.Labels = map[string]string{"k": strings.Repeat("v", 4095)} }, nil,
			func(i *images.Image) { i.Labels = map[string]string{"k": strings.Repeat("v", 4095)} }, nil},
	} {
		each := each
		t.Run(each.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, store images.Store) {
				ctx := testContext(t)
				created, err := store.Create(ctx, sample("it"))
				if err != nil {
					t.Fatal(err)
				}
				input := sample("it")
				each.change(&input)
				before := time.Now()
				updated, err := store.Update(ctx, input, each.paths...)
				if !errors.Is(err, each.fails) {
					t.Fatalf("%v, want %v", err, each.fails)
				}
				got, err := store.Get(ctx, "it")
				if err != nil {
					t.Fatal(err)
				}
				if each.fails != nil {
					if !reflect.DeepEqual(got, created) {
						t.Errorf("after a refused update it is %v, want %v", got, created)
					}
					return
				}
				want := sample("it")
				each.want(&want)
				want.CreatedAt, want.UpdatedAt = created.CreatedAt, updated.UpdatedAt
				if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(updated, want) {
					t.Errorf("got %v\nanswered %v\nwant %v", got, updated, want)
				}
				if !updated.UpdatedAt.After(created.CreatedAt) || updated.UpdatedAt.Before(before) {
					t.Errorf("updated at %v, called at %v", updated.UpdatedAt, before)
				}
			})
		})
	}
}

func TestCreateRefusesWhatContainerdRefuses(t *testing.T) {
	for _, each := range []struct {
		name   string
		change func(image *images.Image)
		fails  error
	}{
		{"no target", func(i *images.Image) { i.Target = ocispec.Descriptor{} }, errdefs.ErrInvalidArgument},
		{"no size", func(i *images.Image) { i.Target.Size = 0 }, errdefs.ErrInvalidArgument},
		{"a negative size", func(i *images.Image) { i.Target.Size = -1 }, errdefs.ErrInvalidArgument},
		{"no media type", func(i *images.Image) { i.Target.MediaType = "" }, errdefs.ErrInvalidArgument},
		{"a short digest", func(i *images.Image) { i.Target.Digest = "sha256:abc" }, errdefs.ErrInvalidArgument},
		{"an unknown digest", func(i *images.Image) { i.Target.Digest = "md5:d41d8cd98f00b204e9800998ecf8427e" }, errdefs.ErrInvalidArgument},
		{"no name", func(i *images.Image) { i.Name = "" }, errdefs.ErrInvalidArgument},
		{"a label that is too long", func(i *images.Image) { i.Labels["k"] = strings.Repeat("v", 5000) }, errdefs.ErrInvalidArgument},
		{"a name that is taken", func(i *images.Image) { i.Name = "taken" }, errdefs.ErrAlreadyExists},
		{"nothing", func(*images.Image) {}, nil},
	} {
		each := each
		t.Run(each.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, store images.Store) {
				ctx := testContext(t)
				taken, err := store.Create(ctx, sample("taken"))
				if err != nil {
					t.Fatal(err)
				}
				image := sample("it")
				each.change(&image)
				before := time.Now()
				created, err := store.Create(ctx, image)
				if !errors.Is(err, each.fails) {
					t.Fatalf("%v, want %v", err, each.fails)
				}
				if each.fails == nil && (!created.CreatedAt.Equal(created.UpdatedAt) || created.CreatedAt.Before(before)) {
					t.Errorf("created %v, updated %v, called %v", created.CreatedAt, created.UpdatedAt, before)
				}
				listed, err := store.List(ctx)
				if want := 1; err != nil || each.fails != nil && len(listed) != want {
					t.Errorf("%d images, %v", len(listed), err)
				}
				if got, _ := store.Get(ctx, "taken"); !reflect.DeepEqual(got, taken) {
					t.Errorf("the other one is %v, want %v", got, taken)
				}
			})
		})
	}
}

func TestNamespacesAreApart(t *testing.T) {
	onBoth(t, func(t *testing.T, store images.Store) {
		one := namespaces.WithNamespace(context.Background(), "one")
		two := namespaces.WithNamespace(context.Background(), "two")
		if _, err := store.Create(one, sample("it")); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Get(two, "it"); !errdefs.IsNotFound(err) {
			t.Error(err)
		}
		if listed, err := store.List(two); len(listed) != 0 || err != nil {
			t.Error(listed, err)
		}
		if err := store.Delete(two, "it"); !errdefs.IsNotFound(err) {
			t.Error(err)
		}
		if _, err := store.Create(two, sample("it")); err != nil {
			t.Error(err)
		}
		for _, ctx := range []context.Context{context.Background(),
			namespaces.WithNamespace(context.Background(), "not/one")} {
			_, got := store.Get(ctx, "it")
			_, listed := store.List(ctx)
			_, created := store.Create(ctx, sample("it"))
			_, updated := store.Update(ctx, sample("it"))
			for _, err := range []error{got, listed, created, updated, store.Delete(ctx, "it")} {
				if !errdefs.IsFailedPrecondition(err) && !errdefs.IsInvalidArgument(err) {
					t.Errorf("without a namespace: %v", err)
				}
			}
		}
	})
}

func TestOfManyCreatesOneWins(t *testing.T) {
	onBoth(t, func(t *testing.T, store images.Store) {
		ctx := testContext(t)
		var won, lost int32
		var all sync.WaitGroup
		for i := 0; i < 64; i++ {
			all.Add(1)
			go func() {
				defer all.Done()
				_, err := store.Create(ctx, sample("it"))
				switch {
				case err == nil:
					atomic.AddInt32(&won, 1)
				case errdefs.IsAlreadyExists(err):
					atomic.AddInt32(&lost, 1)
				default:
					t.Error(err)
				}
			}()
		}
		all.Wait()
		if won != 1 || lost != 63 {
			t.Errorf("%d won, %d lost", won, lost)
		}
	})
}

func TestUpdatesAtOnceLoseNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, store images.Store) {
		ctx := testContext(t)
		if _, err := store.Create(ctx, sample("it")); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for i := 0; i < 32; i++ {
			key := fmt.Sprintf("label-%d", i)
			all.Add(1)
			go func() {
				defer all.Done()
				image := images.Image{Name: "it", Labels: map[string]string{key: "set"}}
				if _, err := store.Update(ctx, image, "labels."+key); err != nil {
					t.Error(err)
				}
			}()
		}
		all.Wait()
		got, err := store.Get(ctx, "it")
		if err != nil || len(got.Labels) != 34 {
			t.Errorf("%d labels of 34, %v", len(got.Labels), err)
		}
	})
}
