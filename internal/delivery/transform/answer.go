package transform

import (
	"encoding/json"
	"slices"
	"strings"
	"unsafe"

	"millrace/internal/awswire"
)

const (
	// maxPartitionKeys bounds what a function gives for one record: the service's bound of keys in a prefix.
	maxPartitionKeys = 50
	// keptReader bounds the memory for texts with escapes that a call keeps.
	keptReader = 1 << 20
)

// read judges an answer: what it says of each record of the event. A failure means that it is no function's answer, or that
// the function failed, and then results are not to be looked at.
//
// What a function returns successfully is final, whatever it lacks: what it says of no record fails that record. Entries
// with ids that were not sent are passed over, and so are members that are not known.
func (c *Call) read(answer []byte, results []Result) *failure {
	for i := range results {
		results[i].fail(CodeMissingRecordID, messageMissingRecordID)
	}
	c.seen = slices.Grow(c.seen[:0], len(results))[:len(results)]
	clear(c.seen)
	// All data at once: what the results point to must not move.
	if room := len(answer)/4*3 + 4; cap(c.memory)-len(c.memory) < room {
		c.memory = make([]byte, 0, room)
	}
	d := &c.reader
	d.Borrow = true
	d.Reset(answer)
	defer func() { // nothing holds on to the answer
		clear(c.given[:cap(c.given)])
		if d.Reset(nil); d.Retained() > keptReader {
			c.reader = awswire.JSON{}
		}
	}()
	if d.Peek() != '{' {
		if json.Valid(answer) { // null, say, which Python's None becomes
			return nil
		}
		return noJSON
	}
	records, failed := false, false
	for d.Object(); d.Member(); {
		switch key := d.Key(); {
		case string(key) == "records" && d.Peek() == '[':
			records = true
			c.readRecords(results)
		case string(key) == "errorMessage" || string(key) == "errorType":
			failed = true
			d.Skip()
		default:
			d.Skip()
		}
	}
	switch {
	case d.Close() != nil:
		return noJSON
	case failed && !records:
		return functionError
	}
	return nil
}

func (c *Call) readRecords(results []Result) {
	next := 0
	for c.reader.List(); c.reader.Item(); {
		e := c.readEntry()
		i, ok := c.find(e.id, next)
		if !ok {
			continue
		}
		next = i + 1
		if c.seen[i] {
			results[i].fail(CodeDuplicatedRecordID, messageDuplicatedRecordID)
			continue
		}
		c.seen[i] = true
		c.settle(&results[i], &e)
	}
}

// entry is what an answer says of one record. Its texts lie in the answer.
type entry struct {
	id, result, data string
	state            dataState
	wrongKeys        bool // metadata or its partitionKeys have another shape; else they are in Call.given
}

type dataState uint8

const (
	noData dataState = iota // absent, or null
	someData
	wrongData // no text
)

// settle gives a record the result of its entry.
func (c *Call) settle(r *Result, e *entry) {
	switch e.result {
	case "Dropped":
		*r = Result{Outcome: Dropped}
		return
	case "ProcessingFailed":
		r.fail(CodeProcessingFailed, messageProcessingFailed)
		return
	case "Ok":
	default:
		r.fail(CodeInvalidReturnFormat, messageResult)
		return
	}
	begin := len(c.memory)
	memory, ok := awswire.AppendDecoded(c.memory, e.data)
	switch {
	case e.state == noData:
		r.fail(CodeInvalidReturnFormat, messageNullData)
	case e.state == wrongData || !ok:
		r.fail(CodeInvalidReturnFormat, messageBase64)
	case e.wrongKeys:
		r.fail(CodeInvalidReturnFormat, messagePartitionKeys)
	default:
		c.memory = memory
		*r = Result{Outcome: Ok, Data: memory[begin:len(memory):len(memory)], PartitionKeys: c.keep()}
	}
}

func (c *Call) readEntry() (e entry) {
	d := &c.reader
	c.given = c.given[:0]
	if d.Peek() != '{' {
		d.Skip()
		return e
	}
	data := c.dataMember()
	for d.Object(); d.Member(); {
		isText := d.Peek() == '"'
		switch key := string(d.Key()); {
		case key == "recordId" && isText:
			e.id = d.String()
		case key == "result" && isText:
			e.result = d.String()
		case key == data && isText:
			e.data, e.state = d.String(), someData
		case key == data:
			e.state = wrongData
			d.Skip()
		case key == "metadata":
			e.wrongKeys = !c.readMetadata()
		default:
			d.Skip()
		}
	}
	return e
}

// readMetadata reads partition keys into given; ok is false when they can't be ones.
func (c *Call) readMetadata() (ok bool) {
	d := &c.reader
	c.given = c.given[:0]
	if d.Peek() != '{' {
		d.Skip()
		return false
	}
	ok = true
	for d.Object(); d.Member(); {
		switch {
		case string(d.Key()) != "partitionKeys":
			d.Skip()
		case d.Peek() != '{':
			d.Skip()
			ok = false
		default:
			ok = c.readKeys() && ok
		}
	}
	return ok
}

// readKeys reads the members of partitionKeys. Numbers and booleans count as their texts, null as no key at all.
func (c *Call) readKeys() (ok bool) {
	d := &c.reader
	c.given = c.given[:0]
	ok = true
	for d.Object(); d.Member(); {
		key := d.KeyString()
		var value string
		switch d.Peek() {
		case '"':
			value = d.String()
		case '{', '[':
			d.Skip()
			ok = false
		default:
			raw := d.Raw()
			value = unsafe.String(unsafe.SliceData(raw), len(raw))
		}
		at := slices.IndexFunc(c.given, func(k PartitionKey) bool { return k.Key == key })
		switch {
		case at >= 0:
			c.given[at].Value = value
		case len(c.given) == maxPartitionKeys:
			ok = false
		default:
			c.given = append(c.given, PartitionKey{key, value})
		}
	}
	return ok
}

// keep copies the given keys out of the answer. Records of a call have mostly the same keys, and often the same values as
// the record before: these texts are shared.
func (c *Call) keep() []PartitionKey {
	n := len(c.given)
	if n == 0 {
		return nil
	}
	before := c.keys[max(len(c.keys)-n, 0):]
	for i, k := range c.given {
		var like PartitionKey
		if i < len(before) {
			like = before[i]
		}
		c.keys = append(c.keys, PartitionKey{same(k.Key, like.Key), same(k.Value, like.Value)})
	}
	return c.keys[len(c.keys)-n : len(c.keys) : len(c.keys)]
}

func same(text, like string) string {
	if text == like {
		return like
	}
	return strings.Clone(text)
}
