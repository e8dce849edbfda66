package kinesis

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"millrace/internal/stream"
	"millrace/internal/stream/kinesis"
)

var peers = flag.String("peers", "", "the folder where e2e/kinesis/run has installed the servers; empty: nothing is tested")

func TestMain(m *testing.M) {
	flag.Parse()
	if *peers == "" {
		fmt.Println("nothing to test without -peers: e2e/kinesis/run installs the servers and sets it")
		return
	}
	os.Exit(m.Run())
}

// stranger is a server of others.
type stranger struct {
	name    string
	dir     string
	command func(port int) (args, env []string)
	// lacks names the steps that it can't take, and why.
	lacks map[string]string
}

func strangers() []stranger {
	in := func(parts ...string) string { return filepath.Join(append([]string{*peers}, parts...)...) }
	return []stranger{
		{name: "moto", command: func(port int) ([]string, []string) {
			return []string{in("venv", "bin", "moto_server"), "-H", "127.0.0.1", "-p", strconv.Itoa(port)}, nil
		}, lacks: map[string]string{
			"split": "it moves the parent's records to the children, key and data exchanged, and no shard ends",
			"merge": "as split",
		}},
		{name: "kinesalite", command: func(port int) ([]string, []string) {
			// Its command listens on all interfaces.
			return []string{"node", "-e", fmt.Sprintf(`require("kinesalite")({createStreamMs: 50, updateStreamMs: 50, deleteStreamMs: 50}).listen(%d, "127.0.0.1")`, port)},
				[]string{"NODE_PATH=" + in("node_modules")}
		}, lacks: map[string]string{
			"idle tip": "it never answers GetShardIterator for a moment that no record has come after",
		}},
		{name: "kinesis-local", dir: in("node_modules", "kinesis-local"), command: func(port int) ([]string, []string) {
			return []string{"node", "main.js"}, []string{"KINESIS_MOCK_PLAIN_PORT=" + strconv.Itoa(port), "KINESIS_MOCK_TLS_PORT=" + strconv.Itoa(freePort()),
				"LOG_LEVEL=ERROR", "SHOULD_PERSIST_DATA=false", "CREATE_STREAM_DURATION=50ms", "DELETE_STREAM_DURATION=50ms",
				"SPLIT_SHARD_DURATION=50ms", "MERGE_SHARDS_DURATION=50ms"}
		}},
	}
}

func freePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

const startTimeout = 60 * time.Second

// start runs a server until the test ends.
func (s *stranger) start(t *testing.T) (url string) {
	port := freePort()
	args, env := s.command(port)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = s.dir, append(os.Environ(), env...), ownGroup()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	started, exited := make(chan error), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the server ends with the thread that started it
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			exited <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-exited
		}
		if t.Failed() {
			t.Logf("%s said: %s", s.name, out.Bytes()[max(0, out.Len()-4000):])
		}
	})
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(50 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			conn.Close()
			return "http://" + address
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen: %v", s.name, err)
		}
	}
}

func TestStrangers(t *testing.T) {
	for _, s := range strangers() {
		t.Run(s.name, func(t *testing.T) {
			b, err := kinesis.Open(t.Context(), kinesis.Options{
				Region: "us-east-1", Endpoint: s.start(t), AccessKeyID: "AKIATEST", SecretAccessKey: "secret",
				ReadsPerSecond: 50, PollInterval: 50 * time.Millisecond, FollowInterval: 50 * time.Millisecond, Unpaced: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			l := &life{t: t, b: b, model: map[uint32][]string{}}
			for _, step := range []struct {
				name string
				run  func(*life)
			}{
				{"create", (*life).create}, {"put and read", (*life).putAndRead}, {"read from anywhere", (*life).readFromAnywhere},
				{"tip", (*life).tip}, {"wait", (*life).wait}, {"moment", (*life).moment}, {"idle tip", (*life).idleTip}, {"split", (*life).split},
				{"merge", (*life).merge}, {"settings", (*life).settings}, {"delete", (*life).delete},
			} {
				if why, lacks := s.lacks[step.name]; lacks {
					t.Logf("%s can't %s: %s", s.name, step.name, why)
					continue
				}
				var cancel context.CancelFunc
				l.ctx, cancel = context.WithTimeout(context.Background(), 20*time.Second)
				t.Run(step.name, func(t *testing.T) { l.t = t; step.run(l) })
				cancel()
			}
			if err := b.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
}

// life is one stream's.
type life struct {
	t     *testing.T
	ctx   context.Context
	b     *kinesis.Backend
	n     int
	model map[uint32][]string // what each shard holds
	last  []stream.Result
}

func (l *life) def() *stream.Stream {
	l.t.Helper()
	st, ok := l.b.Stream("s")
	if !ok {
		l.t.Fatal("there is no stream")
	}
	return st
}

// until polls a condition of the description.
func (l *life) until(what string, ok func() bool) {
	l.t.Helper()
	for !ok() {
		if l.ctx.Err() != nil {
			st, _ := l.b.Stream("s")
			l.t.Fatalf("in vain: %s; %+v", what, st)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (l *life) active() bool { st, ok := l.b.Stream("s"); return ok && st.Status == stream.Active }

func (l *life) put(count int) {
	l.t.Helper()
	entries := make([]stream.Entry, count)
	for i := range entries {
		entries[i] = stream.Entry{PartitionKey: "key-" + strconv.Itoa(l.n%97), Data: []byte("record " + strconv.Itoa(l.n))}
		if l.n%5 == 0 {
			k := stream.MaxHashKey.Prev() // moto has no shard for the last one
			entries[i].ExplicitHashKey = &k
		}
		l.n++
	}
	l.last = make([]stream.Result, count)
	if err := l.b.Append(l.ctx, "s", entries, l.last); err != nil {
		l.t.Fatal(err)
	}
	for i, r := range l.last {
		if r.Err != nil {
			l.t.Fatal(r.Err)
		}
		l.model[r.Shard] = append(l.model[r.Shard], string(entries[i].Data))
	}
}

func (l *life) ref(shard uint32) stream.ShardRef {
	return stream.ShardRef{Stream: "s", ID: l.def().ID, Shard: shard}
}

// read reads a shard to its tip or end.
func (l *life) read(shard uint32, from stream.SequenceNumber) (data []string, places []stream.SequenceNumber, ended bool) {
	l.t.Helper()
	var batch stream.Batch
	for {
		if err := l.b.Read(l.ctx, stream.ReadRequest{Shard: l.ref(shard), From: from, MaxRecords: 100, MaxBytes: 1 << 20}, &batch); err != nil {
			l.t.Fatal(err)
		}
		for _, r := range batch.Records {
			data, places = append(data, string(r.Data)), append(places, r.Sequence)
		}
		if from = batch.Next; batch.End || len(batch.Records) == 0 && batch.MillisBehind == 0 {
			return data, places, batch.End
		}
	}
}

func (l *life) same(shard uint32, got []string) {
	l.t.Helper()
	if !slices.Equal(got, l.model[shard]) {
		l.t.Errorf("%s holds %d records; want %d", stream.ShardID(shard), len(got), len(l.model[shard]))
	}
}

func (l *life) create() {
	if _, err := l.b.CreateStream(l.ctx, stream.CreateStream{Name: "s", Shards: 2}); err != nil {
		l.t.Fatal(err)
	}
	l.until("ACTIVE with two shards", func() bool { return l.active() && len(l.def().Shards) == 2 })
}

func (l *life) putAndRead() {
	l.put(300)
	for range 50 {
		l.put(1)
	}
	for shard := range uint32(2) {
		got, _, _ := l.read(shard, stream.SequenceNumber{})
		l.same(shard, got)
	}
}

func (l *life) readFromAnywhere() {
	_, places, _ := l.read(0, stream.SequenceNumber{})
	for i := 0; i < len(places); i += 41 {
		if got, _, _ := l.read(0, places[i]); len(got) != len(places)-i {
			l.t.Errorf("from record %d: %d of %d", i, len(got), len(places))
		}
		if got, _, _ := l.read(0, places[i].Next()); len(got) != len(places)-i-1 {
			l.t.Errorf("after record %d: %d of %d", i, len(got), len(places))
		}
	}
}

func (l *life) tip() {
	l.put(1)
	shard := l.last[0].Shard
	tip, err := l.b.Tip(l.ctx, l.ref(shard))
	if err != nil || tip != l.last[0].Sequence.Next() {
		l.t.Errorf("the tip is %v, %v; the last record %v", tip, err, l.last[0].Sequence)
	}
}

// wait waits behind the last record.
func (l *life) wait() {
	l.put(1)
	r := l.last[0]
	done := make(chan error, 1)
	go func() { done <- l.b.Wait(l.ctx, l.ref(r.Shard), r.Sequence.Next()) }()
	for len(l.last) == 0 || l.last[0].Shard != r.Shard || l.last[0].Sequence == r.Sequence {
		l.put(1)
	}
	if err := <-done; err != nil {
		l.t.Error(err)
	}
}

// moment reads from a moment between records.
func (l *life) moment() {
	time.Sleep(1100 * time.Millisecond) // servers whose arrival times are whole seconds
	at := time.Now()
	time.Sleep(1100 * time.Millisecond)
	l.put(20)
	for shard := range uint32(2) {
		place, err := l.b.At(l.ctx, l.ref(shard), at)
		if err != nil {
			l.t.Fatal(err)
		}
		want := 0
		for _, r := range l.last {
			if r.Shard == shard {
				want++
			}
		}
		if got, _, _ := l.read(shard, place); len(got) != want {
			l.t.Errorf("%s: since then %d records; want %d", stream.ShardID(shard), len(got), want)
		}
	}
}

// idleTip finds the tip of a shard that nothing was put in of late, and reads on from it.
func (l *life) idleTip() {
	time.Sleep(7 * time.Second) // longer than Tip looks back
	tip, err := l.b.Tip(l.ctx, l.ref(0))
	if err != nil {
		l.t.Fatal(err)
	}
	l.put(20)
	want := 0
	for _, r := range l.last {
		if r.Shard == 0 {
			want++
		}
	}
	if got, _, _ := l.read(0, tip); len(got) != want {
		l.t.Errorf("from the idle tip %v: %d records; want %d", tip, len(got), want)
	}
}

func (l *life) split() {
	parent, _ := l.def().Shard(0)
	middle, _, _ := stream.ParseHashKey("85070591730234615865843651857942052864")
	if _, err := l.b.Reshard(l.ctx, "s", stream.Reshard{Split: &stream.SplitShard{Shard: parent.Index, At: middle}}); err != nil {
		l.t.Fatal(err)
	}
	l.until("two children", func() bool { return l.active() && len(l.def().Children(0)) == 2 })
	got, _, ended := l.read(0, stream.SequenceNumber{})
	l.same(0, got)
	if !ended {
		l.t.Error("the parent does not end")
	}
	l.put(200)
	for _, child := range l.def().Children(0) {
		got, _, _ := l.read(child.Index, stream.SequenceNumber{})
		l.same(child.Index, got)
		if len(got) == 0 {
			l.t.Error("a child took nothing")
		}
	}
}

func (l *life) merge() {
	children := l.def().Children(0)
	if len(children) != 2 {
		l.t.Fatalf("%d children", len(children))
	}
	lower, upper := children[0].Index, children[1].Index
	if _, err := l.b.Reshard(l.ctx, "s", stream.Reshard{Merge: &stream.MergeShards{Shard: lower, Adjacent: upper}}); err != nil {
		l.t.Fatal(err)
	}
	l.until("the merged child", func() bool { return l.active() && len(l.def().Children(lower)) == 1 })
	child := l.def().Children(lower)[0]
	if !slices.Equal(child.Parents, []uint32{lower, upper}) {
		l.t.Errorf("parents %v", child.Parents)
	}
	l.put(100)
	for _, shard := range []uint32{lower, upper, child.Index} {
		got, _, ended := l.read(shard, stream.SequenceNumber{})
		l.same(shard, got)
		if ended != (shard != child.Index) {
			l.t.Errorf("%s: ended is %v", stream.ShardID(shard), ended)
		}
	}
}

func (l *life) settings() {
	for _, retention := range []time.Duration{48 * time.Hour, 24 * time.Hour} {
		if _, err := l.b.UpdateStream(l.ctx, "s", func(set *stream.Settings) error { set.Retention = retention; return nil }); err != nil {
			l.t.Fatal(err)
		}
		l.until("the retention", func() bool { return l.active() && l.def().Retention == retention })
	}
	for _, tags := range []map[string]string{{"a": "1", "b": "2"}, {"b": "3", "c": "4"}, {}} {
		st, err := l.b.UpdateStream(l.ctx, "s", func(set *stream.Settings) error { set.Tags = tags; return nil })
		if err != nil || fmt.Sprint(st.Tags) != fmt.Sprint(tags) {
			l.t.Fatalf("tags %v, %v; want %v", st, err, tags)
		}
	}
}

func (l *life) delete() {
	if err := l.b.DeleteStream(l.ctx, "s"); err != nil {
		l.t.Fatal(err)
	}
	l.until("gone", func() bool { _, ok := l.b.Stream("s"); return !ok })
}
