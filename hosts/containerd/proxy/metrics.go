// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package main

import (
	"context"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"waybill/hosts/containerd/adapter"
)

// metrics counts what is asked and, when it is looked at, what the store holds.
type metrics struct {
	store    *adapter.Store
	upstream *upstream

	operations  *prometheus.CounterVec
	errors      *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	passed      *prometheus.CounterVec
	recoverTime float64

	mutex      sync.Mutex
	layersAt   float64 // the revision that `layers` was counted at
	layers     float64
	incomplete float64
}

func describe(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("waybill_"+name, help, nil, nil)
}

// gauges are read from the library's statistics.
var gauges = []struct {
	desc *prometheus.Desc
	key  string
}{
	{describe("images", "Images in the store, of all namespaces."), "images"},
	{describe("record_bytes", "Bytes of all records in memory."), "recordBytes"},
	{describe("journal_bytes", "Bytes of the journal that hold records."), "journalBytes"},
	{describe("revision", "The last revision."), "revision"},
	{describe("batches_total", "Writes to the journal; each is one sync."), "batches"},
	{describe("transactions_total", "Changes of records."), "transactions"},
	{describe("snapshots_total", "Snapshots written since the start."), "snapshots"},
	{describe("snapshot_failures_total", "Snapshots that could not be written."), "snapshotFailures"},
	{describe("degraded", "1 if records were lost to damage."), "degraded"},
	{describe("read_only", "1 if the store takes no changes any more, since the disk failed."), "readOnly"},
}

var (
	layersDesc     = describe("layers", "Distinct layers that images are made of.")
	incompleteDesc = describe("incomplete_images", "Images of which a layer was not there at the start.")
	recoverDesc    = describe("recover_seconds", "How long opening the store took.")
	upDesc         = describe("containerd_up", "1 if containerd answers.")
)

func newMetrics(store *adapter.Store, upstream *upstream, recoverTime time.Duration) *metrics {
	buckets := []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5}
	return &metrics{
		store:       store,
		upstream:    upstream,
		recoverTime: recoverTime.Seconds(),
		layersAt:    -1,
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "waybill_operations_total", Help: "Calls of the Images API."}, []string{"operation"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "waybill_errors_total", Help: "Calls of the Images API that failed."}, []string{"operation", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "waybill_operation_seconds", Help: "Time that calls of the Images API took.", Buckets: buckets}, []string{"operation"}),
		passed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "waybill_passed_calls_total", Help: "Calls that were passed through to containerd."}, []string{"service", "code"}),
	}
}

// unary counts and times the calls that are answered here.
func (m *metrics) unary(ctx context.Context, request interface{}, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (interface{}, error) {
	began := time.Now()
	response, err := handler(ctx, request)
	if operation := path.Base(info.FullMethod); strings.Contains(info.FullMethod, "services.images.") {
		m.operations.WithLabelValues(operation).Inc()
		m.seconds.WithLabelValues(operation).Observe(time.Since(began).Seconds())
		if err != nil {
			m.errors.WithLabelValues(operation, status.Code(err).String()).Inc()
		}
	}
	return response, err
}

// stream counts the calls that are passed through.
func (m *metrics) stream(server interface{}, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	err := handler(server, stream)
	service := strings.Trim(path.Dir(info.FullMethod), "/")
	if !services[service] {
		service = "other"
	}
	m.passed.WithLabelValues(service, status.Code(err).String()).Inc()
	return err
}

// Describe is for prometheus.
func (m *metrics) Describe(descriptions chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(m, descriptions)
}

func number(value interface{}) float64 {
	switch value := value.(type) {
	case float64:
		return value
	case bool:
		if value {
			return 1
		}
	}
	return 0
}

// Collect is for prometheus.
func (m *metrics) Collect(values chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64) {
		kind := prometheus.GaugeValue
		if strings.Contains(desc.String(), "_total\"") {
			kind = prometheus.CounterValue
		}
		values <- prometheus.MustNewConstMetric(desc, kind, value)
	}
	statistics, err := m.store.Statistics()
	if err != nil {
		logrus.WithError(err).Warn("no statistics for the metrics")
		return
	}
	for _, each := range gauges {
		gauge(each.desc, number(statistics[each.key]))
	}
	layers, incomplete := m.count(number(statistics["revision"]))
	gauge(layersDesc, layers)
	gauge(incompleteDesc, incomplete)
	gauge(recoverDesc, m.recoverTime)
	gauge(upDesc, number(m.upstream.up()))
}

// count goes through all images, if any of them changed since the last time.
func (m *metrics) count(revision float64) (layers, incomplete float64) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.layersAt != revision {
		distinct := map[string]struct{}{}
		incomplete := 0.0
		err := m.store.Each("", func(record adapter.Record) {
			for _, layer := range record.Contents.Layers {
				distinct[layer.Digest.String()] = struct{}{}
			}
			incomplete += number(record.Incomplete)
		})
		if err != nil {
			logrus.WithError(err).Warn("layers were not counted for the metrics")
			return m.layers, m.incomplete
		}
		m.layersAt, m.layers, m.incomplete = revision, float64(len(distinct)), incomplete
	}
	return m.layers, m.incomplete
}

// listen serves the metrics until the process ends.
func (m *metrics) listen(address string) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(m, m.operations, m.errors, m.seconds, m.passed,
		prometheus.NewGoCollector(), prometheus.NewProcessCollector(prometheus.ProcessCollectorOpts{}))
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/v1/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := server.Serve(listener); err != nil {
			logrus.WithError(err).Error("metrics are not served any more")
		}
	}()
	logrus.WithField("address", listener.Addr().String()).Info("serving metrics at /v1/metrics")
	return nil
}
