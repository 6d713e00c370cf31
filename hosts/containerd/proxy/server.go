// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/containerd/containerd"
	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	"github.com/containerd/containerd/defaults"
	"github.com/containerd/containerd/namespaces"
	"github.com/coreos/go-systemd/daemon"
	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"waybill/hosts/containerd/adapter"
)

const imagesService = "containerd.services.images.v1.Images"

// serve is the life of the proxy: open, serve, drain, close.
func serve(c config) error {
	// First of all: a signal while the store is opened is not lost.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	signal.Ignore(syscall.SIGPIPE)

	containerd, err := dial(c.Containerd)
	if err != nil {
		return err
	}
	defer containerd.conn.Close()
	began := time.Now()
	held, err := open(c, containerd.client)
	if err != nil {
		return err
	}
	defer held.Close()
	stopping, stop := context.WithCancel(context.Background())
	defer stop()

	measured := newMetrics(held.Store, containerd, time.Since(began))
	if c.Metrics.Address != "" {
		if err := measured.listen(c.Metrics.Address); err != nil {
			return fmt.Errorf("metrics.address: %w", err)
		}
	}
	through := &passthrough{upstream: containerd, stopping: stopping, holdsImages: func(namespace string) (bool, error) {
		held, err := held.List(namespaces.WithNamespace(context.Background(), namespace))
		return len(held) > 0, err
	}}
	server := grpc.NewServer(
		grpc.CustomCodec(codec{}),
		grpc.UnknownServiceHandler(through.handle),
		grpc.MaxRecvMsgSize(defaults.DefaultMaxRecvMsgSize),
		grpc.MaxSendMsgSize(defaults.DefaultMaxSendMsgSize),
		grpc.ChainUnaryInterceptor(measured.unary, namespaced),
		grpc.ChainStreamInterceptor(measured.stream, endWith(stopping)))
	imagesapi.RegisterImagesServer(server, adapter.NewService(held, containerd.client.EventService()))
	health := health.NewServer()
	grpc_health_v1.RegisterHealthServer(server, health)

	listener, err := listen(c)
	if err != nil {
		return err
	}
	// A new health server says of "" that it serves; nobody is to hear that before it is known.
	health.SetServingStatus("", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	go follow(stopping, containerd, held, health)
	go watchStore(stopping, held.Store, health)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	logrus.WithField("socket", c.Socket.Path).Info("serving")
	notify(daemon.SdNotifyReady)

	select {
	case err := <-ended:
		return fmt.Errorf("%s: %w", c.Socket.Path, err)
	case received := <-signals:
		logrus.WithField("signal", received.String()).Info("stopping")
	}
	notify(daemon.SdNotifyStopping)
	health.Shutdown()
	stop()
	drained := make(chan struct{})
	go func() { server.GracefulStop(); close(drained) }()
	select {
	case <-drained:
	case <-time.After(c.drain()):
		logrus.Warn("calls under way are cut short: they took longer than drain")
		server.Stop()
	case received := <-signals:
		logrus.WithField("signal", received.String()).Warn("calls under way are cut short")
		server.Stop()
	}
	if err := held.Close(); err != nil {
		return err
	}
	logrus.Info("stopped")
	return nil
}

func notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		logrus.WithError(err).Warn("systemd was not notified")
	}
}

// open loads the library and opens the store, and says what it found.
func open(c config, client *containerd.Client) (*adapter.Held, error) {
	library, err := adapter.Load(c.Library)
	if err != nil {
		return nil, err
	}
	logrus.WithFields(logrus.Fields{"library": library.Path, "version": library.Version, "abi": library.ABI}).
		Info("library loaded")
	store, err := library.Open(adapter.Config{
		Root:        c.Store,
		ContentRoot: c.contentRoot(),
		Provider:    client.ContentStore(),
		Log:         adapter.LogTo(logrus.NewEntry(logrus.StandardLogger())),
	})
	if err != nil {
		var failure *adapter.Failure
		if errors.As(err, &failure) && failure.IsLocked() {
			return nil, fmt.Errorf("%w; one process at a time may have the store open", err)
		}
		return nil, err
	}
	fields := logrus.Fields{"store": c.Store}
	for _, key := range []string{"images", "incompleteImages", "degraded", "droppedTailBytes", "revision", "milliseconds"} {
		fields[key] = store.Recovery[key]
	}
	logrus.WithFields(fields).Info("store recovered")
	return adapter.Hold(store, client.LeasesService()), nil
}

// namespaced makes the namespace that a client sent known to the calls that it leads to.
func namespaced(ctx context.Context, request interface{}, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (interface{}, error) {
	if namespace, ok := namespaces.Namespace(ctx); ok {
		ctx = namespaces.WithNamespace(ctx, namespace)
	}
	return handler(ctx, request)
}

// endWith ends watches of the health, which go on as long as their clients wish, at a stop.
func endWith(stopping context.Context) grpc.StreamServerInterceptor {
	return func(server interface{}, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if info.FullMethod != "/grpc.health.v1.Health/Watch" {
			return handler(server, stream)
		}
		ended := make(chan error, 1)
		go func() { ended <- handler(server, stream) }()
		select {
		case err := <-ended:
			return err
		case <-stopping.Done():
			return errStopping
		}
	}
}

// listen makes the socket. One that somebody listens on is left to them; one that a killed proxy
// left behind is replaced.
func listen(c config) (net.Listener, error) {
	path := c.Socket.Path
	if err := os.MkdirAll(filepath.Dir(path), 0755); err != nil {
		return nil, err
	}
	// One at a time looks and replaces: what nobody served a moment ago may be another proxy's by now.
	directory, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer directory.Close()
	if err := syscall.Flock(int(directory.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("%s: cannot be locked: %w", directory.Name(), err)
	}
	conn, err := net.Dial("unix", path)
	switch {
	case err == nil:
		conn.Close()
		return nil, fmt.Errorf("%s: another process serves it", path)
	case errors.Is(err, syscall.ENOENT):
	case errors.Is(err, syscall.ECONNREFUSED):
		// Nobody listens: what a killed proxy left behind, or no socket at all.
		if info, err := os.Lstat(path); err != nil || info.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("%s: there is something that is no socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	default:
		return nil, err
	}
	mode, err := c.socketMode()
	if err != nil {
		return nil, err
	}
	// Nobody may connect before it has its mode.
	mask := syscall.Umask(0177)
	listener, err := net.Listen("unix", path)
	syscall.Umask(mask)
	if err != nil {
		return nil, err
	}
	if err = os.Chown(path, -1, int(c.Socket.GID)); err == nil {
		err = os.Chmod(path, mode)
	}
	if err != nil {
		listener.Close()
		return nil, err
	}
	return listener, nil
}

// follow reconciles the leases each time containerd comes up, and tells when it is away.
func follow(ctx context.Context, containerd *upstream, held *adapter.Held, health *health.Server) {
	log := logrus.WithField("containerd", containerd.address)
	connected := func() {}
	containerd.watch(ctx, func(up bool) {
		connected()
		if !up {
			health.SetServingStatus("", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
			log.Warn("containerd is away")
			return
		}
		log.Info("containerd is up")
		health.SetServingStatus("", grpc_health_v1.HealthCheckResponse_SERVING)
		var connection context.Context
		connection, connected = context.WithCancel(ctx)
		go reconcile(connection, containerd.client, held, log)
	})
}

// reconcile tries until it is done, or the connection has ended.
func reconcile(ctx context.Context, client *containerd.Client, held *adapter.Held, log *logrus.Entry) {
	for wait := time.Second; ; wait *= 2 {
		known, err := client.NamespaceService().List(ctx)
		var done adapter.Reconciled
		if err == nil {
			done, err = held.Reconcile(ctx, known)
		}
		found := log.WithFields(logrus.Fields{"images": done.Images, "added": done.Added, "removed": done.Removed,
			"spared": done.Spared, "foreign": done.Foreign})
		if err == nil {
			found.Info("leases reconciled")
			if done.Foreign > 0 {
				found.Warn("there are leases of another store: if this is the wrong one, its images are safe")
			}
			return
		}
		if ctx.Err() != nil {
			return
		}
		if wait > time.Minute {
			wait = time.Minute
		}
		found.WithError(err).WithField("again", wait.String()).Error("leases were not reconciled")
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// watchStore makes the health of the Images service that of the store.
func watchStore(ctx context.Context, store *adapter.Store, health *health.Server) {
	every := time.NewTicker(2 * time.Second)
	defer every.Stop()
	was := false
	for {
		takes, err := store.TakesChanges()
		broken := err != nil || !takes
		if broken && !was {
			logrus.Error("the store takes no changes any more; mend the disk and start the proxy again")
		}
		was = broken
		answer := grpc_health_v1.HealthCheckResponse_SERVING
		if broken {
			answer = grpc_health_v1.HealthCheckResponse_NOT_SERVING
		}
		health.SetServingStatus(imagesService, answer)
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}
