package node

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Line is one sum of a ledger, as GET /_millrace/ledger gives it.
type Line struct {
	Name         string `json:"name"`
	Accepted     int64  `json:"accepted"`
	Delivered    int64  `json:"delivered"`
	DeadLettered int64  `json:"deadLettered"`
	Dropped      int64  `json:"dropped"`
	Expired      int64  `json:"expired"`
	Discarded    int64  `json:"discarded"`
	InFlight     int64  `json:"inFlight"`
	Objects      int64  `json:"objects"`
	ErrorObjects int64  `json:"errorObjects"`
	Outputs      int64  `json:"outputs"`
}

// AddsUp tells whether what came in is what went out or is on its way.
func (l Line) AddsUp() bool {
	return l.InFlight >= 0 && l.Accepted == l.Delivered+l.DeadLettered+l.Dropped+l.Expired+l.Discarded+l.InFlight
}

// Ledger is the part of the answer that tests look at.
type Ledger struct {
	DeliveryStreams []Line `json:"deliveryStreams"`
	Streams         []struct {
		Name     string `json:"name"`
		Accepted int64  `json:"accepted"`
	} `json:"streams"`
}

// Delivery gives the line of a delivery stream.
func (l *Ledger) Delivery(name string) (Line, bool) {
	for _, line := range l.DeliveryStreams {
		if line.Name == name {
			return line, true
		}
	}
	return Line{}, false
}

// maxAnswer bounds an answer of a node that a test reads whole.
const maxAnswer = 64 << 20

var client = &http.Client{Timeout: 60 * time.Second}

// Get reads an address of the AWS endpoint: "/_millrace/health".
func (n *Node) Get(ctx context.Context, path string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.AWS+path, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, body, err
}

// Ledger asks for the ledger. One that does not add up is an error.
func (n *Node) Ledger(ctx context.Context) (*Ledger, error) {
	status, body, err := n.Get(ctx, "/_millrace/ledger")
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("the ledger answers %d: %.300s", status, body)
	}
	l := new(Ledger)
	if err := json.Unmarshal(body, l); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	for _, line := range l.DeliveryStreams {
		if !line.AddsUp() {
			return nil, fmt.Errorf("the ledger of %s does not add up: %+v", line.Name, line)
		}
	}
	return l, nil
}

// ledgerPause is the time between two looks at the ledger of a node that another process is.
const ledgerPause = 50 * time.Millisecond

// Settled waits until nothing is in flight any more, and gives the ledger of that moment.
func (n *Node) Settled(ctx context.Context) (*Ledger, error) {
	for {
		l, err := n.Ledger(ctx)
		if err != nil {
			return nil, err
		}
		inFlight := int64(0)
		for _, line := range l.DeliveryStreams {
			inFlight += line.InFlight
		}
		if inFlight == 0 {
			return l, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%d records are still in flight: %+v: %w\n%s", inFlight, l.DeliveryStreams, ctx.Err(), n.Output())
		case <-n.exited:
			return nil, fmt.Errorf("the node ended with %d records in flight: %w\n%s", inFlight, n.err, n.Output())
		case <-time.After(ledgerPause):
		}
	}
}
