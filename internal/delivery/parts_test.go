package delivery

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"millrace/internal/stream"
)

// The objects of a flush are put several at a time, and of a store that is far away no more than the node may have.
func TestPartsArePutTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions, away = 240, 50 * time.Millisecond
		n := newNode(t, Options{SpoolDir: t.TempDir()}).start()
		n.create(request("d", "", extended(nil)))
		var mu sync.Mutex
		var first, last time.Time
		running, most := 0, 0
		n.sink.fail = func(string, string) error {
			mu.Lock()
			if running++; first.IsZero() {
				first = time.Now()
			}
			most = max(most, running)
			mu.Unlock()
			time.Sleep(away)
			mu.Lock()
			defer mu.Unlock()
			running--
			last = time.Now()
			return nil
		}
		for i := range partitions {
			n.put("d", event(fmt.Sprint("p", i), 1))
		}
		time.Sleep(3 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if took := last.Sub(first); took > partitions/partsAtOnce*away*3/2 {
			t.Errorf("%d objects took %v, one after the other", partitions, took)
		}
		if most != partsAtOnce {
			t.Errorf("%d puts at a time", most)
		}
		n.verifyProcessing("d")
		n.close()
	})
}

// A part that fails ends the attempt; what the others have stored stays, and the next attempt puts the rest.
func TestPartsThatFailAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, Options{SpoolDir: t.TempDir()}).start()
		n.create(request("d", "", extended(nil)))
		random := rand.New(rand.NewPCG(1, 2))
		var mu sync.Mutex
		n.sink.fail = func(_, key string) error {
			mu.Lock()
			defer mu.Unlock()
			if random.IntN(4) == 0 {
				return io.ErrUnexpectedEOF
			}
			return nil
		}
		for i := range 60 {
			n.put("d", event(fmt.Sprint("p", i), 1))
		}
		time.Sleep(10 * time.Minute)
		n.verifyProcessing("d")
		n.close()
	})
}

func TestPieces(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var pool sync.Pool
	o := pieces{pool: &pool}
	var written, read bytes.Buffer
	for range 500 {
		p := make([]byte, random.IntN(3*pieceBytes))
		for i := range p {
			p[i] = byte(random.Uint32())
		}
		if _, err := o.Write(p); err != nil {
			t.Fatal(err)
		}
		written.Write(p)
		for range random.IntN(4) {
			p := make([]byte, random.IntN(2*pieceBytes))
			read.Write(p[:o.take(p)])
		}
		if o.size != written.Len()-read.Len() || len(o.queue) > o.size/pieceBytes+2 {
			t.Fatalf("%d bytes in %d pieces, %d are missing", o.size, len(o.queue), written.Len()-read.Len())
		}
	}
	rest := make([]byte, o.size+1)
	read.Write(rest[:o.take(rest)])
	if !bytes.Equal(written.Bytes(), read.Bytes()) || len(o.queue) > 0 {
		t.Error("it gives other bytes than it was given")
	}
}

func TestFrames(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	var want []output
	var text bytes.Buffer
	for i := range 300 {
		o := output{data: bytes.Repeat([]byte{byte(i)}, random.IntN(200)), first: i%3 == 0, arrival: int64(i), sub: i,
			sequence: stream.NewSequenceNumber(1, 2, uint64(i))}
		if i%50 == 7 {
			o.data = bytes.Repeat(o.data, 1000)
		}
		if i%5 == 0 {
			o.failure = &failure{Code: "code", Message: fmt.Sprint("message ", i), Attempts: i, Ended: int64(i)}
		}
		want = append(want, o)
		text.Write(o.appendHead(nil))
		if o.failure != nil {
			text.WriteString(o.failure.Code + o.failure.Message)
		}
		text.Write(o.data)
	}
	for name, from := range map[string]io.Reader{"whole": bytes.NewReader(text.Bytes()), "bytes": iotest.OneByteReader(bytes.NewReader(text.Bytes())),
		"halves": iotest.HalfReader(bytes.NewReader(text.Bytes()))} {
		r := frameReader{from: from}
		for i := range want {
			o, err := r.next()
			if err != nil {
				t.Fatal(name, err)
			}
			w := &want[i]
			if !bytes.Equal(o.data, w.data) || o.first != w.first || o.arrival != w.arrival || o.sub != w.sub || o.sequence != w.sequence ||
				(o.failure == nil) != (w.failure == nil) || o.failure != nil && *o.failure != *w.failure {
				t.Fatalf("%s: frame %d is %+v", name, i, o)
			}
		}
		if _, err := r.next(); err != io.EOF {
			t.Errorf("%s: %v", name, err)
		}
	}
	whole := text.Bytes()
	for _, n := range []int{1, frameHead - 1, frameHead + 3, len(whole) - 1} {
		r := frameReader{from: bytes.NewReader(whole[:n])}
		for {
			_, err := r.next()
			if err == io.EOF {
				t.Errorf("%d bytes end well", n)
			}
			if err != nil {
				break
			}
		}
	}
}
