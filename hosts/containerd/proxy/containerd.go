// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package main

import (
	"context"
	"net"
	"time"

	"github.com/containerd/containerd"
	"github.com/containerd/containerd/defaults"
	"github.com/containerd/containerd/pkg/dialer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// upstream is the containerd that everything but images is passed through to. It may go and come
// back at any time.
type upstream struct {
	address string
	conn    *grpc.ClientConn
	client  *containerd.Client
}

// dial does not wait for containerd; calls fail with Unavailable as long as it is away.
func dial(address string) (*upstream, error) {
	u := &upstream{address: address}
	retry := backoff.DefaultConfig
	retry.BaseDelay = 100 * time.Millisecond
	retry.MaxDelay = time.Second // A restarted containerd should not be waited for long.
	conn, err := grpc.Dial(dialer.DialAddress(address),
		grpc.WithInsecure(), // A unix socket; its mode is what protects it.
		// One attempt, where containerd's own dialer waits for a socket that is not there: calls should
		// fail at once while containerd is away.
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", address)
		}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry, MinConnectTimeout: 5 * time.Second}),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(defaults.DefaultMaxRecvMsgSize),
			grpc.MaxCallSendMsgSize(defaults.DefaultMaxSendMsgSize)),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, request, reply interface{},
			conn *grpc.ClientConn, invoker grpc.UnaryInvoker, options ...grpc.CallOption) error {
			return u.explain(invoker(ctx, method, request, reply, conn, options...))
		}))
	if err != nil {
		return nil, err
	}
	u.conn = conn
	u.client, err = containerd.NewWithConn(conn)
	return u, err
}

// explain says whose fault it is that nothing can be reached.
func (u *upstream) explain(err error) error {
	if s, ok := status.FromError(err); ok && s.Code() == codes.Unavailable && !u.up() {
		return status.Errorf(codes.Unavailable, "containerd is away (%s): %s", u.address, s.Message())
	}
	return err
}

func (u *upstream) up() bool { return u.conn.GetState() == connectivity.Ready }

// watch calls back at each change, until the context ends.
func (u *upstream) watch(ctx context.Context, changed func(up bool)) {
	was := false
	for {
		state := u.conn.GetState()
		if up := state == connectivity.Ready; up != was {
			was = up
			changed(up)
		}
		if state == connectivity.Idle {
			connect(u.conn)
		}
		if !u.conn.WaitForStateChange(ctx, state) {
			return
		}
	}
}

// connect has gRPC connect without a call that wants it. Since 1.41 a connection that was lost is made
// anew only when it is wanted; what is older does so by itself, and has no such method.
func connect(conn *grpc.ClientConn) {
	if idle, ok := interface{}(conn).(interface{ Connect() }); ok {
		idle.Connect()
	}
}
