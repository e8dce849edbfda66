package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"slices"
	"strings"

	"millrace/internal/catalog"
	"millrace/internal/catalog/topic"
	"millrace/internal/fault"
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
	// TokenKey seals shard iterators and NextTokens on every node: a client's next call may go to another one. Who can read
	// the topic or the bucket that it lies in can read the records, or what is delivered of them, as well.
	TokenKey []byte `json:"tokenKey"`
	// Objects says where all nodes deliver to. Two that had each a folder of its own would deliver what one has planned and
	// the other finished into both.
	Objects string `json:"objects"`
	// SecretCheck tells whether a node's secret for encryption is the others'; absent until one has a secret.
	SecretCheck []byte `json:"secretCheck,omitempty"`
}

var clusters = catalog.NewCollection[clusterDoc]("cluster")

const theCluster = "cluster" // there is one

// joinCluster agrees with the other nodes on what they have in common, or refuses to join. living names all that live.
func (n *Node) joinCluster(ctx context.Context, living func() []string) error {
	var doc *clusterDoc
	err := n.catalog.Update(ctx, func(tx *catalog.Tx) error {
		have, ok, err := clusters.Get(tx, theCluster)
		if err != nil {
			return err
		}
		doc = &clusterDoc{Objects: n.objectPlace()}
		if ok {
			doc.TokenKey, doc.SecretCheck = have.TokenKey, have.SecretCheck
		} else {
			doc.TokenKey = make([]byte, tokenKeyBytes)
			_, _ = rand.Read(doc.TokenKey) // never fails: the runtime ends the process first
		}
		if err := n.agreeOnSecret(doc); err != nil {
			return err
		}
		if ok && have.Objects == doc.Objects && bytes.Equal(have.SecretCheck, doc.SecretCheck) {
			return nil
		}
		if others := n.others(living); ok && have.Objects != doc.Objects && len(others) > 0 {
			return fault.New(fault.Invalid, "app.Start", "", "the nodes of this cluster (%s) deliver to %s, and this one would to %s; "+
				"give all of them the same service under objects in their configuration", strings.Join(others, ", "), have.Objects, doc.Objects)
		}
		return clusters.Put(tx, theCluster, doc)
	})
	if err != nil {
		return err
	}
	n.tokenKey = doc.TokenKey
	return nil
}

// others names the nodes that live beside this one.
func (n *Node) others(living func() []string) []string {
	return slices.DeleteFunc(living(), func(name string) bool { return name == n.name })
}

// objectPlace tells two places of objects apart.
func (n *Node) objectPlace() string {
	if service := n.ObjectService(); service != "" {
		return service
	}
	return "the data folder of node " + n.name
}
