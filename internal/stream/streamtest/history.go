package streamtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// Histories plays random histories on fresh backends and on a [model] beside each, and compares what can be seen. A history that
// shows a difference is played again with ever fewer of its steps, and what is left of it is printed.
type Histories struct {
	// Setup makes a fresh backend, with what of its settings the random numbers say; it ends with the test.
	Setup func(t *testing.T, rnd *rand.Rand) *Subject
	Seed  uint64 // of the first history, the next has the next; 0: random
	Count int
	Steps int  // of each; 0: 60
	Whole bool // a history that shows a difference is not shortened
}

// Run plays the histories, and fails with the first that shows a difference.
func (h Histories) Run(t *testing.T) {
	if err := h.Find(t); err != nil {
		t.Fatal(err)
	}
}

const defaultSteps = 60

// step is one thing that happens. What exactly it does is decided by its own random numbers and the state that it meets, so that
// a history without some of its steps is a history.
type step struct {
	kind *stepKind
	seed uint64
}

type stepKind struct {
	name   string
	weight int
	do     func(*player) error
}

var stepKinds = []stepKind{
	{"put", 30, (*player).put},
	{"burst", 7, (*player).burst},
	{"read", 20, (*player).read},
	{"bookmark", 6, (*player).bookmark},
	{"resume", 8, (*player).resume},
	{"unknown", 2, (*player).unknown},
	{"reshard", 7, (*player).reshard},
	{"tick", 10, (*player).tick},
	{"hours", 4, (*player).hours},
	{"trim", 5, (*player).trim},
	{"hold", 3, (*player).hold},
	{"release", 1, (*player).release},
	{"retention", 2, (*player).retention},
	{"reopen", 2, (*player).reopen},
	{"kill", 2, (*player).kill},
	{"delete", 1, (*player).delete},
}

// failure is a history that shows a difference.
type failure struct {
	seed  uint64
	steps int
	log   []string // what happened, in words
	err   error
}

func (f *failure) Error() string {
	return fmt.Sprintf("seed %d: %v\nafter these %d steps, which are left of its history:\n  %s",
		f.seed, f.err, f.steps, strings.Join(f.log, "\n  "))
}

// Find plays the histories, and gives what the first that shows a difference has left.
func (h Histories) Find(t *testing.T) error {
	if h.Seed == 0 {
		h.Seed = rand.Uint64N(1 << 32)
	}
	if h.Steps == 0 {
		h.Steps = defaultSteps
	}
	for seed := h.Seed; seed < h.Seed+uint64(h.Count); seed++ {
		steps := history(seed, h.Steps)
		log, err := h.play(t, seed, steps)
		switch f := (&failure{seed, len(steps), log, err}); {
		case err != nil && h.Whole:
			return f
		case err != nil:
			return h.shrink(t, f, steps)
		}
	}
	return nil
}

// history makes up steps.
func history(seed uint64, n int) []step {
	rnd := rand.New(rand.NewPCG(seed, 1))
	var all []*stepKind
	for i := range stepKinds {
		all = append(all, slices.Repeat([]*stepKind{&stepKinds[i]}, stepKinds[i].weight)...)
	}
	steps := make([]step, n)
	for i := range steps {
		steps[i] = step{all[rnd.IntN(len(all))], rnd.Uint64()}
	}
	return steps
}

// Bounds of the search for a shorter history.
const (
	maxReplays    = 200
	maxReplayTime = 30 * time.Second
)

// shrink leaves out steps, many at a time and then few, as long as a difference shows.
func (h Histories) shrink(t *testing.T, f *failure, steps []step) *failure {
	began, replays := time.Now(), 0
	for size := len(steps) / 2; size > 0; size /= 2 {
		for at := 0; at < len(steps); {
			if replays++; replays > maxReplays || time.Since(began) > maxReplayTime {
				return f
			}
			fewer := slices.Delete(slices.Clone(steps), at, min(at+size, len(steps)))
			if log, err := h.play(t, f.seed, fewer); err != nil {
				steps, f = fewer, &failure{f.seed, len(fewer), log, err}
			} else {
				at += size
			}
		}
	}
	return f
}

// play plays a history on a fresh backend, which ends with it.
func (h Histories) play(t *testing.T, seed uint64, steps []step) (log []string, err error) {
	t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
		s := h.Setup(t, rand.New(rand.NewPCG(seed, 2)))
		p := &player{Subject: s, ctx: ctxOf(t), model: newModel(), caps: s.Backend.Capabilities()}
		for _, st := range steps {
			p.rnd = rand.New(rand.NewPCG(st.seed, 3))
			p.log = append(p.log, st.kind.name)
			if err = st.kind.do(p); err == nil {
				err = p.described()
			}
			if err != nil {
				break
			}
		}
		if err == nil {
			err = p.readAll()
		}
		log = p.log
	})
	return log, err
}

// player is a history on its way.
type player struct {
	*Subject
	ctx   context.Context
	rnd   *rand.Rand // of the present step
	model *model
	caps  stream.Capabilities
	log   []string
	sent  int // entries ever made: each has data of its own

	marks []mark
	dead  []stream.ShardRef // of streams that were deleted, and shards that have left
}

// note says what a step does.
func (p *player) note(format string, args ...any) {
	p.log[len(p.log)-1] += " " + fmt.Sprintf(format, args...)
}

// now is the time that decides what is old.
func (p *player) now() time.Time {
	if p.Now != nil {
		return p.Now()
	}
	return time.Now()
}

// pick gives a stream, and makes one if there is none.
func (p *player) pick() (*modelStream, error) {
	name := []string{"a", "a", "b"}[p.rnd.IntN(3)]
	if s := p.model.streams[name]; s != nil {
		return s, nil
	}
	count := 1 + p.rnd.IntN(3)
	p.note("(create %s of %d shards)", name, count)
	if _, err := p.Backend.CreateStream(p.ctx, stream.CreateStream{Name: name, Shards: count}); err != nil {
		return nil, err
	}
	def, err := p.settled(name)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(p.dead, func(old stream.ShardRef) bool { return old.ID == def.ID }) {
		return nil, fmt.Errorf("a new stream has the id of an old one, %s", def.ID)
	}
	err = p.model.created(def, count)
	return p.model.streams[name], err
}

// settled gives a stream when it is ACTIVE.
func (p *player) settled(name string) (*stream.Stream, error) {
	for {
		def, ok := p.Backend.Stream(name)
		if ok && def.Status == stream.Active {
			p.leave(def)
			return def, nil
		}
		select {
		case <-p.ctx.Done():
			return nil, fmt.Errorf("stream %s does not become ACTIVE: %+v", name, def)
		case <-time.After(time.Millisecond):
		}
	}
}

// leave lets closed shards go of which the engine has seen fit to let go.
func (p *player) leave(def *stream.Stream) {
	s := p.model.streams[def.Name]
	if s == nil || p.caps.HidesAtAge {
		return
	}
	for _, sh := range s.sorted() {
		if _, ok := def.Shard(sh.Index); !ok && s.mayLeave(sh, s.cutoff(p.now())) {
			delete(s.shards, sh.Index)
			p.left(s, sh.Index)
		}
	}
}

// described compares all descriptions.
func (p *player) described() error {
	if got := len(p.Backend.Streams()); got != len(p.model.streams) {
		return fmt.Errorf("there are %d streams; want %d", got, len(p.model.streams))
	}
	for name, s := range p.model.streams {
		def, err := p.settled(name)
		if err != nil {
			return err
		}
		if err := s.described(def); err != nil {
			return fmt.Errorf("stream %s: %w", name, err)
		}
	}
	return nil
}

// entry makes up an entry: most are small, and their keys are few.
func (p *player) entry(s *modelStream) stream.Entry {
	size := p.rnd.IntN(100)
	switch p.rnd.IntN(40) {
	case 0:
		size = p.rnd.IntN(300_000)
	case 1, 2, 3:
		size = p.rnd.IntN(5000)
	}
	e := p.entryOf(fmt.Sprintf("key-%d", p.rnd.IntN(40)), size)
	if p.rnd.IntN(3) == 0 { // at the borders of a shard
		open := s.open()
		r := open[p.rnd.IntN(len(open))].Range
		e.ExplicitHashKey = &[]stream.HashKey{r.Start, r.End, r.Start.Next()}[p.rnd.IntN(3)]
	}
	return e
}

func (p *player) entryOf(key string, size int) stream.Entry {
	p.sent++
	data := fmt.Appendf(nil, "%d:%d:", p.sent, size)
	for i := range size {
		data = append(data, byte(p.sent+i))
	}
	return stream.Entry{PartitionKey: key, Data: data, Sealed: p.caps.Seals && p.rnd.IntN(4) == 0}
}

// put appends entries, one after the other or in one call.
func (p *player) put() error {
	s, err := p.pick()
	if err != nil {
		return err
	}
	n := 1
	if p.rnd.IntN(2) == 0 {
		n += p.rnd.IntN(20)
	}
	entries, results := make([]stream.Entry, n), make([]stream.Result, n)
	for i := range entries {
		entries[i] = p.entry(s)
	}
	p.note("%d to %s:", n, s.def.Name)
	if err := p.Backend.Append(p.ctx, s.def.Name, entries, results); err != nil {
		return err
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	if !p.caps.OrderedCalls {
		slices.SortStableFunc(order, func(x, y int) int { return results[x].Sequence.Compare(results[y].Sequence) })
	}
	for _, i := range order {
		r := results[i]
		if r.Err != nil {
			return r.Err
		}
		sh := s.locate(entries[i].HashKey())
		p.note("%d", sh.Index)
		if r.Shard != sh.Index {
			return fmt.Errorf("%q went to %d; want %s", head(entries[i].Data), r.Shard, sh)
		}
		if err := sh.took(&entries[i], r.Sequence, p.arrival(sh), p.caps.DensePositions); err != nil {
			return err
		}
	}
	return nil
}

// arrival gives when a record arrives that is appended now; 0 where that shows only when it is read.
func (p *player) arrival(sh *modelShard) int64 {
	if p.Now == nil {
		return 0
	}
	return sh.arrives(p.Now())
}

// head is the beginning of data, which tells its record from all others.
func head(data []byte) string {
	text, _, _ := strings.Cut(string(data[:min(len(data), 20)]), ":")
	return text + ":"
}

func (p *player) reshard() error {
	s, err := p.pick()
	if err != nil {
		return err
	}
	change, ok := p.change(s)
	if !ok {
		return nil
	}
	if _, err := p.Backend.Reshard(p.ctx, s.def.Name, change); err != nil {
		return err
	}
	def, err := p.settled(s.def.Name)
	if err != nil {
		return err
	}
	return s.resharded(change, def)
}

// change makes up a change that the stream takes; ok is false where it has too many shards already.
func (p *player) change(s *modelStream) (change stream.Reshard, ok bool) {
	def, found := p.Backend.Stream(s.def.Name)
	if !found || len(s.shards) > 40 {
		return change, false
	}
	change = anyReshard(p.rnd, def)
	switch {
	case change.Split != nil:
		p.note("split %s %d at %v", s.def.Name, change.Split.Shard, change.Split.At)
	case change.Merge != nil:
		p.note("merge %s %d and %d", s.def.Name, change.Merge.Shard, change.Merge.Adjacent)
	default:
		p.note("scale %s to %d", s.def.Name, change.Count)
	}
	return change, true
}

func (p *player) advance(d time.Duration) {
	if p.Advance != nil {
		p.Advance(d)
		p.note("%v: %d", d, p.now().UnixMilli())
	}
}

func (p *player) tick() error {
	p.advance(time.Duration(p.rnd.IntN(4)) * time.Millisecond)
	return nil
}

// hours lets much time pass, or sets the clock back a little, where it is the backend's own.
func (p *player) hours() error {
	if p.caps.HidesAtAge && p.rnd.IntN(6) == 0 {
		p.advance(-time.Duration(p.rnd.IntN(7200_000)) * time.Millisecond)
	} else {
		p.advance(time.Duration(p.rnd.IntN(30*3600_000)) * time.Millisecond)
	}
	return nil
}

func (p *player) trim() error {
	if p.Trim == nil {
		return nil
	}
	if err := p.Trim(); err != nil {
		return err
	}
	for _, s := range p.model.streams {
		for _, sh := range s.shards {
			defer p.left(s, sh.Index)
		}
	}
	p.model.trim(p.now())
	return nil
}

// left remembers a shard if it has left.
func (p *player) left(s *modelStream, index uint32) {
	if s.shards[index] == nil {
		p.note("%s/%d leaves", s.def.Name, index)
		p.dead = append(p.dead, ref(s.def, index))
	}
}

var holders = []string{"delivery-1", "delivery-2"}

func (p *player) hold() error {
	s, err := p.pick()
	if err != nil || !p.caps.Holds {
		return err
	}
	holder := holders[p.rnd.IntN(len(holders))]
	sh, place, i := p.anywhere(s)
	p.note("%s: %s/%d from %d", holder, s.def.Name, sh.Index, i)
	p.Backend.Hold(holder, ref(s.def, sh.Index), place)
	if s.holds[holder] == nil {
		s.holds[holder] = map[uint32]stream.SequenceNumber{}
	}
	s.holds[holder][sh.Index] = place
	return nil
}

func (p *player) release() error {
	holder := holders[p.rnd.IntN(len(holders))]
	p.note("%s", holder)
	p.Backend.Release(holder)
	for _, s := range p.model.streams {
		delete(s.holds, holder)
	}
	return nil
}

func (p *player) retention() error {
	s, err := p.pick()
	if err != nil || !p.caps.HidesAtAge { // what of an engine's old records comes back is its own business
		return err
	}
	hours := time.Duration(24+p.rnd.IntN(30)) * time.Hour
	p.note("of %s: %v", s.def.Name, hours)
	edit := func(set *stream.Settings) error {
		set.Retention = hours
		return nil
	}
	if _, err := p.Backend.UpdateStream(p.ctx, s.def.Name, edit); err != nil {
		return err
	}
	def, err := p.settled(s.def.Name)
	if err != nil {
		return err
	}
	changed := *s.def
	changed.Retention = hours
	s.def = &changed
	return s.described(def)
}

// reopened forgets what a process forgets.
func (p *player) reopened(b stream.Backend) {
	p.Backend = b
	for _, s := range p.model.streams {
		clear(s.holds)
	}
}

func (p *player) reopen() error {
	if p.Reopen != nil {
		p.reopened(p.Reopen())
	}
	return nil
}

func (p *player) kill() error {
	if p.Kill != nil {
		p.reopened(p.Kill())
	}
	return nil
}

func (p *player) delete() error {
	s, err := p.pick()
	if err != nil {
		return err
	}
	p.note("%s", s.def.Name)
	if err := p.Backend.DeleteStream(p.ctx, s.def.Name); err != nil {
		return err
	}
	for _, sh := range s.sorted() {
		p.dead = append(p.dead, ref(s.def, sh.Index))
	}
	delete(p.model.streams, s.def.Name)
	for {
		if _, ok := p.Backend.Stream(s.def.Name); !ok {
			return nil
		}
		select {
		case <-p.ctx.Done():
			return fmt.Errorf("stream %s is deleted and does not go", s.def.Name)
		case <-time.After(time.Millisecond):
		}
	}
}

// unknown asks for what is no more.
func (p *player) unknown() error {
	if len(p.dead) == 0 {
		return nil
	}
	gone := p.dead[p.rnd.IntN(len(p.dead))]
	p.note("%s of %s", gone, gone.ID)
	var batch stream.Batch
	_, tip := p.Backend.Tip(p.ctx, gone)
	for _, err := range []error{p.Backend.Read(p.ctx, stream.ReadRequest{Shard: gone, MaxRecords: 1, MaxBytes: 1}, &batch),
		p.Backend.Wait(p.ctx, gone, stream.SequenceNumber{}), tip} {
		if !fault.Is(err, fault.NotFound) {
			return fmt.Errorf("%s of %s is no more: error %v", gone, gone.ID, err)
		}
	}
	return nil
}
