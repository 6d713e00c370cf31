// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

// Package test asks a running host over its socket what ctr cannot ask.
package test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd"
	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	"github.com/containerd/containerd/content"
	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/images"
	"github.com/containerd/containerd/leases"
	"github.com/containerd/containerd/namespaces"
	"github.com/gogo/protobuf/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

func setting(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv("WAYBILL_TEST_" + name)
	if value == "" {
		t.Fatalf("WAYBILL_TEST_%s is not set", name)
	}
	return value
}

func connect(t *testing.T) *containerd.Client {
	t.Helper()
	client, err := containerd.New(setting(t, "SOCKET"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func scratch(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return namespaces.WithNamespace(ctx, strings.ToLower(t.Name()))
}

func sample(name string) images.Image {
	return images.Image{Name: name, Target: ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(name), Size: 10,
		Annotations: map[string]string{"org.example.of": name}}}
}

func TestRecordsComeBackWhole(t *testing.T) {
	ctx, store := scratch(t), connect(t).ImageService()
	image := sample("it")
	image.Labels = map[string]string{"a": "b", "containerd.io/x": strings.Repeat("é", 1000)}
	created, err := store.Create(ctx, image)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Delete(ctx, "it")
	got, err := store.Get(ctx, "it")
	if err != nil || fmt.Sprint(got) != fmt.Sprint(created) ||
		got.Target.Annotations["org.example.of"] != "it" || len(got.Labels) != 2 {
		t.Errorf("%v %v, want %v", got, err, created)
	}
	if got.CreatedAt.IsZero() || !got.CreatedAt.Equal(got.UpdatedAt) {
		t.Errorf("created %v, updated %v", got.CreatedAt, got.UpdatedAt)
	}
}

func TestOfEightClientsOneCreatesEachName(t *testing.T) {
	ctx := scratch(t)
	var won, lost int32
	var all sync.WaitGroup
	for i := 0; i < 8; i++ {
		store := connect(t).ImageService()
		for j := 0; j < 5; j++ {
			name := fmt.Sprintf("tag-%d", j)
			all.Add(1)
			go func() {
				defer all.Done()
				switch _, err := store.Create(ctx, sample(name)); {
				case err == nil:
					atomic.AddInt32(&won, 1)
				case errdefs.IsAlreadyExists(err):
					atomic.AddInt32(&lost, 1)
				default:
					t.Error(err)
				}
			}()
		}
	}
	all.Wait()
	store := connect(t).ImageService()
	listed, err := store.List(ctx)
	if won != 5 || lost != 35 || len(listed) != 5 || err != nil {
		t.Errorf("%d won, %d lost, %d listed, %v", won, lost, len(listed), err)
	}
	for _, image := range listed {
		if err := store.Delete(ctx, image.Name); err != nil {
			t.Error(err)
		}
	}
}

func TestLabelsOfManyClientsAddUp(t *testing.T) {
	ctx, store := scratch(t), connect(t).ImageService()
	if _, err := store.Create(ctx, sample("it")); err != nil {
		t.Fatal(err)
	}
	defer store.Delete(ctx, "it")
	var all sync.WaitGroup
	for i := 0; i < 20; i++ {
		key := fmt.Sprint("label-", i)
		all.Add(1)
		go func() {
			defer all.Done()
			_, err := store.Update(ctx, images.Image{Name: "it", Labels: map[string]string{key: "x"}}, "labels."+key)
			if err != nil {
				t.Error(err)
			}
		}()
	}
	all.Wait()
	if got, err := store.Get(ctx, "it"); err != nil || len(got.Labels) != 20 {
		t.Errorf("%d labels, %v", len(got.Labels), err)
	}
}

func TestErrorsHaveContainerdsCodes(t *testing.T) {
	client := connect(t)
	ctx, api := scratch(t), imagesapi.NewImagesClient(client.Conn())
	code := func(_ interface{}, err error) codes.Code { return status.Code(err) }
	if _, err := client.ImageService().Create(ctx, sample("it")); err != nil {
		t.Fatal(err)
	}
	defer client.ImageService().Delete(ctx, "it")
	taken := &imagesapi.CreateImageRequest{Image: imagesapi.Image{Name: "it"}}
	taken.Image.Target.MediaType, taken.Image.Target.Size_ = "a/b", 1
	taken.Image.Target.Digest = digest.FromString("it")
	odd := &imagesapi.UpdateImageRequest{Image: imagesapi.Image{Name: "it"}, UpdateMask: &types.FieldMask{Paths: []string{"size"}}}
	for _, each := range []struct {
		what      string
		got, want codes.Code
	}{
		{"get of none", code(api.Get(ctx, &imagesapi.GetImageRequest{Name: "none"})), codes.NotFound},
		{"get without a name", code(api.Get(ctx, &imagesapi.GetImageRequest{})), codes.NotFound},
		{"create of one that is", code(api.Create(ctx, taken)), codes.AlreadyExists},
		{"create of nothing", code(api.Create(ctx, &imagesapi.CreateImageRequest{})), codes.InvalidArgument},
		{"update of none", code(api.Update(ctx, &imagesapi.UpdateImageRequest{Image: imagesapi.Image{Name: "none"}})), codes.NotFound},
		{"update of an odd field", code(api.Update(ctx, odd)), codes.InvalidArgument},
		{"delete of none", code(api.Delete(ctx, &imagesapi.DeleteImageRequest{Name: "none"})), codes.NotFound},
		{"delete without a name", code(api.Delete(ctx, &imagesapi.DeleteImageRequest{})), codes.NotFound},
		{"get of a long name", code(api.Get(ctx, &imagesapi.GetImageRequest{Name: strings.Repeat("n", 5000)})), codes.NotFound},
		{"a broken filter", code(api.List(ctx, &imagesapi.ListImagesRequest{Filters: []string{"name=="}})), codes.InvalidArgument},
		{"no namespace", code(api.Get(context.Background(), &imagesapi.GetImageRequest{Name: "it"})), codes.FailedPrecondition},
		{"content that is not there", code(client.ContentStore().Info(ctx, digest.FromString("none"))), codes.Unknown},
	} {
		// containerd's client turns the code of content into an error of its own.
		if each.got != each.want {
			t.Errorf("%s: %v, want %v", each.what, each.got, each.want)
		}
	}
	if _, err := client.ContentStore().Info(ctx, digest.FromString("none")); !errdefs.IsNotFound(err) {
		t.Error(err)
	}
}

func TestLargeStreamsPassUnchanged(t *testing.T) {
	client := connect(t)
	ctx, err := scratch(t), error(nil)
	lease, err := client.LeasesService().Create(ctx, leases.WithID("large"), leases.WithExpiration(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	ctx = leases.WithLease(ctx, lease.ID)
	blob := make([]byte, 40<<20)
	rand.New(rand.NewSource(1)).Read(blob)
	d := ocispec.Descriptor{Digest: digest.FromBytes(blob), Size: int64(len(blob))}
	if err := content.WriteBlob(ctx, client.ContentStore(), "large", struct{ io.Reader }{bytes.NewReader(blob)}, d); err != nil {
		t.Fatal(err)
	}
	got, err := content.ReadBlob(ctx, client.ContentStore(), d)
	if err != nil || !bytes.Equal(got, blob) {
		t.Errorf("%d bytes of %d, %v", len(got), len(blob), err)
	}
	if err := client.LeasesService().Delete(ctx, lease, leases.SynchronousDelete); err != nil {
		t.Error(err)
	}
	if _, err := client.ContentStore().Info(ctx, d.Digest); !errdefs.IsNotFound(err) {
		t.Errorf("after its lease: %v", err)
	}
}

func TestServiceThatIsNoneIsUnimplemented(t *testing.T) {
	err := connect(t).Conn().Invoke(scratch(t), "/containerd.services.none.v1.None/Do", &types.Empty{}, &types.Empty{})
	if status.Code(err) != codes.Unimplemented {
		t.Error(err)
	}
}

func TestHealthIsServing(t *testing.T) {
	services := []string{""}
	if setting(t, "HOST") == "proxy" {
		services = append(services, "containerd.services.images.v1.Images")
	}
	for _, service := range services {
		answer, err := grpc_health_v1.NewHealthClient(connect(t).Conn()).
			Check(scratch(t), &grpc_health_v1.HealthCheckRequest{Service: service})
		if err != nil || answer.Status != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("%q: %v %v", service, answer, err)
		}
	}
}

func TestProxyRefusesTransferWithAdvice(t *testing.T) {
	err := connect(t).Conn().Invoke(scratch(t), "/containerd.services.transfer.v1.Transfer/Transfer", &types.Empty{}, &types.Empty{})
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "--local") {
		t.Error(err)
	}
}

// In the daemon containerd asks its own records, which are empty: see the README.
func TestNamespaceWithImagesIsDeletedByTheDaemonAlone(t *testing.T) {
	ctx, client := scratch(t), connect(t)
	namespace, _ := namespaces.Namespace(ctx)
	if _, err := client.ImageService().Create(ctx, sample("it")); err != nil {
		t.Fatal(err)
	}
	err := client.NamespaceService().Delete(ctx, namespace)
	deleted := setting(t, "HOST") == "daemon"
	if deleted && err != nil || !deleted && (!errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "images")) {
		t.Error(err)
	}
	if err := client.ImageService().Delete(ctx, "it"); err != nil {
		t.Error(err)
	}
	if err := client.NamespaceService().Delete(ctx, namespace); err != nil && !(deleted && errdefs.IsNotFound(err)) {
		t.Error(err)
	}
}

func TestProxyCountsInItsMetrics(t *testing.T) {
	ctx, store := scratch(t), connect(t).ImageService()
	if _, err := store.Create(ctx, sample("it")); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Create(ctx, sample("it")); !errdefs.IsAlreadyExists(err) {
		t.Error(err)
	}
	value := func(name string) float64 {
		answer, err := http.Get("http://127.0.0.1:5001/v1/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(text), "\n") {
			if rest := strings.TrimPrefix(line, name+" "); rest != line {
				number, err := strconv.ParseFloat(rest, 64)
				if err != nil {
					t.Error(err)
				}
				return number
			}
		}
		t.Errorf("no %s", name)
		return -1
	}
	images, layers := value("waybill_images"), value("waybill_layers")
	if images < 1 || layers < 1 {
		t.Errorf("%v images, %v layers", images, layers)
	}
	for _, name := range []string{`waybill_operations_total{operation="Create"}`,
		`waybill_errors_total{code="AlreadyExists",operation="Create"}`,
		`waybill_operation_seconds_count{operation="Create"}`, "waybill_journal_bytes",
		"waybill_recover_seconds", "waybill_containerd_up"} {
		if value(name) <= 0 {
			t.Errorf("%s is %v", name, value(name))
		}
	}
	for _, name := range []string{"waybill_degraded", "waybill_read_only", "waybill_incomplete_images"} {
		if value(name) != 0 {
			t.Errorf("%s is %v", name, value(name))
		}
	}
	if err := store.Delete(ctx, "it"); err != nil {
		t.Error(err)
	}
	if after := value("waybill_images"); after != images-1 {
		t.Errorf("%v images after a removal, %v before", after, images)
	}
}

// The last one: it stops the proxy. An upload under way is completed, a subscription is ended. Whether
// the proxy ended well is for who started it to see.
func TestStopDrains(t *testing.T) {
	ctx, client := scratch(t), connect(t)
	lease, err := client.LeasesService().Create(ctx, leases.WithID("drain"), leases.WithExpiration(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	ctx = leases.WithLease(ctx, lease.ID)
	blob := []byte("two halves")
	d := ocispec.Descriptor{Digest: digest.FromBytes(blob), Size: int64(len(blob))}
	writer, err := client.ContentStore().Writer(ctx, content.WithRef("drain"), content.WithDescriptor(d))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Write(blob[:5]); err != nil {
		t.Fatal(err)
	}
	_, ended := client.EventService().Subscribe(ctx)
	time.Sleep(100 * time.Millisecond)
	pid, err := strconv.Atoi(setting(t, "PROXY_PID"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "stopping") {
			t.Errorf("the subscription ended with %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("a subscription holds the stop up")
	}
	if _, err := writer.Write(blob[5:]); err != nil {
		t.Fatal(err)
	}
	if err := writer.Commit(ctx, d.Size, d.Digest); err != nil {
		t.Error(err)
	}
	writer.Close()
}
