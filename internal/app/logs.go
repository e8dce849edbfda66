package app

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"millrace/internal/config"
	"millrace/internal/delivery"
	"millrace/internal/fault"
	"millrace/internal/gateway"
	"millrace/internal/logfile"
	"millrace/internal/restapi"
	"millrace/internal/telemetry"
)

const logsFolder = "logs" // within the data folder: the logs of stages and delivery streams

// stageLogs are the logs of stages: files, standard output, and delivery streams.
type stageLogs struct {
	files     *logfile.Logs
	node      *gateway.SlogSink // the node's own log: errors, a bounded number of them
	access    *logfile.Log      // standard output; nil: not there
	execution *logfile.Log      // likewise
	streams   deliveryLogs
	buffers   sync.Pool
}

func (n *Node) openLogs(context.Context) error {
	c := &n.opts.Config.Logs
	folder := cmp.Or(c.Folder, filepath.Join(n.folder.path, logsFolder))
	if c.Folder == config.Off {
		folder = ""
	}
	l := &stageLogs{
		files: logfile.New(logfile.Options{Folder: folder, MaxBytes: int64(c.MaxSize), Keep: c.Keep, Low: n.space.Low, Logger: n.log}),
		node:  gateway.NewSlogSink(n.log, time.Now),
	}
	l.buffers.New = func() any { return new([]byte) }
	l.streams = deliveryLogs{logs: l.files, byName: map[string]*logfile.Log{}}
	out := l.files.To(n.stdout())
	if c.Stdout == config.StdoutAccess || c.Stdout == config.StdoutAll {
		l.access = out
	}
	if c.Stdout == config.StdoutExecution || c.Stdout == config.StdoutAll {
		l.execution = out
	}
	n.logs = l
	n.emitters = append(n.emitters, l.collect)
	return nil
}

// logsToDelivery lets access logs go to delivery streams. What waits is written before the engine stops, for it may go there.
func (n *Node) logsToDelivery(context.Context) error {
	n.logs.streams.engine = n.engine
	n.onClose("logs of stages", n.logs.files.Close)
	return nil
}

func (n *Node) stdout() io.Writer {
	if n.opts.Stdout != nil {
		return n.opts.Stdout
	}
	return os.Stdout
}

// Log writes a line of an execution log: to the file of its log group, to standard output where that is wanted, and to
// the node's own log what failed. Without files and standard output the node's log takes all.
func (l *stageLogs) Log(line gateway.Line) {
	if line.Error || l.files.Folder == "" && l.execution == nil {
		l.node.Log(line)
	}
	to, err := l.files.File(line.Group)
	if err != nil || to == nil && l.execution == nil {
		return // names of stages are always names of files
	}
	b := l.buffers.Get().(*[]byte)
	*b = line.Append((*b)[:0])
	to.Write(*b)
	if l.execution != nil {
		*b = append(append((*b)[:0], line.Group...), ' ')
		*b = line.Append(*b)
		l.execution.Write(*b)
	}
	l.buffers.Put(b)
}

// deliveryErrors are the errors of delivery streams that ask for them: in the file of their log group, and, where execution logs
// are, on standard output. The node's own log has them in its own words, whoever asks.
type deliveryErrors struct{ *stageLogs }

func (deliveryErrors) Check(group string) error { return logfile.Check(group) }

func (l deliveryErrors) Log(line *delivery.ErrorLine) {
	to, err := l.files.File(line.Group)
	if err != nil {
		return // it was checked when the delivery stream was made or changed, or an older program took it
	}
	b := l.buffers.Get().(*[]byte)
	*b = line.Append((*b)[:0])
	to.Write(*b)
	if l.execution != nil {
		*b = append(append((*b)[:0], line.Group...), ' ')
		*b = line.Append(*b)
		l.execution.Write(*b)
	}
	l.buffers.Put(b)
}

// AccessLog gives what takes the lines of an access log.
func (l *stageLogs) AccessLog(s *restapi.AccessLog) (gateway.LineWriter, error) {
	group, stream := s.Destination()
	var to *logfile.Log
	switch {
	case stream != "":
		to = l.streams.log(stream)
	case group == "":
		return nil, fault.New(fault.Invalid, "app.AccessLog", s.DestinationARN, "the access log goes to no log group and no delivery stream")
	default:
		var err error
		if to, err = l.files.File(group); err != nil {
			return nil, err
		}
	}
	switch {
	case l.access != nil && to != nil:
		return both{to, l.access}, nil
	case l.access != nil:
		return l.access, nil
	case to != nil:
		return to, nil
	}
	return nil, errors.New("this node keeps no files of logs (logs.folder is off), and none go to standard output: the access log is not written")
}

// both writes lines to two logs.
type both struct{ file, out *logfile.Log }

func (b both) Write(line []byte) { b.file.Write(line); b.out.Write(line) }

func (l *stageLogs) collect(emit telemetry.Emit) {
	s := l.files.Stats()
	emit(telemetry.StageLogLines, float64(s.Lines), "written")
	emit(telemetry.StageLogLines, float64(s.Dropped), "dropped")
	emit(telemetry.StageLogLines, float64(s.Failed), "failed")
	emit(telemetry.StageLogPending, float64(s.Pending))
}

// deliveryLogs are access logs that go to delivery streams, each line a record that ends with its newline.
type deliveryLogs struct {
	engine *delivery.Engine
	logs   *logfile.Logs

	mu     sync.Mutex
	byName map[string]*logfile.Log
}

func (d *deliveryLogs) log(name string) *logfile.Log {
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.byName[name]
	if g == nil {
		g = d.logs.Func(func(lines []byte, n int) error { return d.put(name, lines, n) })
		d.byName[name] = g
	}
	return g
}

const (
	// putTime bounds one batch: lines come all the time, and those that come meanwhile have a bound of memory.
	putTime = 10 * time.Second
	// putBytes bounds a batch below the service's 4 MiB.
	putBytes = 3 << 20
)

// put stores lines in batches, each in one append. What fails is lost, as it is on the service: an access log must not
// stop an API. The stream may not be there yet; the next lines try again.
func (d *deliveryLogs) put(name string, lines []byte, n int) error {
	var failed error
	records := make([][]byte, 0, min(n, delivery.MaxPutRecords))
	results := make([]delivery.PutResult, delivery.MaxPutRecords)
	size := 0
	flush := func() {
		if len(records) == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), putTime)
		defer cancel()
		_, err := d.engine.PutBatch(ctx, name, records, results[:len(records)])
		for i := range records {
			err = cmp.Or(err, results[i].Err)
		}
		if err != nil && failed == nil {
			failed = fault.New(fault.KindOf(err), "app.AccessLog", name, "%w", err)
		}
		clear(results)
		records, size = records[:0], 0
	}
	for len(lines) > 0 {
		end := bytes.IndexByte(lines, '\n') + 1
		if len(records) == delivery.MaxPutRecords || size+end > putBytes {
			flush()
		}
		records, size = append(records, lines[:end]), size+end
		lines = lines[end:]
	}
	flush()
	return failed
}
