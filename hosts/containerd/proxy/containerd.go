// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package main

import (
	"context"
	"net"
	"sync/atomic"
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

	dialed atomic.Uint64 // so often, and with success
	wake   atomic.Value  // context.CancelFunc, ends the wait of watch
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
			conn, err := (&net.Dialer{}).DialContext(ctx, "unix", address)
			if err == nil {
				u.dialed.Add(1)
				if wake, watched := u.wake.Load().(context.CancelFunc); watched {
					wake()
				}
			}
			return conn, err
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

// watch calls back at each change, until the context ends. A connection that takes the place of another
// is two changes, even if nobody looked between: states alone do not tell them apart.
func (u *upstream) watch(ctx context.Context, changed func(up bool)) {
	was, of := false, uint64(0)
	for ctx.Err() == nil {
		wait, wake := context.WithCancel(ctx)
		// Before anything is looked at: whatever is dialed later ends the wait.
		u.wake.Store(wake)
		state := u.conn.GetState()
		dialed := u.dialed.Load()
		up := state == connectivity.Ready
		if was && !(up && dialed == of) {
			was = false
			changed(false)
		}
		if up && !was {
			was, of = true, dialed
			changed(true)
		}
		if state == connectivity.Idle {
			connect(u.conn)
		}
		u.conn.WaitForStateChange(wait, state)
		wake()
	}
}

// connect has gRPC connect without a call that wants it. Since 1.41 a connection that was lost is made
// anew only when it is wanted; what is older does so by itself, and has no such method.
func connect(conn *grpc.ClientConn) {
	if idle, ok := interface{}(conn).(interface{ Connect() }); ok {
		idle.Connect()
	}
}
