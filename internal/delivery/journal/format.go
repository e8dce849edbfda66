package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"time"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// Every value is sealed the same way:
//
//	+-------+---------+----------------+-----------+
//	| magic | version | CRC-32C        | body      |
//	| "MJx" | 1 byte  | 4 bytes, LE    | JSON      |
//	+-------+---------+----------------+-----------+
//
// x is R (row), M (manifest), F (final), L (landed) or H (hour). The checksum covers magic, version and
// body. A member that a later version adds to the JSON raises the version only if
// an older program must not ignore it: a manifest of version 1 is one object of
// records as they are, a row of version 1 has no lanes ahead of its checkpoint.
const (
	firstVersion = 1
	lanesVersion = 2 // of manifests with parts, and of rows with lanes ahead
	headerBytes  = 8
)

type magic [3]byte

var (
	rowMagic      = magic{'M', 'J', 'R'}
	manifestMagic = magic{'M', 'J', 'M'}
	finalMagic    = magic{'M', 'J', 'F'}
	landedMagic   = magic{'M', 'J', 'L'}
	hourMagic     = magic{'M', 'J', 'H'}
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func seal(m magic, version byte, value any) ([]byte, error) {
	body, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	out := make([]byte, headerBytes, headerBytes+len(body))
	copy(out, m[:])
	out[3] = version
	out = append(out, body...)
	binary.LittleEndian.PutUint32(out[4:], checksum(out))
	return out, nil
}

func checksum(sealed []byte) uint32 {
	sum := crc32.Update(0, castagnoli, sealed[:4])
	return crc32.Update(sum, castagnoli, sealed[headerBytes:])
}

// Check refuses a manifest that this program can't finish as it was meant.
func (m *Manifest) Check() error {
	for i := range m.Parts {
		if err := m.Parts[i].check(); err != nil {
			return err
		}
	}
	return nil
}

func (p *Part) check() error {
	const remedy = "unknown to this program; start the program that planned it"
	level := p.Level == 0
	switch p.Compression {
	case Gzip:
		level = p.Level >= 1 && p.Level <= 9
	case Zip:
		level = p.Level >= 0 && p.Level <= 9
	case Uncompressed, Snappy, HadoopSnappy:
	default:
		level = false
	}
	if !level {
		return fault.New(fault.Corrupt, "journal.Load", "manifest "+p.ID, "compression %q of level %d is "+remedy, p.Compression, p.Level)
	}
	switch p.Format {
	case Text, Parquet, Errors, HTTP:
		return nil
	}
	return fault.New(fault.Corrupt, "journal.Load", "manifest "+p.ID, "format %q is "+remedy, p.Format)
}

// firstManifest is what a manifest of version 1 adds: its one object.
type firstManifest struct {
	ID          string                `json:"id"`
	Bucket      string                `json:"bucket"`
	ObjectKey   string                `json:"objectKey"`
	First       stream.SequenceNumber `json:"first"`
	Last        stream.SequenceNumber `json:"last"`
	Records     int64                 `json:"records"`
	Bytes       int64                 `json:"bytes"`
	Compression Compression           `json:"compression"`
	Level       int                   `json:"level"`
	Delimiter   []byte                `json:"delimiter"`
	Stamp       time.Time             `json:"stamp"`
}

// upgrade makes a manifest of version 1 what it would be today.
func (f *firstManifest) upgrade(m *Manifest) {
	m.Through = m.Next
	if f.Records == 0 { // all of it has expired
		return
	}
	m.Parts = []Part{{ID: f.ID, Bucket: f.Bucket, ObjectKey: f.ObjectKey, First: f.First, Last: f.Last, Records: f.Records, Outputs: f.Records,
		Bytes: f.Bytes, Compression: f.Compression, Level: f.Level, Delimiter: f.Delimiter, Stamp: f.Stamp}}
}

// unseal reads what seal wrote; where names the place for the operator.
func unseal(m magic, sealed []byte, value any, where string) error {
	const op = "journal.Load"
	if len(sealed) < headerBytes || magic(sealed[:3]) != m {
		return fault.New(fault.Corrupt, op, where, "value of %d bytes does not begin with %q; "+
			"restore the data folder from a backup", len(sealed), m[:])
	}
	if sealed[3] < firstVersion || sealed[3] > lanesVersion {
		return fault.New(fault.Corrupt, op, where, "format version %d is unknown to this program, which reads versions %d to %d; "+
			"start the program that wrote it", sealed[3], firstVersion, lanesVersion)
	}
	if binary.LittleEndian.Uint32(sealed[4:]) != checksum(sealed) {
		return fault.New(fault.Corrupt, op, where, "checksum of %d bytes differs; "+
			"restore the data folder from a backup", len(sealed))
	}
	if err := json.Unmarshal(sealed[headerBytes:], value); err != nil {
		return fault.New(fault.Corrupt, op, where, "%w", err)
	}
	return nil
}

// EncodeRow, EncodeManifest and EncodeFinal give the sealed values that journals keep; DecodeRow, DecodeManifest and
// DecodeFinal read them. where names the place for the operator. A journal that rewrites a value which it has not changed
// writes the bytes that it has read, so that members of a later version stay.
func EncodeRow(r *Row) ([]byte, error) {
	if len(r.Ahead) > 0 {
		return seal(rowMagic, lanesVersion, r)
	}
	return seal(rowMagic, firstVersion, r)
}

// EncodeManifest seals a manifest.
func EncodeManifest(m *Manifest) ([]byte, error) { return seal(manifestMagic, lanesVersion, m) }

// EncodeFinal seals final counts.
func EncodeFinal(f *Final) ([]byte, error) { return seal(finalMagic, firstVersion, f) }

// DecodeRow reads a row.
func DecodeRow(sealed []byte, where string) (r Row, err error) {
	err = unseal(rowMagic, sealed, &r, where)
	return r, err
}

// DecodeManifest reads a manifest. Whether this program can finish it [Manifest.Check] tells.
func DecodeManifest(sealed []byte, where string) (*Manifest, error) {
	m := new(Manifest)
	if err := unseal(manifestMagic, sealed, m, where); err != nil {
		return nil, err
	}
	if sealed[3] == firstVersion {
		var first firstManifest
		if err := unseal(manifestMagic, sealed, &first, where); err != nil {
			return nil, err
		}
		first.upgrade(m)
	}
	return m, nil
}

// DecodeFinal reads final counts.
func DecodeFinal(sealed []byte, where string) (f Final, err error) {
	err = unseal(finalMagic, sealed, &f, where)
	return f, err
}

// AppendKey appends a row's key as journals store it: delivery 0 stream 0 incarnation 0 shard(4, big endian).
func AppendKey(dst []byte, k Key) []byte {
	dst = append(append(dst, k.Delivery...), 0)
	dst = append(append(dst, k.Shard.Stream...), 0)
	dst = append(append(dst, k.Shard.ID...), 0)
	return binary.BigEndian.AppendUint32(dst, k.Shard.Shard)
}

// ParseKey reads what AppendKey has appended, and gives what follows it.
func ParseKey(b []byte) (k Key, rest []byte, ok bool) {
	var delivery, name, id []byte
	if delivery, b, ok = bytes.Cut(b, []byte{0}); !ok {
		return k, nil, false
	}
	if name, b, ok = bytes.Cut(b, []byte{0}); !ok {
		return k, nil, false
	}
	if id, b, ok = bytes.Cut(b, []byte{0}); !ok || len(b) < 4 {
		return k, nil, false
	}
	k = Key{string(delivery), stream.ShardRef{Stream: string(name), ID: string(id), Shard: binary.BigEndian.Uint32(b)}}
	return k, b[4:], true
}
