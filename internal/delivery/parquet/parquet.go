// Package parquet turns records of JSON into Parquet files by a schema of Hive types: the format conversion of delivery
// streams. It knows neither streams nor objects; what it needs of a definition is a [Spec], which manifests keep.
//
//	Compile(Spec) → Converter → NewWriter(w) → Write(record)… → Close
//	                   │                          │
//	     schema as a tree of nodes       decoder: checks a record whole, straight into values of columns
//	                                     pages and row groups: github.com/parquet-go/parquet-go
//
// A record holds one or more JSON objects, each a row. It goes in whole or not at all: Write tells a [Failure], in the
// service's words, before anything of the record has reached the file. The same records in the same order give the same
// bytes in the same build. A writer's memory is bounded by [WriterMemory], whatever the block size asks for.
//
// What a value may be, where the documentation of the service is silent:
//   - An absent member and null are null; unknown members are checked to be JSON and dropped. Of two members with one
//     name the last counts. Two entries of a map with one key are refused: dropping either would lose data.
//   - Keys are compared after the conversions that the options ask for (lower case, dots to underscores) on both sides, in
//     structs too, and so are the mapped keys of ColumnToJsonKeyMappings. Keys of maps are data and stay as they are.
//   - An integer column takes 3.0 and 3e2, and refuses 3.5, which other implementations cut to 3. Numbers out of a type's range
//     are refused. A decimal is rounded half up to its scale; too many digits before the point are refused.
//   - OpenX: numbers and booleans may be strings; any value may go into a text column, objects and arrays as the JSON text
//     that they are; what is not an array is an array of one; an array fills a struct by position; a blank string is null
//     where an array, a map or a struct is due. Hive refuses all that, but for numbers and booleans in text columns and
//     decimals in strings.
//   - varchar(n) and char(n) are cut to n characters, char loses the blanks at its end.
//   - binary is base64 in a string.
//   - date is yyyy-M-d; with Hive the TimestampFormats are tried first.
//   - A timestamp without a zone is UTC.
//
// Types: string, char, varchar → BYTE_ARRAY UTF8; binary → BYTE_ARRAY; tinyint, smallint, int → INT32; bigint → INT64;
// date → INT32 DATE; timestamp → INT96; decimal → INT32, INT64 or FIXED_LEN_BYTE_ARRAY by its precision; array, map and
// struct nested as the format's rules for LIST and MAP say. Everything but the keys of maps is optional.
//
// The layout of a file: data pages of at most PageSizeBytes (less for schemas with many columns) and 20,000 rows, plain or by
// dictionary, a page index, statistics with texts cut to 256 bytes. A row group ends at BlockSizeBytes before compression, or when
// its finished pages hold 20 MiB, so that large blocks are a few row groups.
package parquet

import (
	"io"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	lib "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/compress/gzip"

	"millrace/internal/fault"
)

// Compressions of pages.
const (
	CompressionSnappy       = "SNAPPY"
	CompressionGzip         = "GZIP"
	CompressionUncompressed = "UNCOMPRESSED"
)

// Sizes as the service has them.
const (
	MinBlockSizeBytes     = 64 << 20
	DefaultBlockSizeBytes = 256 << 20
	MinPageSizeBytes      = 64 << 10
	DefaultPageSizeBytes  = 1 << 20
)

// Spec says all that a conversion needs. Manifests keep it as JSON.
//
// Exactly one of OpenX and Hive is set: who reads the records.
type Spec struct {
	Columns []Column      `json:"columns"`
	OpenX   *OpenXOptions `json:"openX,omitempty"`
	Hive    *HiveOptions  `json:"hive,omitempty"`
	Output  OutputOptions `json:"output"`
}

// Column is a column of a Glue table that lies in the file: one of StorageDescriptor.Columns, none of PartitionKeys.
type Column struct {
	Name string `json:"name"` // "customer_id"
	Type string `json:"type"` // "array<struct<id:int,price:decimal(10,2)>>"
}

// OpenXOptions are the members of OpenXJsonSerDe.
type OpenXOptions struct {
	CaseSensitive                      bool              `json:"caseSensitive,omitempty"` // the service's CaseInsensitive, turned, so that absent is its default
	ConvertDotsInJsonKeysToUnderscores bool              `json:"convertDotsInJsonKeysToUnderscores,omitempty"`
	ColumnToJsonKeyMappings            map[string]string `json:"columnToJsonKeyMappings,omitempty"`
}

// HiveOptions are the members of HiveJsonSerDe.
type HiveOptions struct {
	TimestampFormats []string `json:"timestampFormats,omitempty"` // patterns of Joda-Time, or "millis"
}

// OutputOptions are the members of ParquetSerDe. Zero values are the service's defaults.
type OutputOptions struct {
	BlockSizeBytes              int64  `json:"blockSizeBytes,omitempty"`
	PageSizeBytes               int64  `json:"pageSizeBytes,omitempty"`
	Compression                 string `json:"compression,omitempty"` // SNAPPY
	EnableDictionaryCompression bool   `json:"enableDictionaryCompression,omitempty"`
	MaxPaddingBytes             int64  `json:"maxPaddingBytes,omitempty"` // anything but 0 is refused
	WriterVersion               string `json:"writerVersion,omitempty"`   // V1
}

// Extension is what the key of a file ends in, unless the delivery stream has a FileExtension.
const Extension = ".parquet"

// Codes of a Failure.
const (
	CodeParseError    = "DataFormatConversion.ParseError"
	CodeMalformedData = "DataFormatConversion.MalformedData"
)

// Failure says why a record can't be converted: what goes into its error document.
type Failure struct {
	Code    string // CodeParseError or CodeMalformedData
	Message string // "Data does not match the schema. java.io.IOException: Start of Array expected"
}

// maxMappings bounds ColumnToJsonKeyMappings, maxFormats TimestampFormats: each format is tried on each value.
const (
	maxMappings = maxLeaves
	maxFormats  = 32
)

// Converter is a compiled Spec. It is immutable; any number of writers may use it at once.
type Converter struct {
	root    *node
	leaves  []*node
	slots   int // fields of all structs
	caches  int // structs
	hive    bool
	fold    bool // keys are compared in lower case
	dots    bool
	formats []timestampFormat
	output  OutputOptions
	codec   compress.Codec
	page    int // memory of a begun page
	chunks  *sync.Pool
}

// Compile checks spec and prepares its conversion. Its errors are Invalid or Unsupported and name column and member.
func Compile(spec Spec) (*Converter, error) {
	c := &Converter{hive: spec.Hive != nil, fold: true, output: spec.Output, chunks: newChunks()}
	if (spec.OpenX != nil) == (spec.Hive != nil) {
		return nil, invalid("exactly one of OpenXJsonSerDe and HiveJsonSerDe is expected")
	}
	if err := c.compileOutput(); err != nil {
		return nil, err
	}
	mappings := map[string]string{}
	if spec.OpenX != nil {
		c.fold, c.dots = !spec.OpenX.CaseSensitive, spec.OpenX.ConvertDotsInJsonKeysToUnderscores
		if len(spec.OpenX.ColumnToJsonKeyMappings) > maxMappings {
			return nil, invalid("ColumnToJsonKeyMappings has more than %d entries", maxMappings)
		}
		for column, key := range spec.OpenX.ColumnToJsonKeyMappings {
			if _, twice := mappings[strings.ToLower(column)]; twice {
				return nil, invalid("ColumnToJsonKeyMappings has column %q twice", strings.ToLower(column))
			}
			mappings[strings.ToLower(column)] = key
		}
	} else if err := c.compileFormats(spec.Hive.TimestampFormats); err != nil {
		return nil, err
	}
	if err := c.compileColumns(spec.Columns, mappings); err != nil {
		return nil, err
	}
	c.page = int(min(c.output.PageSizeBytes, max(leastPage, pagesMemory/int64(len(c.leaves)))))
	return c, nil
}

func (c *Converter) compileOutput() error {
	o := &c.output
	if o.BlockSizeBytes == 0 {
		o.BlockSizeBytes = DefaultBlockSizeBytes
	}
	if o.PageSizeBytes == 0 {
		o.PageSizeBytes = DefaultPageSizeBytes
	}
	switch {
	case o.BlockSizeBytes < MinBlockSizeBytes:
		return invalid("BlockSizeBytes must be at least %d", MinBlockSizeBytes)
	case o.PageSizeBytes < MinPageSizeBytes:
		return invalid("PageSizeBytes must be at least %d", MinPageSizeBytes)
	case o.MaxPaddingBytes < 0:
		return invalid("MaxPaddingBytes must be at least 0")
	case o.MaxPaddingBytes > 0:
		return fault.New(fault.Unsupported, "parquet.Compile", "", "MaxPaddingBytes is not supported: row groups are not aligned to blocks of HDFS")
	}
	switch o.Compression {
	case "", CompressionSnappy:
		c.codec = &lib.Snappy
	case CompressionGzip:
		c.codec = gzipPages
	case CompressionUncompressed:
		c.codec = &lib.Uncompressed
	default:
		return invalid("Compression %q is none of SNAPPY, GZIP, UNCOMPRESSED", o.Compression)
	}
	if !slices.Contains([]string{"", "V1", "V2"}, o.WriterVersion) {
		return invalid("WriterVersion %q is none of V1, V2", o.WriterVersion)
	}
	return nil
}

// gzipPages compresses at the fastest level: a core does 80 MB/s of records and more.
var gzipPages = &gzip.Codec{Level: gzip.BestSpeed}

func (c *Converter) compileFormats(patterns []string) error {
	if len(patterns) > maxFormats {
		return invalid("TimestampFormats has more than %d entries", maxFormats)
	}
	for _, pattern := range patterns {
		f, err := compileTimestampFormat(pattern)
		if err != nil {
			return invalid("TimestampFormats: %q: %w", pattern, err)
		}
		c.formats = append(c.formats, f)
	}
	return nil
}

func (c *Converter) compileColumns(columns []Column, mappings map[string]string) error {
	if len(columns) == 0 {
		return invalid("the table has no columns")
	}
	if len(columns) > maxLeaves {
		return invalid("the table has more than %d columns", maxLeaves)
	}
	c.root = &node{kind: kindStruct}
	known := map[string]bool{}
	for _, column := range columns {
		if err := checkName(column.Name, known); err != nil {
			return invalid("columns: %w", err)
		}
		n, err := parseType(column.Type)
		if err != nil {
			return invalid("column %q: %w", column.Name, err)
		}
		n.name = column.Name
		c.root.fields = append(c.root.fields, n)
	}
	if err := c.place(c.root, mappings); err != nil {
		return err
	}
	return nil
}

// place gives the nodes below n their levels, leaves and keys.
func (c *Converter) place(n *node, mappings map[string]string) error {
	n.leaf = len(c.leaves)
	switch n.kind {
	case kindStruct:
		n.slot, n.cache = c.slots, c.caches
		c.slots += len(n.fields)
		c.caches++
		if err := c.placeKeys(n, mappings); err != nil {
			return err
		}
		for _, field := range n.fields {
			field.rep, field.def = n.rep, n.def+1
		}
	case kindArray:
		n.fields[0].rep, n.fields[0].def = n.rep+1, n.def+2
	case kindMap:
		n.fields[0].rep, n.fields[0].def = n.rep+1, n.def+1
		n.fields[1].rep, n.fields[1].def = n.rep+1, n.def+2
	default:
		if signedBytes(n) {
			n.length = longDecimalBytes[n.precision-19]
		}
		if len(c.leaves) == maxLeaves {
			return invalid("column %q: the schema has more than %d leaves", n.path, maxLeaves)
		}
		c.leaves = append(c.leaves, n)
	}
	for _, field := range n.fields {
		if field.path = field.name; n.path != "" {
			field.path = n.path + "." + field.name
		}
		if err := c.place(field, mappings); err != nil {
			return err
		}
	}
	n.leafEnd = len(c.leaves)
	return nil
}

func (c *Converter) placeKeys(n *node, mappings map[string]string) error {
	n.index = make(map[string]int, len(n.fields))
	for i, field := range n.fields {
		key := field.name
		if mapped, ok := mappings[strings.ToLower(field.name)]; ok {
			key = mapped
		}
		if !utf8.ValidString(key) || !utf8.ValidString(field.name) {
			return invalid("column %q: its name or key is not UTF-8", field.name)
		}
		key = string(c.appendKey(nil, []byte(key)))
		if other, taken := n.index[key]; taken {
			return invalid("columns %q and %q are read from one JSON key", n.fields[other].name, field.name)
		}
		n.index[key] = i
	}
	return nil
}

// appendKey appends key as it is compared: in lower case, with underscores for dots.
func (c *Converter) appendKey(dst, key []byte) []byte {
	start := len(dst)
	dst = append(dst, key...)
	for i := start; i < len(dst); i++ {
		switch b := dst[i]; {
		case c.fold && 'A' <= b && b <= 'Z':
			dst[i] = b + 'a' - 'A'
		case c.dots && b == '.':
			dst[i] = '_'
		case c.fold && b >= utf8.RuneSelf: // rare
			rest := strings.ToLower(string(dst[i:]))
			if c.dots {
				rest = strings.ReplaceAll(rest, ".", "_")
			}
			return append(dst[:i], rest...)
		}
	}
	return dst
}

// NewWriter begins a file that goes to w. See [Writer].
func (c *Converter) NewWriter(w io.Writer) *Writer { return newWriter(c, w) }
