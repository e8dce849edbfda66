package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"millrace/internal/catalog/topic"
	"millrace/internal/config"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/space"
	"millrace/internal/store"
	"millrace/internal/stream"
	"millrace/internal/stream/kinesis"
	"millrace/internal/stream/local"

	streamkafka "millrace/internal/stream/kafka"
)

// StreamsRef says where streams are, without a node around them: the ends of a mirror.
type StreamsRef struct {
	Engine config.Engine
	Folder string // of local: absolute
	Config config.Node
}

// ParseStreams reads "local:DIR", "kafka://HOST:PORT,…" or "kinesis://REGION". What an engine needs beside comes from
// the configuration.
func ParseStreams(ref string, c config.Node) (StreamsRef, error) {
	if folder, is := strings.CutPrefix(ref, "local:"); is && folder != "" && !strings.HasPrefix(folder, "//") {
		folder, err := filepath.Abs(folder)
		return StreamsRef{Engine: config.Engine{Kind: config.Local}, Folder: folder, Config: c}, err
	}
	engine, err := config.ParseEngine(ref)
	if err != nil || engine.Kind == config.Local {
		return StreamsRef{}, fault.New(fault.Invalid, "", "", "%q is none of local:DIR, kafka://HOST:PORT,… and kinesis://REGION", ref)
	}
	return StreamsRef{Engine: engine, Config: c}, nil
}

// String names the place: two references to one place give one name, as far as can be told.
func (r *StreamsRef) String() string {
	switch r.Engine.Kind {
	case config.OnKafka:
		return "kafka://" + strings.Join(slices.Sorted(slices.Values(r.Engine.Brokers)), ",")
	case config.OnKinesis:
		name := "kinesis://" + r.Engine.Region
		if e := r.Config.Kinesis.Endpoint; e != "" {
			name += " at " + strings.TrimSuffix(e, "/")
		}
		return name
	}
	return "local:" + r.Folder
}

// StreamsOptions say how streams are opened.
type StreamsOptions struct {
	Ref StreamsRef
	// Read: nothing is made or changed there. The topics of a Kafka cluster that is none of Millrace's are streams then;
	// Topics names those that are wanted, or is empty for all.
	Read   bool
	Topics []string
	// Saved is what Streams.Saved was when the same place was opened before.
	Saved []byte
	Log   *slog.Logger
}

// Streams is an opened place.
type Streams struct {
	stream.Backend
	// Settle is how long what was sent to it may still arrive after its sender has given up or died.
	Settle time.Duration
	// Saved is to be given when the place is opened again, so that positions mean the same.
	Saved []byte

	closers []func(context.Context) error // in the order of opening
}

// settle for engines beyond this process: a request that its sender has given up waits in a broker or a service for so
// long at most, once that answers again.
const settle = 10 * time.Second

// OpenStreams opens the streams of a place.
func OpenStreams(ctx context.Context, o StreamsOptions) (*Streams, error) {
	s := &Streams{}
	var err error
	switch o.Ref.Engine.Kind {
	case config.OnKafka:
		err = s.openKafka(ctx, &o)
	case config.OnKinesis:
		err = s.openKinesis(ctx, &o)
	default:
		err = s.openLocal(&o)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close(ctx))
	}
	return s, nil
}

func (s *Streams) onClose(fn func(context.Context) error) { s.closers = append(s.closers, fn) }

// Close closes all that was opened.
func (s *Streams) Close(ctx context.Context) error {
	var all error
	for _, fn := range slices.Backward(s.closers) {
		all = errors.Join(all, fn(ctx))
	}
	s.closers = nil
	return all
}

// openLocal opens the log in the data folder of a node that does not run.
func (s *Streams) openLocal(o *StreamsOptions) error {
	const op = "app.OpenStreams"
	if _, err := os.Stat(filepath.Join(o.Ref.Folder, formatFile)); o.Read && errors.Is(err, os.ErrNotExist) {
		return fault.New(fault.NotFound, op, o.Ref.Folder, "it is no data folder: it has no %s file", formatFile)
	}
	f, err := openFolder(o.Ref.Folder)
	if err != nil {
		return err
	}
	s.onClose(func(context.Context) error { return f.close() })
	if err := f.bindEngine(string(config.Local)); err != nil {
		return err
	}
	disk := space.New(f.path, uint64(o.Ref.Config.LowSpace), space.Statfs, o.Log)
	watching, stop := context.WithCancel(context.Background())
	var watch sync.WaitGroup
	watch.Go(func() { disk.Run(watching) })
	s.onClose(func(context.Context) error { stop(); watch.Wait(); return nil })

	db, err := store.Open(filepath.Join(f.path, logFolder), store.Options{Profile: store.Log, Log: o.Log, Fatal: func(err error) {
		o.Log.Error("the log can't go on", "folder", f.path, "error", err)
	}})
	if err != nil {
		return err
	}
	log, err := local.Open(local.Options{DB: db, IDs: ids.New(), Now: time.Now, Log: o.Log, Low: disk.Low})
	if err != nil {
		return errors.Join(err, db.Close())
	}
	s.Backend = sealing(log, secretOf(&o.Ref.Config.Encryption, f))
	s.onClose(log.Close)
	return nil
}

func (s *Streams) openKinesis(ctx context.Context, o *StreamsOptions) error {
	streams, err := kinesis.Open(ctx, kinesis.Options{
		Region: o.Ref.Engine.Region, Endpoint: o.Ref.Config.Kinesis.Endpoint, Now: time.Now, Log: o.Log,
	})
	if err != nil {
		return err
	}
	s.Backend, s.Settle = streams, settle
	s.onClose(streams.Close)
	return nil
}

// visitorPrefix begins the names of those that share a cluster's catalog and serve nothing.
const visitorPrefix = "visitor~"

// openKafka joins the catalog of a cluster of Millrace's. One that is a stranger is only read, and what would be in a
// catalog stays in memory: nothing is written to it.
func (s *Streams) openKafka(ctx context.Context, o *StreamsOptions) error {
	name := visitorPrefix + strings.ToLower(rand.Text()[:nodeLetters])
	settings, err := kafkaSettings("kafka", &o.Ref.Config.Kafka, o.Ref.Engine.Brokers, name, o.Log)
	if err != nil {
		return err
	}
	s.Settle = settle
	opts := streamkafka.Options{
		Settings: settings, IDs: ids.New(), Now: time.Now, Log: o.Log,
		Adopt: o.Ref.Config.Kafka.Adopt, Compression: o.Ref.Config.Kafka.Compression,
	}
	if o.Read {
		topics, err := settings.Topics(ctx)
		if err != nil {
			return err
		}
		if !slices.Contains(topics, settings.CatalogTopic()) {
			return s.openForeign(ctx, o, opts, topics)
		}
		opts.Adopt = nil // that is the cluster's own affair
	}
	shared, err := topic.Open(ctx, topic.Options{Settings: settings, Node: name, IDs: opts.IDs, Log: o.Log})
	if err != nil {
		return err
	}
	s.onClose(shared.Close)
	opts.Catalog = streamCatalog{shared}
	return s.openTopics(ctx, opts, &o.Ref.Config.Encryption)
}

func (s *Streams) openTopics(ctx context.Context, opts streamkafka.Options, encryption *config.Encryption) error {
	streams, err := streamkafka.Open(ctx, opts)
	if err != nil {
		return err
	}
	s.Backend = sealing(streams, secretOf(encryption, nil))
	s.onClose(streams.Close)
	return nil
}

// openForeign takes the topics of a cluster as streams. Their descriptions are made anew each time; those of before are
// put in their place, so that positions stay what they were.
func (s *Streams) openForeign(ctx context.Context, o *StreamsOptions, opts streamkafka.Options, topics []string) error {
	opts.Adopt = o.Topics
	if len(opts.Adopt) == 0 {
		opts.Adopt = slices.DeleteFunc(topics, opts.Settings.Reserved)
	}
	documents := &memoryCatalog{docs: map[string][]byte{}}
	opts.Catalog = documents
	if err := s.openTopics(ctx, opts, &o.Ref.Config.Encryption); err != nil {
		return err
	}
	if err := documents.restore(o.Saved); err != nil {
		return err
	}
	var err error
	s.Saved, err = documents.save(o.Saved)
	return err
}

// memoryCatalog is the catalog of one process: nobody else has to see or confirm anything.
type memoryCatalog struct {
	mu        sync.Mutex
	docs      map[string][]byte // replaced, never changed
	version   int64
	followers map[int]func(map[string][]byte, int64)
	next      int
}

var _ streamkafka.Catalog = (*memoryCatalog)(nil)

// memoryDocuments is an update in the making.
type memoryDocuments map[string][]byte

// Get implements [streamkafka.Documents].
func (d memoryDocuments) Get(name string) ([]byte, bool) { doc, ok := d[name]; return doc, ok }

// Put implements [streamkafka.Documents].
func (d memoryDocuments) Put(name string, doc []byte) { d[name] = doc }

// Delete implements [streamkafka.Documents].
func (d memoryDocuments) Delete(name string) { delete(d, name) }

// Update implements [streamkafka.Catalog].
func (c *memoryCatalog) Update(_ context.Context, fn func(streamkafka.Documents) error) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := memoryDocuments{}
	for name, doc := range c.docs {
		next[name] = doc
	}
	if err := fn(next); err != nil {
		return 0, err
	}
	c.docs = next
	c.version++
	for _, follow := range c.followers {
		follow(c.docs, c.version)
	}
	return c.version, nil
}

// Follow implements [streamkafka.Catalog].
func (c *memoryCatalog) Follow(fn func(map[string][]byte, int64)) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.followers == nil {
		c.followers = map[int]func(map[string][]byte, int64){}
	}
	c.next++
	id := c.next
	c.followers[id] = fn
	fn(c.docs, c.version)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.followers, id)
	}
}

// Fresh implements [streamkafka.Catalog].
func (c *memoryCatalog) Fresh() time.Time { return time.Now() }

// Refresh implements [streamkafka.Catalog].
func (c *memoryCatalog) Refresh(context.Context) error { return nil }

// Drained implements [streamkafka.Catalog].
func (c *memoryCatalog) Drained(int64) {}

// AwaitDrained implements [streamkafka.Catalog].
func (c *memoryCatalog) AwaitDrained(context.Context, int64) error { return nil }

// adoptedTopic is what restore looks at in a description.
type adoptedTopic struct {
	Stream  struct{ Shards []json.RawMessage }
	TopicID string
}

// restore puts descriptions of before in the place of those that were just made, where the topic is the same one.
func (c *memoryCatalog) restore(saved []byte) error {
	const op = "app.OpenStreams"
	if len(saved) == 0 {
		return nil
	}
	before := map[string][]byte{}
	if err := json.Unmarshal(saved, &before); err != nil {
		return fault.New(fault.Corrupt, op, "", "what is kept of the source's topics: %w", err)
	}
	_, err := c.Update(context.Background(), func(docs streamkafka.Documents) error {
		for name, old := range before {
			now, there := docs.Get(name)
			if !there {
				continue
			}
			var was, is adoptedTopic
			if err := errors.Join(json.Unmarshal(old, &was), json.Unmarshal(now, &is)); err != nil {
				return fault.New(fault.Corrupt, op, name, "what is kept of the source's topic: %w", err)
			}
			if was.TopicID != is.TopicID {
				continue // another topic of the same name: who resumes is told by its id
			}
			if n, m := len(was.Stream.Shards), len(is.Stream.Shards); n != m {
				return fault.New(fault.InUse, op, name, "the topic had %d partitions when its copy began and has %d now: what was written "+
					"across the change has no order; begin anew with another --state", n, m)
			}
			docs.Put(name, old)
		}
		return nil
	})
	return err
}

// save gives the descriptions, and those of before that were not wanted now.
func (c *memoryCatalog) save(saved []byte) ([]byte, error) {
	all := map[string][]byte{}
	if len(saved) > 0 {
		if err := json.Unmarshal(saved, &all); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, doc := range c.docs {
		all[name] = doc
	}
	return json.Marshal(all)
}
