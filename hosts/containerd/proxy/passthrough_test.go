// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ptypes "github.com/gogo/protobuf/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// behind is a gRPC server that does what containerd rarely does: headers, trailers, details, streams
// that end first on either side. Its methods are named for what they do.
func behind(t *testing.T, ended chan<- error) string {
	handle := func(_ interface{}, stream grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(stream)
		incoming, _ := metadata.FromIncomingContext(stream.Context())
		stream.SetHeader(metadata.Pairs("x-header", "h", "x-got", strings.Join(incoming["x-sent"], ",")))
		stream.SetTrailer(metadata.Pairs("x-trailer", "t", "bytes-bin", "\x00\xff"))
		switch filepath.Base(method) {
		case "Echo": // Until the client has said all.
			for count := 0; ; count++ {
				var message frame
				if err := stream.RecvMsg(&message); err == io.EOF {
					last := frame(fmt.Sprintf("%d messages", count))
					return stream.SendMsg(&last)
				} else if err != nil {
					return err
				}
				if err := stream.SendMsg(&message); err != nil {
					return err
				}
			}
		case "Fail":
			detailed, _ := status.New(codes.ResourceExhausted, "no more").WithDetails(status.New(codes.Aborted, "x").Proto())
			return detailed.Err()
		case "Hang":
			<-stream.Context().Done()
			_, hasDeadline := stream.Context().Deadline()
			ended <- fmt.Errorf("%v, deadline %v", stream.Context().Err(), hasDeadline)
			return stream.Context().Err()
		}
		return status.Error(codes.Unimplemented, method)
	}
	return serveOn(t, grpc.UnknownServiceHandler(handle))
}

func serveOn(t *testing.T, options ...grpc.ServerOption) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(append(options, grpc.CustomCodec(codec{}))...)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return socket
}

// through is a connection to a proxy with `socket` behind it.
func through(t *testing.T, socket string, stopping context.Context) *grpc.ClientConn {
	t.Helper()
	upstream, err := dial(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { upstream.conn.Close() })
	p := &passthrough{upstream: upstream, stopping: stopping}
	client, err := dial(serveOn(t, grpc.UnknownServiceHandler(p.handle)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.conn.Close() })
	return client.conn
}

func call(t *testing.T, conn *grpc.ClientConn, ctx context.Context, method string) grpc.ClientStream {
	t.Helper()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method,
		grpc.ForceCodec(codec{}), grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestStreamsPassBothWaysWithHeadersAndTrailers(t *testing.T) {
	conn := through(t, behind(t, nil), context.Background())
	stream := call(t, conn, metadata.AppendToOutgoingContext(deadline(t), "x-sent", "a", "x-sent", "b"), "/some.Service/Echo")
	large := frame(strings.Repeat("x", 3<<20))
	for i, sent := range []frame{frame("one"), {}, large, frame("four")} {
		if err := stream.SendMsg(&sent); err != nil {
			t.Fatal(err)
		}
		var got frame
		if err := stream.RecvMsg(&got); err != nil || string(got) != string(sent) {
			t.Fatalf("message %d: %d bytes, %v", i, len(got), err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	var last frame
	if err := stream.RecvMsg(&last); err != nil || string(last) != "4 messages" {
		t.Errorf("%q %v", last, err)
	}
	if err := stream.RecvMsg(&last); err != io.EOF {
		t.Error(err)
	}
	header, err := stream.Header()
	if err != nil || fmt.Sprint(header["x-header"], header["x-got"]) != "[h] [a,b]" {
		t.Error(header, err)
	}
	if trailer := stream.Trailer(); fmt.Sprintf("%q %q", trailer["x-trailer"], trailer["bytes-bin"]) != `["t"] ["\x00\xff"]` {
		t.Error(trailer)
	}
}

func TestFailuresPassWithTheirDetails(t *testing.T) {
	conn := through(t, behind(t, nil), context.Background())
	stream := call(t, conn, deadline(t), "/some.Service/Fail")
	stream.CloseSend()
	var message frame
	got := status.Convert(stream.RecvMsg(&message))
	if got.Code() != codes.ResourceExhausted || got.Message() != "no more" || len(got.Details()) != 1 {
		t.Errorf("%v %v", got, got.Details())
	}
	if stream.Trailer()["x-trailer"] == nil {
		t.Error(stream.Trailer())
	}
}

func TestClientThatGoesIsSeenBehind(t *testing.T) {
	for _, how := range []string{"by its deadline", "at once"} {
		ended := make(chan error, 1)
		conn := through(t, behind(t, ended), context.Background())
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		if how == "at once" {
			ctx, cancel = context.WithCancel(context.Background())
			time.AfterFunc(300*time.Millisecond, cancel)
		}
		call(t, conn, ctx, "/some.Service/Hang")
		select {
		case err := <-ended:
			if how == "by its deadline" && !strings.HasSuffix(err.Error(), "deadline true") {
				t.Errorf("%s: %v", how, err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: the call behind goes on without its client", how)
		}
		cancel()
	}
}

func TestStopEndsSubscriptionsAndNothingElse(t *testing.T) {
	ended := make(chan error, 2)
	stopping, stop := context.WithCancel(context.Background())
	socket := serveOn(t, grpc.UnknownServiceHandler(func(_ interface{}, stream grpc.ServerStream) error {
		<-stream.Context().Done()
		ended <- stream.Context().Err()
		return nil
	}))
	conn := through(t, socket, stopping)
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	other := call(t, conn, ctx, "/some.Service/Hang")
	subscription := call(t, conn, ctx, "/containerd.services.events.v1.Events/Subscribe")
	time.AfterFunc(200*time.Millisecond, stop)
	var message frame
	if err := subscription.RecvMsg(&message); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "stopping") {
		t.Error(err)
	}
	<-ended
	select {
	case err := <-ended:
		t.Errorf("the other call was ended, too: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	_ = other
}

func TestContainerdThatIsAwayIsToldAtOnce(t *testing.T) {
	conn := through(t, filepath.Join(t.TempDir(), "none"), context.Background())
	began := time.Now()
	err := conn.Invoke(deadline(t), "/containerd.services.version.v1.Version/Version", &ptypes.Empty{}, &ptypes.Empty{}, grpc.WaitForReady(true))
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "containerd is away") {
		t.Error(err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("after %v", took)
	}
}

func TestPathsThatEvadeTheirNamesAreRefused(t *testing.T) {
	conn := through(t, behind(t, nil), context.Background())
	for _, method := range []string{"/containerd.services.transfer.v1.Transfer/Transfer", "containerd.services.transfer.v1.Transfer/Transfer"} {
		stream := call(t, conn, deadline(t), method)
		stream.CloseSend()
		var message frame
		if err := stream.RecvMsg(&message); status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: %v", method, err)
		}
	}
}
