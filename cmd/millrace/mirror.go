package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"millrace/internal/app"
	"millrace/internal/config"
	"millrace/internal/mirror"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

var mirrorCommand = &command{name: "mirror", args: "--from PLACE --to PLACE [OPTIONS]", summary: "copy streams from one engine to another, resumably", run: runMirror}

const mirrorHelp = `
A PLACE is local:DIR (the data folder of a node that does not run), kafka://HOST:PORT,… or kinesis://REGION. A node that
runs is a place as well: kinesis://us-east-1 with --from-endpoint http://127.0.0.1:4566.

Each record is copied once, and the records of a partition key stay in their order. Streams that are missing at the
destination are made there with the same shards, mode, retention and tags; one that exists is appended to. The command
ends at the newest records as of its start, or goes on with --follow. Interrupt it when you like, or kill it: the state
file says how far it came, and the same command goes on from there. After a cut it looks for what was on its way by key
and data, so let nobody else write equal records to the destination meanwhile.

Not kept: arrival times and sequence numbers, which the destination gives, so that retention counts from the copy on; and
explicit hash keys, which no engine tells its readers: a record goes to the shard that its partition key decides.

A Kafka cluster that is none of Millrace's is only read: its topics are streams, a record's key is its partition key. To
Amazon Kinesis a key's records go one a call, since part of a call can fail there.`

// mirrorOptions is what the command line says of mirror.
type mirrorOptions struct {
	from, to                 string
	fromConfig, toConfig     string
	fromEndpoint, toEndpoint string
	streams                  list
	position, state, doubt   string
	follow, verify           bool
	rate                     float64
	byteRate                 config.Bytes
	every                    time.Duration
}

func (o *mirrorOptions) bind(fs *flag.FlagSet) {
	fs.StringVar(&o.from, "from", "", "the `PLACE` to copy from")
	fs.StringVar(&o.to, "to", "", "the `PLACE` to copy to")
	fs.StringVar(&o.fromConfig, "from-config", "", "a configuration `FILE` as of \"up\": its sections kafka and kinesis say what the source needs")
	fs.StringVar(&o.toConfig, "to-config", "", "the same for the destination (`FILE`)")
	fs.StringVar(&o.fromEndpoint, "from-endpoint", "", "the `URL` of the source when it is kinesis and not Amazon's")
	fs.StringVar(&o.toEndpoint, "to-endpoint", "", "the same for the destination (`URL`)")
	fs.Var(&o.streams, "stream", "a stream to copy, `NAME`, or SRC=DST to give it another name; can be repeated (default: all)")
	fs.StringVar(&o.position, "from-position", "trim-horizon", "where to begin with a stream that was not copied before (`POSITION`): trim-horizon, latest, or a time such as 2026-01-31T08:00:00Z")
	fs.BoolVar(&o.follow, "follow", false, "go on with what comes, until interrupted")
	fs.Float64Var(&o.rate, "rate", 0, "at most so many `RECORDS` a second")
	fs.Func("rate-bytes", "at most so many `BYTES` (10MiB) a second, of keys and data", o.byteRate.Set)
	fs.StringVar(&o.state, "state", "", "the state `FILE` (default: millrace-mirror-… in the current folder, by the two places)")
	fs.BoolVar(&o.verify, "verify", false, "read both sides again at the end, and compare counts, content and order")
	fs.StringVar(&o.doubt, "doubt", string(mirror.DoubtStop), "what to do with records in flight at a cut when the destination's retention has removed what would tell (`WHAT`): stop, again, skip")
	fs.DurationVar(&o.every, "progress", 5*time.Second, "how often to print progress (`TIME`); 0: never")
}

func runMirror(ctx context.Context, e *env, args []string) error {
	c := find("mirror")
	var o mirrorOptions
	fs := e.flags(c, mirrorHelp)
	o.bind(fs)
	if rest, err := e.parse(fs, args); err != nil {
		return err
	} else if len(rest) > 0 {
		return e.misuse(c, "it takes no arguments; %q is one", rest[0])
	}
	opts, err := o.options()
	if err != nil {
		return e.misuse(c, "%v", err)
	}
	from, to, err := o.places()
	if err != nil {
		return e.misuse(c, "%v", err)
	}
	opts.Note = func(text string) { fmt.Fprintln(e.stderr, text) }
	opts.Failpoint = failpoint()
	return o.mirror(ctx, e, from, to, opts)
}

// options reads what is no place.
func (o *mirrorOptions) options() (mirror.Options, error) {
	opts := mirror.Options{
		Follow: o.follow, RecordsPerSecond: o.rate, BytesPerSecond: float64(o.byteRate), Doubt: mirror.Doubt(o.doubt),
	}
	switch {
	case o.from == "" || o.to == "":
		return opts, errors.New("--from and --to are needed")
	case o.follow && o.verify:
		return opts, errors.New("--verify needs an end, which --follow has not; run it again without --follow")
	case o.rate < 0 || math.IsNaN(o.rate) || o.every < 0:
		return opts, errors.New("--rate and --progress can't be below 0")
	case !slices.Contains([]mirror.Doubt{mirror.DoubtStop, mirror.DoubtAgain, mirror.DoubtSkip}, opts.Doubt):
		return opts, fmt.Errorf("--doubt %q is none of stop, again, skip", o.doubt)
	}
	for _, name := range o.streams {
		src, dst, renamed := strings.Cut(name, "=")
		if !renamed {
			dst = src
		}
		if src == "" || dst == "" {
			return opts, fmt.Errorf("--stream %q is neither NAME nor SRC=DST", name)
		}
		opts.Pairs = append(opts.Pairs, mirror.Pair{From: src, To: dst})
	}
	switch o.position {
	case "trim-horizon":
	case "latest":
		opts.Start.Latest = true
	default:
		at, err := time.Parse(time.RFC3339, o.position)
		if err != nil {
			return opts, fmt.Errorf("--from-position %q is none of trim-horizon, latest, and a time such as 2026-01-31T08:00:00Z", o.position)
		}
		opts.Start.At = at
	}
	return opts, nil
}

// places reads where from and where to.
func (o *mirrorOptions) places() (from, to app.StreamsRef, err error) {
	if from, err = place("from", o.from, o.fromConfig, o.fromEndpoint); err != nil {
		return from, to, err
	}
	to, err = place("to", o.to, o.toConfig, o.toEndpoint)
	return from, to, err
}

func place(side, ref, file, endpoint string) (app.StreamsRef, error) {
	c := config.Default()
	if file != "" {
		var err error
		if c, err = config.Load(file); err != nil {
			return app.StreamsRef{}, fmt.Errorf("--%s-config: %w", side, err)
		}
	}
	if endpoint != "" {
		c.Kinesis.Endpoint = endpoint
	}
	r, err := app.ParseStreams(ref, c)
	if err != nil {
		return r, fmt.Errorf("--%s: %w", side, err)
	}
	if kind := string(r.Engine.Kind); kind != string(config.Local) {
		c.Engine = ref // so that what the engine needs is checked
		if err := c.Check(); err != nil {
			return r, fmt.Errorf("--%s-config: %w", side, err)
		}
	}
	if endpoint != "" && r.Engine.Kind != config.OnKinesis {
		return r, fmt.Errorf("--%s-endpoint goes with kinesis://REGION only", side)
	}
	return r, nil
}

// topicsKey is under what the state keeps what is known of the source's topics.
const topicsKey = "source-topics"

// closeTime bounds closing of both sides: appends in flight end in it.
const closeTime = 30 * time.Second

// mirror opens state and places, and closes them again.
func (o *mirrorOptions) mirror(ctx context.Context, e *env, from, to app.StreamsRef, opts mirror.Options) (err error) {
	if o.state == "" {
		sum := sha256.Sum256([]byte(from.String() + "\n" + to.String()))
		o.state = fmt.Sprintf("millrace-mirror-%x.state", sum[:4])
	}
	log, err := telemetry.NewLogger(e.stderr, telemetry.LogOptions{Level: "warn", Format: "text"})
	if err != nil {
		return err
	}
	if opts.State, err = mirror.OpenState(o.state, from.String(), to.String()); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, opts.State.Close()) }()
	src, err := app.OpenStreams(ctx, app.StreamsOptions{
		Ref: from, Read: from.String() != to.String(), Topics: sources(opts.Pairs), Saved: opts.State.Note(topicsKey), Log: log,
	})
	if err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	defer func() { err = errors.Join(err, closed(src)) }()
	if src.Saved != nil {
		opts.State.SetNote(topicsKey, src.Saved)
	}
	dst := src
	if from.String() != to.String() {
		if dst, err = app.OpenStreams(ctx, app.StreamsOptions{Ref: to, Log: log}); err != nil {
			return fmt.Errorf("--to: %w", err)
		}
		defer func() { err = errors.Join(err, closed(dst)) }()
	}
	opts.From, opts.To, opts.Settle = src.Backend, dst.Backend, dst.Settle
	return o.run(ctx, e, opts)
}

func sources(pairs []mirror.Pair) []string {
	var all []string
	for _, p := range pairs {
		if !slices.Contains(all, p.From) {
			all = append(all, p.From)
		}
	}
	return all
}

func closed(s *app.Streams) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	return s.Close(ctx)
}

func (o *mirrorOptions) run(ctx context.Context, e *env, opts mirror.Options) error {
	if opts.State.Resumes() {
		fmt.Fprintf(e.stderr, "going on from %s\n", o.state)
	}
	m := mirror.New(opts)
	if err := m.Prepare(ctx); err != nil {
		return err
	}
	stop := o.progress(ctx, e.stderr, m)
	err := m.Run(ctx)
	stop()
	interrupted := err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err())
	report := m.Report()
	printMirror(e.stdout, &report)
	switch {
	case interrupted:
		fmt.Fprintf(e.stderr, "stopped; the same command goes on from here (state: %s)\n", o.state)
		if o.follow {
			err = nil
		} else {
			err = errFailed
		}
	case err != nil:
		return fmt.Errorf("%w\nthe same command goes on from here (state: %s)", err, o.state)
	}
	if problem := report.Problem(); problem != "" {
		return fmt.Errorf("the counts do not add up: %s", problem)
	}
	fmt.Fprintln(e.stdout, "The counts add up.")
	if err != nil || !o.verify {
		return err
	}
	return o.verified(ctx, e, m)
}

// verified compares both sides and prints what came of it.
func (o *mirrorOptions) verified(ctx context.Context, e *env, m *mirror.Mirror) error {
	fmt.Fprintln(e.stderr, "reading both sides again ...")
	all, err := m.Verify(ctx)
	if err != nil {
		return err
	}
	ok := true
	for i := range all {
		v := &all[i]
		if len(v.Problems) == 0 {
			fmt.Fprintf(e.stdout, "%s: verified: %d records, %s; %s\n", pairName(v.From, v.To), v.Source.Records, size(v.Source.Bytes), orderOf(v))
			continue
		}
		ok = false
		for _, p := range v.Problems {
			fmt.Fprintf(e.stderr, "%s: DIFFERS: %s\n", pairName(v.From, v.To), p)
		}
	}
	if !ok {
		return errFailed
	}
	return nil
}

func orderOf(v *mirror.Verification) string {
	text := fmt.Sprintf("the order of %d keys is the same", v.Keys-v.Apart)
	if v.Of > 1 {
		text += fmt.Sprintf(" (one in %d was compared)", v.Of)
	}
	if v.Apart > 0 {
		text += fmt.Sprintf("; %d keys lay in several shards at one time and have none", v.Apart)
	}
	return text
}

func pairName(from, to string) string {
	if from == to {
		return from
	}
	return from + " to " + to
}

// progress prints a line from time to time until the function that it returns is called.
func (o *mirrorOptions) progress(ctx context.Context, w io.Writer, m *mirror.Mirror) (stop func()) {
	if o.every == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(o.every)
		defer tick.Stop()
		meter := meter{began: time.Now(), last: time.Now(), follow: o.follow}
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				fmt.Fprintln(w, meter.line(time.Now(), m.Progress()))
			}
		}
	}()
	return func() { cancel(); <-done }
}

// meter makes lines of progress: what has come since the last one, and what that means for the end.
type meter struct {
	began, last time.Time
	before      mirror.Counts
	follow      bool
	lag         time.Duration // when it was first known
	lagAt       time.Time
}

func (m *meter) line(now time.Time, p mirror.Progress) string {
	seconds := max(now.Sub(m.last).Seconds(), 1e-3)
	rate := float64(p.Run.Records-m.before.Records) / seconds
	byteRate := float64(p.Run.Bytes-m.before.Bytes) / seconds
	m.last, m.before = now, p.Run
	text := fmt.Sprintf("%s  %d records, %s  %.0f/s, %s/s  %d of %d shards done", now.Sub(m.began).Round(time.Second),
		p.Run.Records, size(p.Run.Bytes), rate, size(int64(byteRate)), p.Done, p.Shards)
	if p.Behind > 0 {
		text += fmt.Sprintf("  %v behind", p.Behind.Round(time.Second))
	}
	if p.Left >= 0 {
		text += fmt.Sprintf("  %d left", p.Left)
	}
	if left, ok := m.estimate(now, p); ok {
		text += fmt.Sprintf("  about %v to go", left.Round(time.Second))
	}
	return text
}

// estimate tells how long it will take: by the records that are left, or by how fast the lag shrinks.
func (m *meter) estimate(now time.Time, p mirror.Progress) (time.Duration, bool) {
	if m.follow {
		return 0, false
	}
	if p.Left >= 0 {
		overall := float64(p.Run.Records) / max(now.Sub(m.began).Seconds(), 1e-3)
		if overall <= 0 || p.Left == 0 {
			return 0, false
		}
		return time.Duration(float64(p.Left) / overall * float64(time.Second)), true
	}
	if m.lag == 0 {
		m.lag, m.lagAt = p.Behind, now
		return 0, false
	}
	elapsed := now.Sub(m.lagAt)
	covered := m.lag - p.Behind + elapsed // of the source's time
	ahead := p.Behind - now.Sub(m.began)  // to the tips as they were at the start
	if elapsed <= 0 || covered <= 0 || ahead <= 0 {
		return 0, false
	}
	return time.Duration(float64(ahead) / (float64(covered) / float64(elapsed))), true
}

// size prints bytes for people.
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, u := float64(n), 0
	for v >= 1024 && u < len(units)-1 {
		v /= 1024
		u++
	}
	if u == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[u])
}

// shownShards bounds the shards of a stream that are listed one by one.
const shownShards = 64

func printMirror(w io.Writer, r *mirror.Report) {
	fmt.Fprintf(w, "%-40s %12s = %12s + %8s %14s %8s\n", "STREAM / SHARD", "RECORDS", "COPIED", "FOUND", "BYTES", "GONE")
	row := func(name string, c *mirror.Counts) {
		fmt.Fprintf(w, "%-40s %12d = %12d + %8d %14d %8d\n", name, c.Records, c.Copied, c.Found, c.Bytes, c.Gone)
	}
	for i := range r.Streams {
		s := &r.Streams[i]
		row(pairName(s.From, s.To), &s.Counts)
		for j := range s.Shards {
			if sh := &s.Shards[j]; len(s.Shards) > 1 && len(s.Shards) <= shownShards {
				row("  "+stream.ShardID(sh.Shard), &sh.Counts)
			}
		}
		remarks(w, s)
	}
	fmt.Fprintf(w, "This run: %d records read, %d copied, %d found at the destination, %s.\n", r.Run.Records, r.Run.Copied, r.Run.Found, size(r.Run.Bytes))
}

// remarks tells what the table does not.
func remarks(w io.Writer, s *mirror.StreamReport) {
	pending := 0
	for i := range s.Shards {
		pending += s.Shards[i].Pending
	}
	for _, r := range []struct {
		n    int64
		text string
	}{
		{int64(pending), "records are on their way; the next run looks for them"},
		{s.Gone, "records had left the source before they were read"},
		{s.Assumed, "records were in doubt, and decided on by --doubt"},
		{s.Reordered, "records came behind a later one of their key"},
		{s.Moved, "records lay in another shard than their partition key decides (explicit hash keys, or another's partitioner)"},
	} {
		if r.n > 0 {
			fmt.Fprintf(w, "  %d %s\n", r.n, r.text)
		}
	}
}
