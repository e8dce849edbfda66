package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	lib "github.com/parquet-go/parquet-go"

	"millrace/bench/load"
	"millrace/internal/delivery/format"
	convert "millrace/internal/delivery/parquet"
)

// runPlain runs this program once more, as the plain one of a case, so that its memory and its time are its own.
func (b *bench) runPlain(ctx context.Context, name string) (m measured, err error) {
	self, err := os.Executable()
	if err != nil {
		return m, err
	}
	folder := filepath.Join(b.folder, "plain")
	if err := os.Mkdir(folder, 0o755); err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	cmd := exec.CommandContext(ctx, self, "-plain", name, "-data", folder, "-records", strconv.Itoa(b.records))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return m, err
	}
	var took struct{ Wall, CPU time.Duration }
	if err := json.Unmarshal(out, &took); err != nil {
		return m, err
	}
	m.wall, m.cpu = took.Wall, took.CPU
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		m.peak = u.Maxrss << 10
	}
	files, err := os.ReadDir(folder)
	if err != nil {
		return m, err
	}
	m.objects = int64(len(files))
	m.written, err = sizeOf(folder)
	b.tell("plain "+name, m)
	return m, err
}

// Sizes of the plain programs' files, before compression: those of the node's objects.
const (
	small = 5 << 20
	large = 64 << 20
)

// plain is the plain program: one goroutine, no durability but an fsync for each file. It prints what it took, without the time of
// making the records.
func (b *bench) plain(name string) error {
	wall, cpu := time.Now(), processorTime()
	if err := b.write(name); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]time.Duration{"Wall": time.Since(wall), "CPU": processorTime() - cpu})
}

func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (b *bench) write(name string) error {
	switch name {
	case "uncompressed":
		return b.writeAll(small, b.compressor(format.Uncompressed))
	case "gzip":
		return b.writeAll(small, b.compressor(format.Gzip))
	case "snappy":
		return b.writeAll(small, b.compressor(format.Snappy))
	case "parquet":
		return b.writeAll(large, b.converter())
	case "parquet-structs":
		return b.writeAll(large, structs)
	case "partitions":
		return b.writePartitions()
	}
	return fmt.Errorf("there is no plain program %q", name)
}

// encoder makes a file of records.
type encoder interface {
	add(record []byte) error
	end() error
}

// file is one that is being written.
type file struct {
	f     *os.File
	enc   encoder
	bytes int
}

func (b *bench) create(number int, encode func(w io.Writer) (encoder, error)) (*file, error) {
	f, err := os.Create(filepath.Join(b.data, strconv.Itoa(number)))
	if err != nil {
		return nil, err
	}
	enc, err := encode(f)
	return &file{f: f, enc: enc}, err
}

func (f *file) end() error { return errors.Join(f.enc.end(), f.f.Sync(), f.f.Close()) }

// writeAll writes the records into files of a size, one after the other.
func (b *bench) writeAll(size int, encode func(w io.Writer) (encoder, error)) error {
	return b.split(size, encode, func([]byte) int { return 0 }, 1)
}

func (b *bench) writePartitions() error {
	return b.split(large, b.compressor(format.Gzip), func(record []byte) int {
		_, rest, _ := bytes.Cut(record, []byte(`"tenant":"t`))
		return int(rest[0]-'0')*100 + int(rest[1]-'0')*10 + int(rest[2]-'0')
	}, tenants)
}

func (b *bench) split(size int, encode func(w io.Writer) (encoder, error), of func(record []byte) int, n int) (err error) {
	open, number := make([]*file, n), 0
	for i := range b.records {
		record := b.events[i%distinct]
		at := of(record)
		if open[at] == nil {
			if open[at], err = b.create(number, encode); err != nil {
				return err
			}
			number++
		}
		f := open[at]
		if err := f.enc.add(record); err != nil {
			return err
		}
		if f.bytes += len(record); f.bytes >= size {
			if err := f.end(); err != nil {
				return err
			}
			open[at] = nil
		}
	}
	for _, f := range open {
		if f != nil {
			err = errors.Join(err, f.end())
		}
	}
	return err
}

// text is records, compressed, in pieces of writeBytes for the file.
type text struct {
	pool   format.Writer
	buffer *buffered
}

const writeBytes = 256 << 10

// compressor makes encoders whose memory is used again.
func (b *bench) compressor(kind format.Kind) func(w io.Writer) (encoder, error) {
	pool := new(format.Pool)
	return func(w io.Writer) (encoder, error) {
		buffer := &buffered{w: w}
		compress, err := pool.New(format.Options{Kind: kind, Level: format.MinLevel}, buffer)
		return &text{compress, buffer}, err
	}
}

func (t *text) add(record []byte) error {
	_, err := t.pool.Write(record)
	return err
}

func (t *text) end() error {
	err := errors.Join(t.pool.Close(), t.buffer.flush())
	t.pool.Release()
	return err
}

// buffered gathers small writes; its memory is there once something is written.
type buffered struct {
	w io.Writer
	b []byte
}

func (b *buffered) Write(p []byte) (int, error) {
	b.b = append(b.b, p...)
	if len(b.b) < writeBytes {
		return len(p), nil
	}
	return len(p), b.flush()
}

func (b *buffered) flush() error {
	_, err := b.w.Write(b.b)
	b.b = b.b[:0]
	return err
}

// converted is records as rows by the converter of delivery.
type converted struct {
	w      *convert.Writer
	buffer *buffered
}

func (b *bench) converter() func(w io.Writer) (encoder, error) {
	spec := convert.Spec{OpenX: &convert.OpenXOptions{}}
	for _, c := range load.EventColumns {
		spec.Columns = append(spec.Columns, convert.Column{Name: c[0], Type: c[1]})
	}
	compiled, err := convert.Compile(spec)
	return func(w io.Writer) (encoder, error) {
		if err != nil {
			return nil, err
		}
		buffer := &buffered{w: w}
		return &converted{compiled.NewWriter(buffer), buffer}, nil
	}
}

func (c *converted) add(record []byte) error {
	if failed := c.w.Write(record); failed != nil {
		return errors.New(failed.Message)
	}
	return nil
}

func (c *converted) end() error { return errors.Join(c.w.Close(), c.buffer.flush()) }

// row is an event as a Go value: what who does without a converter of his own would write, by the library's ways and those of
// encoding/json. Its time stays a text.
type row struct {
	Tenant       string `json:"tenant" parquet:"tenant,optional"`
	EventName    string `json:"event_name" parquet:"event_name,optional"`
	EventTime    string `json:"event_time" parquet:"event_time,optional"`
	AppsflyerID  string `json:"appsflyer_id" parquet:"appsflyer_id,optional"`
	CustomerUser int64  `json:"customer_user_id" parquet:"customer_user_id,optional"`
	Platform     string `json:"platform" parquet:"platform,optional"`
	AppVersion   string `json:"app_version" parquet:"app_version,optional"`
	CountryCode  string `json:"country_code" parquet:"country_code,optional"`
	EventValue   struct {
		Revenue  float64 `json:"af_revenue" parquet:"af_revenue,optional"`
		Currency string  `json:"af_currency" parquet:"af_currency,optional"`
	} `json:"event_value" parquet:"event_value,optional"`
	IP string `json:"ip" parquet:"ip,optional"`
}

type rows struct {
	w      *lib.GenericWriter[row]
	buffer *buffered
	one    [1]row
}

func structs(w io.Writer) (encoder, error) {
	buffer := &buffered{w: w}
	return &rows{w: lib.NewGenericWriter[row](buffer, lib.Compression(&lib.Snappy)), buffer: buffer}, nil
}

func (r *rows) add(record []byte) error {
	r.one[0] = row{}
	if err := json.Unmarshal(record, &r.one[0]); err != nil {
		return err
	}
	_, err := r.w.Write(r.one[:])
	return err
}

func (r *rows) end() error { return errors.Join(r.w.Close(), r.buffer.flush()) }
