// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	namespacesapi "github.com/containerd/containerd/api/services/namespaces/v1"
	"github.com/gogo/protobuf/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// frame is a message that nobody here looks into.
type frame []byte

// codec passes frames on as they are and does with all else what gRPC does. Its name is what goes
// over the wire.
type codec struct{}

func (codec) Marshal(message interface{}) ([]byte, error) {
	if raw, ok := message.(*frame); ok {
		return *raw, nil
	}
	known, ok := message.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("cannot encode %T", message)
	}
	return proto.Marshal(known)
}

func (codec) Unmarshal(bytes []byte, message interface{}) error {
	if raw, ok := message.(*frame); ok {
		*raw = append([]byte(nil), bytes...)
		return nil
	}
	known, ok := message.(proto.Message)
	if !ok {
		return fmt.Errorf("cannot decode into %T", message)
	}
	return proto.Unmarshal(bytes, known)
}

func (codec) Name() string   { return "proto" }
func (codec) String() string { return "proto" }

const (
	transferService = "/containerd.services.transfer."
	deleteNamespace = "/containerd.services.namespaces.v1.Namespaces/Delete"
)

var errStopping = status.Error(codes.Unavailable, "waybill-containerd-proxy is stopping")

// endless are calls that end when their client wishes: a stop does not wait for them.
var endless = map[string]bool{
	"/containerd.services.events.v1.Events/Subscribe": true,
	"/containerd.services.tasks.v1.Tasks/Wait":        true,
}

// services are those that containerd has, for the metrics: clients choose the name of what they
// call, and it must not make metrics grow.
var services = map[string]bool{
	"containerd.services.containers.v1.Containers":       true,
	"containerd.services.content.v1.Content":             true,
	"containerd.services.diff.v1.Diff":                   true,
	"containerd.services.events.v1.Events":               true,
	"containerd.services.introspection.v1.Introspection": true,
	"containerd.services.leases.v1.Leases":               true,
	"containerd.services.namespaces.v1.Namespaces":       true,
	"containerd.services.snapshots.v1.Snapshots":         true,
	"containerd.services.tasks.v1.Tasks":                 true,
	"containerd.services.version.v1.Version":             true,
}

// passthrough hands calls of every service but Images to containerd, streams included.
type passthrough struct {
	upstream *upstream
	// holdsImages tells whether a namespace has images here, which containerd cannot know.
	holdsImages func(namespace string) (bool, error)
	stopping    context.Context
}

func (p *passthrough) handle(_ interface{}, client grpc.ServerStream) error {
	method, ok := grpc.MethodFromServerStream(client)
	if !ok {
		return status.Error(codes.Internal, "a call without a method")
	}
	if !strings.HasPrefix(method, "/") {
		// gRPC takes such a path too, and the names below would not match.
		return status.Errorf(codes.Unimplemented, "malformed method name: %q", method)
	}
	if strings.HasPrefix(method, transferService) {
		// It would store images inside containerd, where nobody that asks here would find them.
		return status.Error(codes.Unimplemented,
			"images cannot be pulled by containerd's Transfer service through Waybill; pull by the client (ctr images pull --local)")
	}
	ctx, cancel := context.WithCancel(client.Context())
	defer cancel()
	if incoming, ok := metadata.FromIncomingContext(ctx); ok {
		ctx = metadata.NewOutgoingContext(ctx, incoming.Copy())
	}
	var first []frame
	if method == deleteNamespace {
		request, err := p.checkedDeletion(client)
		if err != nil {
			return err
		}
		first = append(first, request)
	}
	server, err := p.upstream.conn.NewStream(ctx,
		&grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method, grpc.ForceCodec(codec{}))
	if err != nil {
		return p.upstream.explain(err)
	}
	ended := make(chan error, 1)
	go func() {
		if err := requests(client, server, first); err != nil {
			cancel() // The client is gone, or containerd is: the answers will say which.
		}
	}()
	go func() { ended <- p.upstream.explain(answers(client, server)) }()
	stop := p.stopping.Done()
	if !endless[method] {
		stop = nil
	}
	select {
	case err = <-ended:
		client.SetTrailer(server.Trailer())
		return err
	case <-stop:
		// A client that reads nothing is not waited for.
		return errStopping
	}
}

// requests copies what the client says, until it has said all.
func requests(client grpc.ServerStream, server grpc.ClientStream, first []frame) error {
	for i := range first {
		if err := server.SendMsg(&first[i]); err != nil {
			return nil // Why it failed is among the answers.
		}
	}
	for {
		var message frame
		switch err := client.RecvMsg(&message); err {
		case nil:
		case io.EOF:
			return server.CloseSend()
		default:
			return err
		}
		if err := server.SendMsg(&message); err != nil {
			return nil
		}
	}
}

// answers copies what containerd says, its headers first.
func answers(client grpc.ServerStream, server grpc.ClientStream) error {
	header, err := server.Header()
	if err == nil && len(header) > 0 {
		if err := client.SendHeader(header); err != nil {
			return err
		}
	}
	for {
		var message frame
		switch err := server.RecvMsg(&message); err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
		if err := client.SendMsg(&message); err != nil {
			return err
		}
	}
}

// checkedDeletion reads the request to delete a namespace, and refuses as containerd does where
// images are left.
func (p *passthrough) checkedDeletion(client grpc.ServerStream) (frame, error) {
	var request frame
	if err := client.RecvMsg(&request); err != nil {
		return nil, err
	}
	var deletion namespacesapi.DeleteNamespaceRequest
	if err := proto.Unmarshal(request, &deletion); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	switch held, err := p.holdsImages(deletion.Name); {
	case err != nil:
		return nil, status.Error(codes.Internal, err.Error())
	case held:
		return nil, status.Errorf(codes.FailedPrecondition,
			"namespace %q must be empty, but it still has images: failed precondition", deletion.Name)
	}
	return request, nil
}
