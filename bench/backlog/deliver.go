package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"millrace/bench/load"
	"millrace/e2e/node"
)

// measured is one run.
type measured struct {
	wall    time.Duration
	cpu     time.Duration
	peak    int64 // bytes resident
	objects int64
	written int64 // bytes of objects
}

// start runs a node on a folder.
func (b *bench) start(ctx context.Context, data string, file []byte) (*node.Node, error) {
	path := filepath.Join(b.folder, "backlog.json")
	if err := os.WriteFile(path, file, 0o644); err != nil {
		return nil, err
	}
	return node.Start(ctx, node.Options{Binary: b.millrace, Data: data, File: path, Args: []string{"--prune", "--log-level", "error"}})
}

func (b *bench) source() string { return filepath.Join(b.folder, "filled") }

// fill puts the records into a stream whose delivery streams wait for a bucket. What they have planned meanwhile is undone, by
// giving the folder the catalog and the journal that it had before: a case is to plan all of it.
func (b *bench) fill(ctx context.Context) error {
	file, err := definition(false, cases)
	if err != nil {
		return err
	}
	n, err := b.start(ctx, b.source(), file)
	if err != nil {
		return err
	}
	if err := n.Stop(); err != nil {
		return err
	}
	meta, before := filepath.Join(b.source(), "meta"), filepath.Join(b.folder, "meta")
	if err := copyStores(meta, before); err != nil {
		return err
	}
	if n, err = b.start(ctx, b.source(), file); err != nil {
		return err
	}
	began := time.Now()
	if err := b.put(ctx, load.Kinesis{Addr: strings.TrimPrefix(n.AWS, "http://")}); err != nil {
		return errors.Join(err, n.Stop())
	}
	say("%d records, %d MB, put in %.1f s", b.records, b.size/1e6, time.Since(began).Seconds())
	if err := n.Stop(); err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(meta), os.Rename(before, meta)); err != nil {
		return err
	}
	time.Sleep(interval * time.Second)
	return ctx.Err()
}

func (b *bench) put(ctx context.Context, k load.Kinesis) error {
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = fillers
	bodies := make([][]byte, min(distinct, b.records)/batch)
	for i := range bodies {
		bodies[i] = load.PutEvents(streamName, b.events[i*batch:(i+1)*batch])
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var all sync.WaitGroup
	for f := range fillers {
		all.Go(func() {
			for i := f; i < b.records/batch && ctx.Err() == nil; i += fillers {
				var out struct{ FailedRecordCount int }
				err := k.Send(ctx, "PutRecords", bodies[i%len(bodies)], &out)
				if err == nil && out.FailedRecordCount > 0 {
					err = fmt.Errorf("%d of %d records were not taken", out.FailedRecordCount, batch)
				}
				if err != nil {
					stop(err)
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// deliver starts a node on a copy of what was filled and waits until all is delivered.
func (b *bench) deliver(ctx context.Context, c *testCase) (m measured, err error) {
	file, err := definition(true, []testCase{*c})
	if err != nil {
		return m, err
	}
	data := filepath.Join(b.folder, "case")
	defer func() { err = errors.Join(err, os.RemoveAll(data)) }()
	if err := copyStores(b.source(), data); err != nil {
		return m, err
	}
	began := time.Now()
	n, err := b.start(ctx, data, file)
	if err != nil {
		return m, err
	}
	defer n.Kill() // nothing of it is needed
	for {
		l, err := n.Ledger(ctx)
		if err != nil {
			return m, err
		}
		line, ok := l.Delivery(c.name)
		if lost := line.DeadLettered + line.Dropped + line.Expired + line.Discarded; !ok || lost > 0 {
			return m, fmt.Errorf("the ledger says %+v\n%s", line, n.Output())
		}
		if line.Delivered >= int64(b.records) {
			m.objects = line.Objects
			break
		}
		select {
		case <-n.Exited():
			return m, fmt.Errorf("the node ended: %s", n.Output())
		case <-ctx.Done():
			return m, ctx.Err()
		case <-time.After(lookEvery):
		}
	}
	m.wall = time.Since(began)
	if m.cpu, err = n.CPU(); err != nil {
		return m, err
	}
	m.peak, _ = n.PeakMemory()
	m.written, err = sizeOf(filepath.Join(data, "s3", bucketName))
	b.tell(c.name, m)
	return m, err
}

// lookEvery is how often the ledger is asked: an answer costs the node less than a millisecond.
const lookEvery = 20 * time.Millisecond

func (b *bench) tell(what string, m measured) {
	say("%-22s %6.1f s, %6.1f s of CPU: %5.0f MB/s, %5.0f MB a CPU second, %4d MiB at most, %5d objects, %5d MB written", what, m.wall.Seconds(),
		m.cpu.Seconds(), b.rate(m.wall), b.rate(m.cpu), m.peak>>20, m.objects, m.written/1e6)
}

// rate is MB of records a second.
func (b *bench) rate(d time.Duration) float64 { return float64(b.size) / 1e6 / d.Seconds() }

// copyStores copies a node's folder. Tables of Pebble never change once they are written: they are linked, so that ten million
// records are not copied for each case.
func copyStores(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case strings.HasSuffix(path, ".sst"):
			return os.Link(path, target)
		}
		return copyFile(path, target)
	})
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}

func sizeOf(folder string) (total int64, err error) {
	err = filepath.WalkDir(folder, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}
