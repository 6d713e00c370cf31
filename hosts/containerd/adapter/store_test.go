// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package adapter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/images"
	"github.com/containerd/containerd/namespaces"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

func testContext(t testing.TB) context.Context {
	t.Helper()
	return namespaces.WithNamespace(context.Background(), "testing")
}

func testLibrary(t testing.TB) *Library {
	t.Helper()
	path := os.Getenv("WAYBILL_LIBRARY")
	if path == "" {
		t.Fatal("WAYBILL_LIBRARY does not say which library is to be tested")
	}
	library, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return library
}

func openStore(t testing.TB, root string) *Store {
	t.Helper()
	store, err := testLibrary(t).Open(Config{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

func sample(name string) images.Image {
	return images.Image{
		Name:   name,
		Labels: map[string]string{"foo": "bar", "baz": "boo"},
		Target: ocispec.Descriptor{
			Digest:      digest.FromString(name),
			Size:        10,
			MediaType:   "application/vnd.oci.blab",
			Annotations: map[string]string{"foo": "bar", "baz": "boo"},
		},
	}
}

func TestRecordsOutliveTheProcess(t *testing.T) {
	ctx := testContext(t)
	root := t.TempDir()
	store := openStore(t, root)
	want := map[string]images.Image{}
	for i := 0; i < 300; i++ {
		image := sample(fmt.Sprintf("image-%03d", i))
		// From records smaller than the lookup's first buffer to much larger ones.
		for j := 0; j < i; j++ {
			image.Labels[fmt.Sprintf("label-%d", j)] = strings.Repeat("é", j)
		}
		created, err := store.Create(ctx, image)
		if err != nil {
			t.Fatal(err)
		}
		want[image.Name] = created
	}
	for i := 0; i < 2; i++ {
		listed, err := store.List(ctx)
		if err != nil || len(listed) != len(want) {
			t.Fatalf("%d images, %v", len(listed), err)
		}
		for _, image := range listed {
			if !reflect.DeepEqual(image, want[image.Name]) {
				t.Errorf("listed %v, want %v", image, want[image.Name])
			}
			if got, err := store.Get(ctx, image.Name); err != nil || !reflect.DeepEqual(got, image) {
				t.Errorf("%v %v, want %v", got, err, image)
			}
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		store = openStore(t, root)
	}
	if found := store.Recovery["images"]; found != 300.0 {
		t.Errorf("recovery reports %v images", found)
	}
}

func TestImportKeepsTimes(t *testing.T) {
	ctx := testContext(t)
	store := openStore(t, t.TempDir())
	image := sample("it")
	image.CreatedAt = time.Date(2019, 1, 2, 3, 4, 5, 6, time.UTC)
	image.UpdatedAt = image.CreatedAt.Add(time.Hour)
	if err := store.Import(ctx, image); err != nil {
		t.Fatal(err)
	}
	if got, err := store.Get(ctx, "it"); err != nil || !reflect.DeepEqual(got, image) {
		t.Errorf("%v %v, want %v", got, err, image)
	}
}

func TestBadTextIsRefusedAndNothingIsCutShort(t *testing.T) {
	ctx := testContext(t)
	store := openStore(t, t.TempDir())
	nul := sample("a\x00b")
	label, annotation, utf8, long := sample("a"), sample("a"), sample("\xff"), sample(strings.Repeat("n", 1025))
	label.Labels["k\x00"] = "v"
	annotation.Target.Annotations["k"] = "v\x00"
	for _, image := range []images.Image{nul, label, annotation, utf8, long} {
		if _, err := store.Create(ctx, image); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%.20q: %v", image.Name, err)
		}
		if _, err := store.Get(ctx, image.Name); err == nil {
			t.Errorf("%.20q is there", image.Name)
		}
	}
	if err := store.Delete(ctx, "a\x00b"); !errdefs.IsNotFound(err) {
		t.Error(err)
	}
	longest := sample(strings.Repeat("n", 1024))
	if _, err := store.Create(ctx, longest); err != nil {
		t.Error(err)
	}
}

func TestStoreInUseIsToldWithItsHolder(t *testing.T) {
	root := t.TempDir()
	openStore(t, root)
	_, err := testLibrary(t).Open(Config{Root: root})
	var failure *Failure
	if !errors.As(err, &failure) || !failure.IsLocked() || !strings.Contains(err.Error(), root) ||
		!strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Error(err)
	}
}

func TestClosedStoreRefusesAndCompletesWhatHasBegun(t *testing.T) {
	ctx := testContext(t)
	root := t.TempDir()
	store := openStore(t, root)
	var created int32
	var all sync.WaitGroup
	for i := 0; i < 64; i++ {
		name := fmt.Sprintf("image-%d", i)
		all.Add(1)
		go func() {
			defer all.Done()
			if _, err := store.Create(ctx, sample(name)); err == nil {
				atomic.AddInt32(&created, 1)
			} else if !errdefs.IsUnavailable(err) {
				t.Error(err)
			}
		}()
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	if _, err := store.Get(ctx, "image-0"); !errdefs.IsUnavailable(err) {
		t.Error(err)
	}
	listed, err := openStore(t, root).List(ctx)
	if err != nil || len(listed) != int(created) {
		t.Errorf("%d images of %d, %v", len(listed), created, err)
	}
}

func TestWhatTheLibraryDoesNotSayIsNotTakenForGood(t *testing.T) {
	for _, each := range []struct {
		statistics map[string]interface{}
		mayHave    bool
	}{
		{map[string]interface{}{"degraded": false, "readOnly": false}, false},
		{map[string]interface{}{"degraded": true, "readOnly": false}, true},
		{map[string]interface{}{"degraded": false, "readOnly": true}, true},
		{map[string]interface{}{"degraded": false}, true},
		{map[string]interface{}{"readOnly": false}, true},
		{nil, true},
	} {
		if mayHaveLost(each.statistics) != each.mayHave {
			t.Errorf("by %v records may have been lost: %v", each.statistics, !each.mayHave)
		}
	}
	for _, recovery := range []map[string]interface{}{nil, {}, {"storeId": ""}, {"storeId": 1.0}} {
		if _, err := identityOf(recovery); err == nil {
			t.Errorf("%v has an identity", recovery)
		}
	}
}

func TestQueueThatCannotBeWaitedForIsAnError(t *testing.T) {
	// A regular file is none that the poller takes, as none is where the limit of watches is met.
	fd, err := unix.Open(filepath.Join(t.TempDir(), "file"), unix.O_CREAT|unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := polled(fd, "completions"); err == nil || !strings.Contains(err.Error(), "completions") {
		t.Error(err)
	}
}

func TestLibraryThatIsNoneIsToldByName(t *testing.T) {
	for _, path := range []string{"/nowhere/libwaybill.so.1", "libc.so.6"} {
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestLogOfTheLibraryArrives(t *testing.T) {
	root := t.TempDir()
	openStore(t, root).Close()
	// A torn tail is mended and told.
	journal, err := filepath.Glob(filepath.Join(root, "journal.*"))
	if err != nil || len(journal) != 1 {
		t.Fatal(journal, err)
	}
	snapshot := filepath.Join(root, "snapshot")
	bytes, err := os.ReadFile(snapshot)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(snapshot, int64(len(bytes)/2)); err != nil {
		t.Fatal(err)
	}
	var mutex sync.Mutex
	var lines []string
	store, err := testLibrary(t).Open(Config{Root: root, Log: func(severity int, line string) {
		mutex.Lock()
		defer mutex.Unlock()
		lines = append(lines, fmt.Sprint(severity, " ", line))
	}})
	if err != nil {
		t.Fatal(err)
	}
	store.Close()
	mutex.Lock()
	defer mutex.Unlock()
	if !strings.Contains(strings.Join(lines, "\n"), "damage") {
		t.Errorf("%q", lines)
	}
}
