package awswire

import (
	"bytes"
	"encoding/hex"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"

	"millrace/internal/fault"
)

// appendEvent appends a whole message.
func appendEvent(dst []byte, head EventHead, payload string) ([]byte, error) {
	start := len(dst)
	return EndEvent(append(BeginEvent(dst, head), payload...), start)
}

// The bytes of messages, as other implementations write them.
func TestEventBytes(t *testing.T) {
	f := func(want, payload string, headers ...EventHeader) {
		t.Helper()
		got, err := appendEvent([]byte("before"), MustEventHead(headers...), payload)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(bytes.TrimPrefix(got, []byte("before"))); got != strings.ReplaceAll(want, " ", "") {
			t.Errorf("%s %v\n got %s\nwant %s", payload, headers, got, want)
		}
	}
	// The first two are test vectors of the specification ("empty_message", "payload_no_headers").
	f("00000010 00000000 05c248eb 7d98c8ff", "")
	f("0000001d 00000000 fd528c5a 7b27666f6f273a27626172277d c3653936", "{'foo':'bar'}")
	f("00000016 00000006 63e1187e 01 61 07 0001 62 a5dc6154", "", EventHeader{"a", "b"})
}

func TestEventBounds(t *testing.T) {
	long := strings.Repeat("n", maxEventName+1)
	f := func(headers ...EventHeader) {
		t.Helper()
		if _, err := NewEventHead(headers...); !fault.Is(err, fault.Invalid) {
			t.Errorf("accepted: %v", err)
		}
	}
	f(EventHeader{"", "v"})
	f(EventHeader{long, "v"})
	f(EventHeader{"n", strings.Repeat("v", maxEventValue+1)})
	f(EventHeader{"n", "v"}, EventHeader{"n", "w"})
	largest := func(n int) (list []EventHeader) {
		for i := range n {
			list = append(list, EventHeader{strings.Repeat("n", i+1), strings.Repeat("v", maxEventValue)})
		}
		return list
	}
	MustEventHead(largest(3)...)
	f(largest(4)...)

	b, err := appendEvent(nil, "", strings.Repeat("x", MaxEventPayload))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := eventstream.NewDecoder().Decode(bytes.NewReader(b), nil); err != nil || len(m.Payload) != MaxEventPayload {
		t.Errorf("the largest message: %d bytes, %v", len(m.Payload), err)
	}
	got, err := appendEvent([]byte("before"), "", strings.Repeat("x", MaxEventPayload+1))
	if !fault.Is(err, fault.Invalid) || string(got) != "before" {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// A message costs no memory but the caller's.
func TestEventAllocatesNothing(t *testing.T) {
	head := MustEventHead(EventHeader{":message-type", "event"}, EventHeader{":event-type", "SubscribeToShardEvent"})
	buf := make([]byte, 0, 4096)
	payload := strings.Repeat("p", 1000)
	if n := testing.AllocsPerRun(100, func() { buf, _ = appendEvent(buf[:0], head, payload) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What is encoded, another's decoder reads back: messages behind one another, to the byte.
func FuzzEventStream(f *testing.F) {
	f.Add(":message-type", "event", ":event-type", "SubscribeToShardEvent", []byte(`{"Records":[]}`), 2)
	f.Add("", "", "n", "", []byte(nil), 1)
	f.Add("ключ", "значение", "\x00", "\xff", []byte("\x00\xff"), 3)
	f.Fuzz(func(t *testing.T, name, value, name2, value2 string, payload []byte, count int) {
		headers := []EventHeader{{name, value}, {name2, value2}}
		head, err := NewEventHead(headers...)
		fits := func(h EventHeader) bool {
			return h.Name != "" && len(h.Name) <= maxEventName && len(h.Value) <= maxEventValue
		}
		if ok := fits(headers[0]) && fits(headers[1]) && name != name2; ok != (err == nil) {
			t.Fatalf("%v for %d, %d, %d, %d bytes", err, len(name), len(value), len(name2), len(value2))
		}
		if err != nil {
			return
		}
		count = count & 3
		var b []byte
		for range count {
			if b, err = appendEvent(b, head, string(payload)); err != nil {
				t.Fatal(err)
			}
		}
		in := bytes.NewReader(b)
		for range count {
			m, err := eventstream.NewDecoder().Decode(in, nil)
			if err != nil || !bytes.Equal(m.Payload, payload) || len(m.Headers) != 2 {
				t.Fatalf("%+v, %v", m, err)
			}
			for i, h := range headers {
				if m.Headers[i].Name != h.Name || m.Headers[i].Value.String() != h.Value {
					t.Fatalf("header %d: %+v, want %+v", i, m.Headers[i], h)
				}
			}
			// The other encoder writes the same bytes.
			var again bytes.Buffer
			if err := eventstream.NewEncoder().Encode(&again, m); err != nil || !bytes.Equal(again.Bytes(), b[:again.Len()]) {
				t.Fatalf("%v: %x, not %x", err, b, again.Bytes())
			}
		}
		if rest, _ := io.ReadAll(in); len(rest) != 0 {
			t.Fatalf("%d bytes are left", len(rest))
		}
	})
}
