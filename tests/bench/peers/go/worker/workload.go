// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package worker

import (
	"encoding/binary"
	"fmt"
	"sort"
)

const (
	layersPerImage = 10
	sharedLayers   = 5
	imagesPerGroup = 20
)

// What a digest is of; as in workload.cpp.
const (
	ofManifest = iota + 1
	ofConfig
	ofSharedLayer
	ofOwnLayer
)

// Layer is one layer of an image.
type Layer struct {
	Digest    string
	SizeBytes uint64
}

// Image is an image of the workload: what workload.cpp makes for the same number and version. The
// driver compares what an engine hands out with the C++ original, so a difference here shows.
type Image struct {
	Reference    string
	TargetDigest string
	MediaType    string
	SizeBytes    uint64
	ConfigDigest string
	OS           string
	Architecture string
	Layers       []Layer
	Labels       map[string]string
}

func scattered(value uint64) uint64 {
	value += 0x9e3779b97f4a7c15
	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9
	value = (value ^ (value >> 27)) * 0x94d049bb133111eb
	return value ^ (value >> 31)
}

func digest(kind, number, part uint64) string {
	text := "sha256:"
	word := scattered(kind<<56 ^ part<<40 ^ number)
	for i := 0; i < 4; i++ {
		text += fmt.Sprintf("%016x", word)
		word = scattered(word)
	}
	return text
}

// Name is the canonical name of an image.
func Name(number int) string {
	return fmt.Sprintf("docker.io/team-%03d/service-%06d:1.4.%d", number/imagesPerGroup, number,
		number%10)
}

// Make returns an image of the workload.
func Make(number int, version uint32) Image {
	group := uint64(number / imagesPerGroup)
	image := Image{
		Reference:    Name(number),
		TargetDigest: digest(ofManifest, uint64(number), uint64(version)),
		MediaType:    "application/vnd.oci.image.manifest.v1+json",
		SizeBytes:    2048,
		ConfigDigest: digest(ofConfig, uint64(number), uint64(version)),
		OS:           "linux",
		Architecture: "amd64",
		Labels: map[string]string{
			"org.opencontainers.image.source":  "https://code.example.org/team/service",
			"org.opencontainers.image.version": fmt.Sprintf("1.4.%d", number%10),
			"org.example.owner":                fmt.Sprintf("team-%d", group),
		},
	}
	for i := uint64(0); i < layersPerImage; i++ {
		of := digest(ofOwnLayer, uint64(number), i)
		if i < sharedLayers {
			of = digest(ofSharedLayer, group, i)
		}
		image.Layers = append(image.Layers, Layer{of, 1000000 + uint64(number)})
	}
	return image
}

// encode writes the flat encoding of record.cpp.
func encode(image Image) []byte {
	var record []byte
	number := func(value uint64) {
		var bytes [8]byte
		binary.LittleEndian.PutUint64(bytes[:], value)
		record = append(record, bytes[:]...)
	}
	length := func(value int) {
		var bytes [2]byte
		binary.LittleEndian.PutUint16(bytes[:], uint16(value))
		record = append(record, bytes[:]...)
	}
	text := func(value string) {
		length(len(value))
		record = append(record, value...)
	}
	text(image.Reference)
	text(image.TargetDigest)
	text(image.MediaType)
	number(image.SizeBytes)
	text(image.ConfigDigest)
	text(image.OS)
	text(image.Architecture)
	length(len(image.Layers))
	for _, layer := range image.Layers {
		text(layer.Digest)
		number(layer.SizeBytes)
	}
	keys := make([]string, 0, len(image.Labels))
	for key := range image.Labels {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	length(len(keys))
	for _, key := range keys {
		text(key)
		text(image.Labels[key])
	}
	return record
}
