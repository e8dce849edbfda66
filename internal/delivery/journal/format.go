package journal

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"

	"millrace/internal/fault"
)

// Every value is sealed the same way:
//
//	+-------+---------+----------------+-----------+
//	| magic | version | CRC-32C        | body      |
//	| "MJx" | 1 byte  | 4 bytes, LE    | JSON      |
//	+-------+---------+----------------+-----------+
//
// x is R (row), M (manifest) or F (final). The checksum covers magic, version and
// body. A member that a later version adds to the JSON raises the version only if
// an older program must not ignore it.
const (
	formatVersion = 1
	headerBytes   = 8
)

type magic [3]byte

var (
	rowMagic      = magic{'M', 'J', 'R'}
	manifestMagic = magic{'M', 'J', 'M'}
	finalMagic    = magic{'M', 'J', 'F'}
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func seal(m magic, value any) ([]byte, error) {
	body, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	out := make([]byte, headerBytes, headerBytes+len(body))
	copy(out, m[:])
	out[3] = formatVersion
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
	known := m.Compression == Uncompressed || m.Compression == Gzip && m.Level >= 1 && m.Level <= 9
	if !known {
		return fault.New(fault.Corrupt, "journal.Load", "manifest "+m.ID, "compression %q of level %d is unknown to this program; "+
			"start the program that planned it", m.Compression, m.Level)
	}
	return nil
}

// unseal reads what seal wrote; where names the place for the operator.
func unseal(m magic, sealed []byte, value any, where string) error {
	const op = "journal.Load"
	if len(sealed) < headerBytes || magic(sealed[:3]) != m {
		return fault.New(fault.Corrupt, op, where, "value of %d bytes does not begin with %q; "+
			"restore the data folder from a backup", len(sealed), m[:])
	}
	if sealed[3] != formatVersion {
		return fault.New(fault.Corrupt, op, where, "format version %d is unknown to this program, which reads version %d; "+
			"start the program that wrote it", sealed[3], formatVersion)
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
