// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package main

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
)

// served is a server on a socket, which can be ended and started again there.
func served(t *testing.T, socket string) *grpc.Server {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return server
}

// watched tells what an upstream's watch tells.
type watched struct {
	*testing.T
	ctx  context.Context
	told chan bool
}

func (w *watched) expect(when string, want bool) {
	w.Helper()
	select {
	case up := <-w.told:
		if up != want {
			w.Fatalf("%s: up is %v", when, up)
		}
	case <-w.ctx.Done():
		w.Fatalf("%s: nobody was told that up is %v", when, want)
	}
}

// dialed is a containerd that is not there yet, under that socket, and what its watch is told.
func dialed(t *testing.T) (containerd *upstream, socket string, w *watched) {
	socket = filepath.Join(t.TempDir(), "sock")
	containerd, err := dial(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { containerd.conn.Close() })
	return containerd, socket, &watched{t, deadline(t), make(chan bool, 100)}
}

// No call is made here: whether containerd is there is known without one.
func TestContainerdThatComesBackIsSeenWithoutACall(t *testing.T) {
	for how, end := range map[string]func(*grpc.Server){
		"killed": (*grpc.Server).Stop, "stopped": (*grpc.Server).GracefulStop,
	} {
		containerd, socket, w := dialed(t)
		go containerd.watch(w.ctx, func(up bool) { w.told <- up })
		for round := 0; round < 3; round++ {
			server := served(t, socket)
			w.expect("started", true)
			end(server)
			w.expect(how, false)
		}
	}
}

// Another containerd answers than before, with a database that may be another: leases have to be
// reconciled with it, however short the time between the two was, and however long the proxy slept.
func TestContainerdThatCameBackUnnoticedIsToldOf(t *testing.T) {
	containerd, socket, w := dialed(t)
	server := served(t, socket)
	awake := make(chan struct{})
	go containerd.watch(w.ctx, func(up bool) {
		w.told <- up
		<-awake
	})
	w.expect("started", true)
	server.Stop()
	reach := func(wanted bool) {
		for state := containerd.conn.GetState(); (state == connectivity.Ready) != wanted; state = containerd.conn.GetState() {
			if state == connectivity.Idle {
				connect(containerd.conn)
			}
			if !containerd.conn.WaitForStateChange(w.ctx, state) {
				t.Fatalf("the connection stays %v", state)
			}
		}
	}
	reach(false)
	served(t, socket)
	reach(true)
	close(awake)
	w.expect("another one in its place", false)
	w.expect("another one in its place", true)
}
