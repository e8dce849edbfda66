package bucket

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strconv"
	"strings"

	"millrace/internal/catalog"
	"millrace/internal/fault"
)

// The root:
//
//	+-------+---------+---------------+------------------+
//	| magic | version | CRC-32C       | body: JSON       |
//	| "MCR" | 1 byte  | 4 bytes, LE   | of rootBody      |
//	+-------+---------+---------------+------------------+
//
// The checksum covers all but itself. The object of a document is its bytes, and nothing else; the root has their
// SHA-256.
const (
	rootMagic     = "MCR"
	formatVersion = 1
	bodyAt        = 8
)

type rootBody struct {
	// Version rises by one with each update.
	Version uint64 `json:"version"`
	// Recent are the ids of the last updates, the newest last.
	Recent []string `json:"recent"`
	Docs   []doc    `json:"docs"`
}

// doc is a document of the root.
type doc struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Inline []byte `json:"inline,omitempty"` // the document, when Object is empty
	Object string `json:"object,omitempty"` // where it lies
	SHA256 []byte `json:"sha256,omitempty"` // of it, when it lies apart
}

// root is one state of the catalog. It does not change.
type root struct {
	Version uint64
	Recent  []string
	docs    map[catalog.Key]doc
	etag    string
}

func (d *doc) same(e *doc) bool {
	return d.Object == e.Object && (d.Object != "" || bytes.Equal(d.Inline, e.Inline))
}

func (d *doc) check(text []byte, where string) error {
	if sum := sha256.Sum256(text); !bytes.Equal(sum[:], d.SHA256) {
		return fault.New(fault.Corrupt, "catalog.Refresh", where, "the object of %d bytes is not what was put; restore it from a backup", len(text))
	}
	return nil
}

// next gives the root after an update that is known by an id.
func (r *root) next(id string) *root {
	n := &root{Version: r.Version + 1, docs: maps.Clone(r.docs), Recent: append(slices.Clone(r.Recent), id)}
	n.Recent = n.Recent[max(0, len(n.Recent)-remembered):]
	if n.docs == nil {
		n.docs = map[catalog.Key]doc{}
	}
	return n
}

// updateAt gives the id of the update that made a version; "": it is not remembered.
func (r *root) updateAt(version uint64) string {
	if version > r.Version || r.Version-version >= uint64(len(r.Recent)) {
		return ""
	}
	return r.Recent[uint64(len(r.Recent))-1-(r.Version-version)]
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(object []byte) uint32 {
	return crc32.Update(crc32.Checksum(object[:4], castagnoli), castagnoli, object[bodyAt:])
}

func (r *root) encode() ([]byte, error) {
	b := rootBody{Version: r.Version, Recent: r.Recent, Docs: slices.SortedFunc(maps.Values(r.docs), func(a, b doc) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})}
	body, err := json.Marshal(b)
	if err != nil {
		return nil, fault.New(fault.Internal, "catalog.Update", "", "%w", err)
	}
	out := make([]byte, bodyAt, bodyAt+len(body))
	copy(out, rootMagic)
	out[3] = formatVersion
	out = append(out, body...)
	binary.LittleEndian.PutUint32(out[4:], checksum(out))
	if len(out) > maxRootBytes {
		return nil, fault.New(fault.LimitExceeded, "catalog.Update", "", "the catalog's root would have %d bytes; at most %d are kept", len(out), maxRootBytes)
	}
	return out, nil
}

func decodeRoot(object []byte, where string) (*root, error) {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Corrupt, "catalog.Refresh", where, format+"; restore the object from an earlier version of it or a backup", args...)
	}
	if len(object) < bodyAt || string(object[:3]) != rootMagic {
		return nil, bad("object of %d bytes does not begin with %q", len(object), rootMagic)
	}
	if object[3] != formatVersion {
		return nil, fault.New(fault.Corrupt, "catalog.Refresh", where, "format version %d is unknown to this program, which reads version %d; "+
			"start the program that wrote it", object[3], formatVersion)
	}
	if binary.LittleEndian.Uint32(object[4:]) != checksum(object) {
		return nil, bad("checksum of %d bytes differs", len(object))
	}
	var b rootBody
	if err := json.Unmarshal(object[bodyAt:], &b); err != nil {
		return nil, bad("%w", err)
	}
	if b.Version == 0 {
		return nil, bad("it has no version")
	}
	r := &root{Version: b.Version, Recent: b.Recent, docs: make(map[catalog.Key]doc, len(b.Docs))}
	for _, d := range b.Docs {
		if d.Object == "" && d.Inline == nil {
			d.Inline = []byte{}
		}
		r.docs[catalog.Key{Kind: d.Kind, Name: d.Name}] = d
	}
	return r, nil
}

// baseName begins the names of documents of updates that are based on a version. They sort by it.
func baseName(base uint64) string { return fmt.Sprintf("%016x", base) }

func docName(base uint64, id string, n int) string {
	return fmt.Sprintf("%s-%s-%d", baseName(base), id, n)
}

// baseOf reads the version out of a document's name.
func baseOf(name string) (uint64, bool) {
	digits, _, ok := strings.Cut(name, "-")
	base, err := strconv.ParseUint(digits, 16, 64)
	return base, ok && err == nil && len(digits) == 16
}
