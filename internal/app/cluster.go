package app

import (
	"context"
	"crypto/rand"

	"millrace/internal/catalog"
	"millrace/internal/catalog/topic"
	streamkafka "millrace/internal/stream/kafka"
)

// streamCatalog gives the backend on Kafka its documents in the catalog that all nodes share.
type streamCatalog struct{ *topic.Store }

const kindStream = "stream"

var _ streamkafka.Catalog = streamCatalog{}

// Update implements [streamkafka.Catalog].
func (c streamCatalog) Update(ctx context.Context, fn func(streamkafka.Documents) error) (int64, error) {
	version, err := c.Catalog().Commit(ctx, func(tx *catalog.Tx) error { return fn(streamDocuments{tx}) })
	return int64(version), err
}

// Follow implements [streamkafka.Catalog].
func (c streamCatalog) Follow(fn func(docs map[string][]byte, version int64)) (stop func()) {
	return c.Catalog().Follow(func(s *catalog.Snapshot) {
		docs := map[string][]byte{}
		for _, name := range s.Names(kindStream) {
			docs[name], _ = s.Get(catalog.Key{Kind: kindStream, Name: name})
		}
		fn(docs, int64(s.Version()))
	})
}

type streamDocuments struct{ tx *catalog.Tx }

func (d streamDocuments) Get(name string) ([]byte, bool) {
	return d.tx.Get(catalog.Key{Kind: kindStream, Name: name})
}

func (d streamDocuments) Put(name string, doc []byte) {
	d.tx.Put(catalog.Key{Kind: kindStream, Name: name}, doc)
}

func (d streamDocuments) Delete(name string) {
	d.tx.Delete(catalog.Key{Kind: kindStream, Name: name})
}

// clusterDoc is what the nodes of a cluster have in common.
type clusterDoc struct {
	TokenKey []byte `json:"tokenKey"`
}

var clusters = catalog.NewCollection[clusterDoc]("cluster")

// sharedTokenKey gives the key that seals shard iterators and NextTokens on every node: a client's next call may go to
// another one. Who can read the topic it lies in can read the records as well.
func sharedTokenKey(ctx context.Context, c *catalog.Catalog) ([]byte, error) {
	const name = "cluster"
	if doc, ok, err := clusters.Get(c.Snapshot(), name); err != nil || ok {
		return doc.key(), err
	}
	var key []byte
	err := c.Update(ctx, func(tx *catalog.Tx) error {
		doc, ok, err := clusters.Get(tx, name)
		if err != nil || ok {
			key = doc.key()
			return err
		}
		key = make([]byte, tokenKeyBytes)
		_, _ = rand.Read(key) // never fails: the runtime ends the process first
		return clusters.Put(tx, name, &clusterDoc{key})
	})
	return key, err
}

func (d *clusterDoc) key() []byte {
	if d == nil {
		return nil
	}
	return d.TokenKey
}
