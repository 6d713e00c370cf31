// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

// Package worker is worker.cpp once more, for the engines that are written in Go: it reads one
// request a line, measures the engine, and answers with one line.
package worker

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ErrUnsupported stands before the reason where an engine cannot serve a request at all; it is the
// answer's first word too.
var ErrUnsupported = errors.New("unsupported")

// Record is what an engine's get hands out: the whole record in the engine's own form.
type Record interface {
	// ReadFields reaches every field as text or number and returns a sum over all of them.
	ReadFields() (int, error)
	Image() (Image, error)
}

// Engine is what is measured. Put and Get may be called by many goroutines at once.
type Engine interface {
	Open(directory string) error
	Close() error
	// Fill leaves exactly the images 0 to count-1, in version 0.
	Fill(count int) error
	Put(image Image) error
	Get(name string) (Record, error)
	Remove(name string) error
	Prune(keep []string) (int, error)
	// List reaches every field of every image and returns how many images there are.
	List() (int, error)
	Compact() error
}

type worker struct {
	engine   Engine
	names    []string
	versions []uint32 // that each image was last put in
	latest   uint32
}

// Serve answers requests until "quit" or the end of the input.
func Serve(engine Engine) {
	w := &worker{engine: engine}
	input := bufio.NewScanner(os.Stdin)
	output := bufio.NewWriter(os.Stdout)
	for input.Scan() {
		words := strings.Fields(input.Text())
		if len(words) == 0 || words[0] == "quit" {
			break
		}
		figures, err := w.answer(words)
		switch {
		case errors.Is(err, ErrUnsupported):
			fmt.Fprintf(output, "%v\n", err)
		case err != nil:
			fmt.Fprintf(output, "error %s\n", strings.ReplaceAll(err.Error(), "\n", " "))
		default:
			fmt.Fprintf(output, "ok%s\n", figures)
		}
		output.Flush()
	}
}

func (w *worker) answer(words []string) (string, error) {
	arguments := words[1:]
	number := func(at int) int {
		if at >= len(arguments) {
			return -1
		}
		value, err := strconv.Atoi(arguments[at])
		if err != nil {
			return -1
		}
		return value
	}
	wanted := map[string]int{"open": 1, "start": 3, "fill": 1, "put": 3, "mixed": 3, "get": 3,
		"remove": 2, "dump": 3}
	if len(arguments) != wanted[words[0]] {
		return "", fmt.Errorf("%s: %d arguments", words[0], len(arguments))
	}
	budget := func(at int) time.Duration { return time.Duration(number(at)) * time.Millisecond }
	switch words[0] {
	case "open":
		began := time.Now()
		err := w.engine.Open(arguments[0])
		return figure("ms", milliseconds(began)), err
	case "start":
		return w.start(arguments[0], number(1), arguments[2])
	case "fill":
		w.expectCount(number(0))
		began := time.Now()
		err := w.engine.Fill(number(0))
		return figure("ms", milliseconds(began)), err
	case "put":
		return w.put(number(0), number(1), budget(2))
	case "mixed":
		return w.mixed(number(0), number(1), budget(2))
	case "get":
		return w.get(number(0), number(1), arguments[2] == "fields")
	case "remove":
		return w.remove(number(0), budget(1))
	case "prune":
		return w.pruneHalf()
	case "list":
		began := time.Now()
		images, err := w.engine.List()
		return figure("ms", milliseconds(began)) + figure("images", float64(images)), err
	case "dump":
		return w.dump(number(0), number(1), number(2))
	case "compact":
		return "", w.engine.Compact()
	case "close":
		return "", w.engine.Close()
	case "settle":
		debug.FreeOSMemory()
		return "", nil
	}
	return "", fmt.Errorf("%s: no such request", words[0])
}

func figure(key string, value float64) string { return fmt.Sprintf(" %s=%.9g", key, value) }

func milliseconds(began time.Time) float64 { return 1e3 * time.Since(began).Seconds() }

func (w *worker) expectCount(count int) {
	w.versions = make([]uint32, count)
	if len(w.names) == count {
		return
	}
	w.names = nil
	for i := 0; i < count; i++ {
		w.names = append(w.names, Name(i))
	}
}

func (w *worker) start(directory string, count int, what string) (string, error) {
	w.expectCount(count)
	images := count
	began := time.Now()
	err := w.engine.Open(directory)
	if err == nil && what == "list" {
		images, err = w.engine.List()
	} else if err == nil {
		var record Record
		if record, err = w.engine.Get(w.names[count/2]); err == nil {
			_, err = record.ReadFields()
		}
	}
	return figure("ms", milliseconds(began)) + figure("images", float64(images)), err
}

type replacement struct {
	number  int
	version uint32
	image   Image
}

// replacements makes for each writer images that no other writer has, each in a version that was
// never put before.
func (w *worker) replacements(writers, each int) ([][]replacement, error) {
	order := rand.New(rand.NewSource(int64(w.latest))).Perm(len(w.names))
	own := len(order) / writers
	if own > each {
		own = each
	}
	if own == 0 {
		return nil, errors.New("fewer images than writers")
	}
	made := make([][]replacement, writers)
	for writer := range made {
		for i := 0; i < each; i++ {
			number, version := order[writer*own+i%own], w.latest+1+uint32(i/own)
			made[writer] = append(made[writer],
				replacement{number, version, Make(number, version)})
		}
	}
	w.latest += 1 + uint32((each-1)/own)
	return made, nil
}

func (w *worker) putOne(r replacement) error {
	err := w.engine.Put(r.image)
	if err == nil {
		w.versions[r.number] = r.version
	}
	return err
}

// inThreads returns the seconds from the start of all until the last has ended.
func inThreads(threads int, work func(thread int) error) (float64, error) {
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	failures := make([]error, threads)
	for thread := 0; thread < threads; thread++ {
		ready.Add(1)
		done.Add(1)
		go func(thread int) {
			defer done.Done()
			ready.Done()
			<-begin
			failures[thread] = work(thread)
		}(thread)
	}
	ready.Wait()
	began := time.Now()
	close(begin)
	done.Wait()
	seconds := time.Since(began).Seconds()
	for _, err := range failures {
		if err != nil {
			return 0, err
		}
	}
	return seconds, nil
}

func (w *worker) put(writers, each int, budget time.Duration) (string, error) {
	images, err := w.replacements(writers, each)
	if err != nil {
		return "", err
	}
	microseconds := make([][]float64, writers)
	started := time.Now()
	seconds, err := inThreads(writers, func(writer int) error {
		for i := 0; i < each && (i == 0 || time.Since(started) < budget); i++ {
			began := time.Now()
			if err := w.putOne(images[writer][i]); err != nil {
				return err
			}
			microseconds[writer] = append(microseconds[writer], 1e6*time.Since(began).Seconds())
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	all := joined(microseconds)
	return figure("per_s", float64(len(all))/seconds) + figure("p50_us", quantile(all, 0.5)) +
		figure("p99_us", quantile(all, 0.99)) + figure("count", float64(len(all))), nil
}

func (w *worker) mixed(threads, each int, budget time.Duration) (string, error) {
	const onePutIn = 20
	images, err := w.replacements(threads, (each+onePutIn-1)/onePutIn)
	if err != nil {
		return "", err
	}
	order := rand.New(rand.NewSource(1)).Perm(len(w.names))
	done := make([]int, threads)
	started := time.Now()
	seconds, err := inThreads(threads, func(thread int) error {
		for i := 0; i < each; i++ {
			if i%onePutIn != 0 {
				if _, err := w.engine.Get(w.names[order[(thread*each+i)%len(order)]]); err != nil {
					return err
				}
			} else {
				if i > 0 && time.Since(started) > budget {
					break
				}
				if err := w.putOne(images[thread][i/onePutIn]); err != nil {
					return err
				}
			}
			done[thread]++
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	all := 0
	for _, count := range done {
		all += count
	}
	return figure("per_s", float64(all)/seconds), nil
}

func (w *worker) get(readers, count int, fields bool) (string, error) {
	const stretch = 50
	nanoseconds := make([][]float64, readers)
	orders := make([][]int, readers)
	for reader := range orders {
		orders[reader] = rand.New(rand.NewSource(int64(reader + 1))).Perm(len(w.names))
	}
	_, err := inThreads(readers, func(reader int) error {
		order := orders[reader]
		for i := 0; i < count; i += stretch {
			began := time.Now()
			for k := i; k < i+stretch; k++ {
				record, err := w.engine.Get(w.names[order[k%len(order)]])
				if err == nil && fields {
					_, err = record.ReadFields()
				}
				if err != nil {
					return err
				}
			}
			nanoseconds[reader] = append(nanoseconds[reader],
				1e9*time.Since(began).Seconds()/stretch)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return figure("ns", quantile(joined(nanoseconds), 0.5)), nil
}

func (w *worker) remove(count int, budget time.Duration) (string, error) {
	order := rand.New(rand.NewSource(2)).Perm(len(w.names))
	began := time.Now()
	done := 0
	for ; done < count && done < len(order) && (done == 0 || time.Since(began) < budget); done++ {
		if err := w.engine.Remove(w.names[order[done]]); err != nil {
			return "", err
		}
	}
	return figure("per_s", float64(done)/time.Since(began).Seconds()) +
		figure("count", float64(done)), nil
}

func (w *worker) pruneHalf() (string, error) {
	var keep []string
	for i := 0; i < len(w.names); i += 2 {
		keep = append(keep, w.names[i])
	}
	began := time.Now()
	removed, err := w.engine.Prune(keep)
	return figure("ms", milliseconds(began)) + figure("images", float64(removed)), err
}

func (w *worker) dump(first, step, count int) (string, error) {
	var records strings.Builder
	for i, number := 0, first; i < count && number < len(w.names); i, number = i+1, number+step {
		record, err := w.engine.Get(w.names[number])
		if err != nil {
			return "", err
		}
		image, err := record.Image()
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&records, " %d:%d:%s", number, w.versions[number],
			hex.EncodeToString(encode(image)))
	}
	return records.String(), nil
}
