package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"millrace/internal/delivery/httpendpoint"
	"millrace/internal/delivery/journal"
	"millrace/internal/delivery/transform"
	"millrace/internal/fault"
)

// watch is what a delivery stream tells operators of its steps, beside the ledger: counts since the process started, and
// what goes wrong outside of the engine.
type watch struct {
	function callCounts
	endpoint callCounts

	exceeded    atomic.Int64                     // outputs whose partition would have been one too many
	converted   atomic.Int64                     // outputs in Parquet files
	unconverted atomic.Int64                     // outputs that fit no schema
	failed      [len(errorTypes)]atomic.Int64    // source records in error objects
	lines       [len(destinationLogs)]lineBudget // of the error log

	functionFails  condition
	endpointFails  condition
	partitionsFull condition
}

// errorTypes lists the error-output-types, in the order in which records can meet them.
var errorTypes = [...]string{processingFailed, metadataFailed, activePartitionExceeded, conversionFailed, httpFailed}

// callCounts are those of calls that leave the node. A retry is a call, too.
type callCounts struct{ calls, retries, failures, nanos atomic.Int64 }

func (c *callCounts) count(retry, failed bool, took time.Duration) {
	c.calls.Add(1)
	c.nanos.Add(int64(took))
	if retry {
		c.retries.Add(1)
	}
	if failed {
		c.failures.Add(1)
	}
}

// CallMetrics are counts of calls to a function or an endpoint, since the process started.
type CallMetrics struct {
	Calls    int64 // retries among them
	Retries  int64
	Failures int64
	Time     time.Duration // of all calls together
}

func (c *callCounts) metrics() *CallMetrics {
	return &CallMetrics{c.calls.Load(), c.retries.Load(), c.failures.Load(), time.Duration(c.nanos.Load())}
}

// conditionAge is for how long a condition is shown after it was met last, when nothing says that it is over: longer than the
// pause before any retry, and than any buffer gathers.
const conditionAge = 20 * time.Minute

// condition is something that is wrong, until it is over. The zero value is none.
type condition struct {
	mu          sync.Mutex
	since, last time.Time
	times       int64
	text, cause string
}

// met notes that something is wrong with what, and its cause. Both are told in the words of the last time.
func (c *condition) met(now time.Time, what, cause string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.times == 0 || now.Sub(c.last) > conditionAge {
		c.since, c.times = now, 0
	}
	c.last, c.text, c.cause = now, what, cause
	c.times++
}

func (c *condition) over() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.times = 0
}

// state tells the condition in words, and since when it holds; no words: it is over.
func (c *condition) state(now time.Time) (text, cause string, since time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.times == 0 || now.Sub(c.last) > conditionAge {
		return "", "", time.Time{}
	}
	return fmt.Sprintf("%s: %s (%d times since %s)", c.text, c.cause, c.times, c.since.UTC().Format(time.RFC3339)), c.cause, c.since
}

// addConditions adds what is wrong with what the delivery stream depends on. What the trouble tells already is not repeated.
func (d *delivery) addConditions(t *Trouble) {
	now := d.engine.opts.Now()
	for _, c := range []*condition{&d.watch.functionFails, &d.watch.endpointFails, &d.watch.partitionsFull} {
		switch text, cause, since := c.state(now); {
		case text == "", strings.Contains(t.Error, cause):
		case t.Error == "":
			t.Error, t.Since = text, since
		default:
			t.Error += "; " + text
		}
	}
}

// StepMetrics are those of what records go through, on this node since the process started.
type StepMetrics struct {
	Partitions         int64        // dynamic partitions that gather records now
	PartitionsBound    int64        // 0: the delivery stream has none
	PartitionsExceeded int64        // outputs whose partition would have been one too many
	Function           *CallMetrics // nil: there is none
	Endpoint           *CallMetrics // nil: there is none
	Converts           bool
	Converted          int64         // outputs that became rows
	Unconverted        int64         // outputs that did not fit
	FailedRecords      []FailedCount // by error-output-type, those that there are
	Staged             int           // objects that were staged for plans that are not committed
	LinesLeftOut       int64         // of the error log
}

// FailedCount is how many source records went to error objects of a type.
type FailedCount struct {
	ErrorType string
	Records   int64
}

func (d *delivery) stepMetrics() (m StepMetrics) {
	w, dest := &d.watch, d.destination()
	m.Partitions, m.PartitionsExceeded = d.partitions.Load(), w.exceeded.Load()
	if dest.processing.partitions() {
		m.PartitionsBound = int64(d.engine.opts.ActivePartitions)
	}
	if dest.function != nil {
		m.Function = w.function.metrics()
	}
	if dest.endpoint != nil {
		m.Endpoint = w.endpoint.metrics()
	}
	m.Converts, m.Converted, m.Unconverted = dest.format == journal.Parquet, w.converted.Load(), w.unconverted.Load()
	for i := range w.failed {
		if n := w.failed[i].Load(); n > 0 {
			m.FailedRecords = append(m.FailedRecords, FailedCount{errorTypes[i], n})
		}
	}
	for i := range w.lines {
		m.LinesLeftOut += w.lines[i].left.Load()
	}
	return m
}

// staged counts the objects of a shard that are staged and not committed. The caller holds mu.
func (s *shard) staged() (n int) {
	for _, t := range s.outstanding {
		for i := range t.manifest.Parts {
			if p := &t.manifest.Parts[i]; p.Upload != nil || p.Staged != "" {
				n++
			}
		}
	}
	return n
}

// invoke calls the function, and tells how that went.
func (d *delivery) invoke(ctx context.Context, dest *destination, c *functionCall) error {
	c.call.Attempted = func(a transform.Attempt) {
		d.watch.function.count(a.Number > 1, a.Code != "", a.Took)
		if a.Code == "" {
			d.watch.functionFails.over()
			return
		}
		d.watch.functionFails.met(d.engine.opts.Now(), "the function "+dest.function.arn+" fails", a.Code+": "+a.Message)
		d.logError(stepLog, a.Code, a.Message, dest.function.arn)
	}
	return d.engine.opts.Transform.Invoke(ctx, &c.call, c.results)
}

// noFunction is the error of a function that the node's configuration has no URL for.
func (d *delivery) noFunction(dest *destination) error {
	err := fault.New(fault.Unavailable, "delivery.transform", d.name, "no URL is configured for the function %s; add it to functions in "+
		"the configuration file", dest.function.arn)
	d.logError(stepLog, transform.CodeResourceNotFound, err.Message(), dest.function.arn)
	return loggedError{err}
}

// send posts to an endpoint, and tells how that went.
func (d *delivery) send(ctx context.Context, endpoint *httpendpoint.Endpoint, body *httpendpoint.Body, attempt int) (httpendpoint.Answer, error) {
	began := time.Now()
	answer, err := d.engine.opts.HTTP.Post(ctx, endpoint, body)
	if err != nil {
		return answer, err
	}
	d.watch.endpoint.count(attempt > 1, !answer.Delivered, time.Since(began))
	if answer.Delivered {
		d.watch.endpointFails.over()
		return answer, nil
	}
	d.watch.endpointFails.met(d.engine.opts.Now(), "the endpoint "+endpoint.String()+" does not take records", answer.Code+": "+answer.Message)
	d.logError(stepLog, answer.Code, answer.Message, "")
	return answer, nil
}

// failedOutput tells of an output that goes to an error object. What a whole call ended in was told when it did, and why the
// function wants a record there is for the function to log.
func (d *delivery) failedOutput(dest *destination, l *lane, f *failure) {
	processor := ""
	switch {
	case l.name.Error == processingFailed && (f.Attempts == 0 || ofRecord[f.Code]):
		processor = dest.function.arn
		d.watch.functionFails.met(d.engine.opts.Now(), "the function "+processor+" fails for records", f.Code+": "+f.Message)
	case l.name.Error == processingFailed:
		return
	case l.name.Error == activePartitionExceeded:
		d.watch.exceeded.Add(1)
		d.watch.partitionsFull.met(d.engine.opts.Now(), partitionsFull, f.Message)
	}
	d.logError(stepLog, f.Code, f.Message, processor)
}

const partitionsFull = "records of new dynamic partitions go to error objects (" + activePartitionExceeded + ")"

// ofRecord are the codes of functions that answer, and fail single records by how they do.
var ofRecord = map[string]bool{transform.CodeMissingRecordID: true, transform.CodeDuplicatedRecordID: true, transform.CodeInvalidReturnFormat: true}

// unconverted tells of outputs that fit no schema, by the first of an object.
func (d *delivery) unconverted(first *failure) {
	if first != nil {
		d.logError(stepLog, first.Code, first.Message, "")
	}
}

// committed counts what the parts of tasks have become.
func (w *watch) committed(tasks []*task) {
	for _, t := range tasks {
		for i := range t.parts {
			p, result := &t.manifest.Parts[i], &t.parts[i].result
			errorType := p.Lane.Error
			switch {
			case p.Format == journal.Parquet:
				errorType = conversionFailed
				w.converted.Add(result.outputs)
				w.unconverted.Add(p.Outputs - result.outputs)
			case p.Format == journal.HTTP:
				errorType = httpFailed
			case errorType == conversionFailed: // they were staged
				w.unconverted.Add(p.Outputs)
			}
			if at := slices.Index(errorTypes[:], errorType); at >= 0 {
				w.failed[at].Add(result.deadLettered)
			}
		}
	}
}

var errSpoolFull = errors.New("the spool is full")

// tell notes how a write went.
func (s *spools) tell(err error) {
	switch {
	case err != nil:
		s.full.Store(errors.Is(err, errSpoolFull))
		s.trouble.met(s.now(), "what has no room in memory can't go to files", err.Error())
	case !s.full.Load() || s.roomy():
		s.trouble.over()
	}
}

// roomy reports whether a spool that was full has room again: not just for one more run.
func (s *spools) roomy() bool { return s.Used() < s.bound-s.bound/10 }

// SpoolTrouble tells why outputs can't go to files; empty: they can. Until then they leave in small objects, or are read and
// processed again.
func (e *Engine) SpoolTrouble() string {
	s := &e.spools
	text, _, _ := s.trouble.state(e.opts.Now())
	switch {
	case s.low() && (text != "" || s.Used() > 0):
		return fmt.Sprintf("%v: nothing more is spooled; it holds %d bytes", fault.ErrLowSpace, s.Used())
	case s.full.Load() && s.roomy():
		return ""
	}
	return text
}
