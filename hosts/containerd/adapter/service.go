// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package adapter

import (
	"context"

	eventsapi "github.com/containerd/containerd/api/events"
	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/events"
	"github.com/containerd/containerd/images"
	"github.com/containerd/containerd/log"
	ptypes "github.com/gogo/protobuf/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Service answers containerd's Images API (containerd.services.images.v1) from a store, and
// publishes its events.
type Service struct {
	held      *Held
	publisher events.Publisher
}

var _ imagesapi.ImagesServer = (*Service)(nil)

// NewService makes the API of a store.
func NewService(held *Held, publisher events.Publisher) *Service {
	return &Service{held: held, publisher: publisher}
}

func toProto(image *images.Image) imagesapi.Image {
	return imagesapi.Image{
		Name:   image.Name,
		Labels: image.Labels,
		Target: types.Descriptor{
			MediaType:   image.Target.MediaType,
			Digest:      image.Target.Digest,
			Size_:       image.Target.Size,
			Annotations: image.Target.Annotations,
		},
		CreatedAt: image.CreatedAt,
		UpdatedAt: image.UpdatedAt,
	}
}

func fromProto(image *imagesapi.Image) images.Image {
	return images.Image{
		Name:   image.Name,
		Labels: image.Labels,
		Target: ocispec.Descriptor{
			MediaType:   image.Target.MediaType,
			Digest:      image.Target.Digest,
			Size:        image.Target.Size_,
			Annotations: image.Target.Annotations,
		},
		CreatedAt: image.CreatedAt,
		UpdatedAt: image.UpdatedAt,
	}
}

// publish does not fail a call: what it tells of has happened. It fails when containerd is away, and
// those who would hear it with it.
func (s *Service) publish(ctx context.Context, topic string, event events.Event) {
	if err := s.publisher.Publish(ctx, topic, event); err != nil {
		log.G(ctx).WithError(err).WithField("topic", topic).Warn("an event was not published")
	}
}

var errNoName = status.Error(codes.InvalidArgument, "Image.Name required")

// Get answers one image by its name.
func (s *Service) Get(ctx context.Context, request *imagesapi.GetImageRequest) (*imagesapi.GetImageResponse, error) {
	image, err := s.held.Get(ctx, request.Name)
	if err != nil {
		return nil, errdefs.ToGRPC(err)
	}
	answer := toProto(&image)
	return &imagesapi.GetImageResponse{Image: &answer}, nil
}

// List answers the images that any of the filters matches.
func (s *Service) List(ctx context.Context, request *imagesapi.ListImagesRequest) (*imagesapi.ListImagesResponse, error) {
	listed, err := s.held.List(ctx, request.Filters...)
	if err != nil {
		return nil, errdefs.ToGRPC(err)
	}
	response := &imagesapi.ListImagesResponse{}
	for i := range listed {
		response.Images = append(response.Images, toProto(&listed[i]))
	}
	return response, nil
}

// Create stores a new image.
func (s *Service) Create(ctx context.Context, request *imagesapi.CreateImageRequest) (*imagesapi.CreateImageResponse, error) {
	if request.Image.Name == "" {
		return nil, errNoName
	}
	created, err := s.held.Create(ctx, fromProto(&request.Image))
	if err != nil {
		return nil, errdefs.ToGRPC(err)
	}
	s.publish(ctx, "/images/create", &eventsapi.ImageCreate{Name: created.Name, Labels: created.Labels})
	return &imagesapi.CreateImageResponse{Image: toProto(&created)}, nil
}

// Update replaces an image, or the fields that the mask names.
func (s *Service) Update(ctx context.Context, request *imagesapi.UpdateImageRequest) (*imagesapi.UpdateImageResponse, error) {
	if request.Image.Name == "" {
		return nil, errNoName
	}
	var fieldpaths []string
	if request.UpdateMask != nil {
		fieldpaths = request.UpdateMask.Paths
	}
	updated, err := s.held.Update(ctx, fromProto(&request.Image), fieldpaths...)
	if err != nil {
		return nil, errdefs.ToGRPC(err)
	}
	s.publish(ctx, "/images/update", &eventsapi.ImageUpdate{Name: updated.Name, Labels: updated.Labels})
	return &imagesapi.UpdateImageResponse{Image: toProto(&updated)}, nil
}

// Delete forgets an image and, if asked, waits until what it alone needed has been collected.
func (s *Service) Delete(ctx context.Context, request *imagesapi.DeleteImageRequest) (*ptypes.Empty, error) {
	var options []images.DeleteOpt
	if request.Sync {
		options = append(options, images.SynchronousDelete())
	}
	err := s.held.delete(ctx, request.Name, func() {
		s.publish(ctx, "/images/delete", &eventsapi.ImageDelete{Name: request.Name})
	}, options...)
	if err != nil {
		return nil, errdefs.ToGRPC(err)
	}
	return &ptypes.Empty{}, nil
}

// Local is the API without a connection between, for those in the same process.
type Local struct{ *Service }

var _ imagesapi.ImagesClient = Local{}

func (l Local) Get(ctx context.Context, in *imagesapi.GetImageRequest, _ ...grpc.CallOption) (*imagesapi.GetImageResponse, error) {
	return l.Service.Get(ctx, in)
}

func (l Local) List(ctx context.Context, in *imagesapi.ListImagesRequest, _ ...grpc.CallOption) (*imagesapi.ListImagesResponse, error) {
	return l.Service.List(ctx, in)
}

func (l Local) Create(ctx context.Context, in *imagesapi.CreateImageRequest, _ ...grpc.CallOption) (*imagesapi.CreateImageResponse, error) {
	return l.Service.Create(ctx, in)
}

func (l Local) Update(ctx context.Context, in *imagesapi.UpdateImageRequest, _ ...grpc.CallOption) (*imagesapi.UpdateImageResponse, error) {
	return l.Service.Update(ctx, in)
}

func (l Local) Delete(ctx context.Context, in *imagesapi.DeleteImageRequest, _ ...grpc.CallOption) (*ptypes.Empty, error) {
	return l.Service.Delete(ctx, in)
}
