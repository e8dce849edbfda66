package parquet

import (
	"fmt"
	"io"

	lib "github.com/parquet-go/parquet-go"
)

// Memory of a writer.
const (
	// groupMemory is when a writer ends its row group: what finished pages and dictionaries then hold.
	groupMemory = 20 << 20
	// pagesMemory is what all columns' begun pages may hold together: pages are smaller in files of many columns. But a page
	// holds leastPage: each leaves some 150 bytes in the footer, which is in memory until the end.
	pagesMemory = 12 << 20
	leastPage   = 16 << 10
	// footerMemory is what the pages of a file with [Converter.MaxRows] rows leave in its footer, each pageEntry.
	footerMemory = 12 << 20
	pageEntry    = 160
	// WriterMemory is what a writer holds, all in all. The values of one large document (maxRowBytes) and the garbage
	// collector's slack come on top, so that an open writer stays below 96 MiB. A file that is given more rows than MaxRows
	// is the exception, and 1 KiB for each column of each row group.
	WriterMemory = groupMemory + pagesMemory + footerMemory + 2*stagedBytes
	// dictionaryBytes is when a column's dictionary has failed and plain pages follow, as in parquet-mr.
	dictionaryBytes = 1 << 20
	// entryBytes is what an entry of a dictionary costs beside its bytes, in a map and slices.
	entryBytes = 96
	// pageRows bounds the rows of a page, as parquet-mr does: 20,000 indexes into a dictionary may be few bytes.
	pageRows = 20_000
	// stagedBytes and stagedRows are when decoded values go to their columns.
	stagedBytes = 1 << 20
	stagedRows  = 256
	// libraryPage keeps the library from ending pages on its own account.
	libraryPage = 1 << 30
)

// fileWriter is the library's writer of columns. Its generic one would make functions for rows as Go values first, which
// never come.
type fileWriter interface {
	ColumnWriters() []*lib.ColumnWriter
	Flush() error
	Close() error
}

// Writer makes one file. It is not safe for concurrent use.
//
// A write error of the underlying writer is kept: Err and Close give it, and nothing more is written.
type Writer struct {
	c       *Converter
	d       *decoder
	w       fileWriter
	columns []*lib.ColumnWriter
	leaves  []leafState
	maker   schemaMaker
	pages   pagePool
	rows    int64
	group   int64 // bytes of the row group so far, plain
	err     error
	closed  bool
}

// leafState is the page that a leaf has begun.
type leafState struct {
	held int // memory
	rows int
}

func newWriter(c *Converter, out io.Writer) *Writer {
	w := &Writer{c: c, d: newDecoder(c), leaves: make([]leafState, len(c.leaves)), pages: pagePool{chunks: c.chunks}}
	version := 1
	if c.output.WriterVersion == "V2" {
		version = 2
	}
	w.maker.dictionary = c.output.EnableDictionaryCompression
	w.w = lib.NewWriter(out, w.maker.schema(c.root), lib.Compression(c.codec),
		lib.DataPageVersion(version), lib.PageBufferSize(libraryPage), lib.WriteBufferSize(0), lib.ColumnPageBuffers(&w.pages),
		lib.DataPageStatistics(false), lib.DictionaryMaxBytes(dictionaryBytes), lib.CreatedBy("millrace", "1", "parquet-go"))
	w.columns = w.w.ColumnWriters()
	return w
}

// Rows is how many rows have been written.
func (w *Writer) Rows() int64 { return w.rows }

// Err is the first error of the underlying writer.
func (w *Writer) Err() error { return w.err }

// Write adds the documents of a record, each a row, or tells why it can't: then nothing of the record is in the file. The
// record is not kept.
func (w *Writer) Write(record []byte) *Failure {
	d := w.d
	d.data, d.pos, d.failure = record, 0, nil
	d.mark()
	checked := false // documents were dropped: what is staged is not the whole record
	for first := true; first || d.peek() != 0 || d.pos < len(record); first = false {
		if d.bytes > stagedBytes && !first {
			// A record of many documents: the rest is checked, and then all are read again.
			checked = true
			d.rewind()
		}
		if !d.document() {
			d.rewind()
			w.stage()
			return d.failure
		}
	}
	if checked {
		d.rewind()
		w.again()
	}
	w.stage()
	return nil
}

// again writes the documents of a record that was checked as they come.
func (w *Writer) again() {
	d := w.d
	d.pos = 0
	for d.peek() != 0 {
		if !d.document() {
			panic("parquet: a record that was checked does not parse: " + d.failure.Message)
		}
		w.stage()
	}
}

// stage gives the decoded values to their columns when they are many.
func (w *Writer) stage() {
	if w.d.bytes >= stagedBytes || w.d.rows >= stagedRows {
		w.commit()
	}
}

func (w *Writer) commit() {
	d := w.d
	if w.err == nil && !w.closed && d.rows > 0 {
		w.err = w.put()
		w.rows += int64(d.rows)
	}
	d.clear()
}

// levelBytes is what a value's levels and place cost in a begun page, beside itself; its bytes cost half as much again,
// since slices grow by halves.
const levelBytes = 10

// MaxRows is how many rows a file should have at most, so that its footer stays small. Each page of a column leaves something in
// it, and a page of nothing but nulls ends by its levels: where hundreds of columns are null mostly, a file of few bytes has very
// many pages.
func (c *Converter) MaxRows() int64 {
	rowsOfPage := min(pageRows, int64(c.page)/levelBytes)
	return max(1, footerMemory/(int64(len(c.leaves))*pageEntry)) * rowsOfPage
}

func (w *Writer) put() error {
	d := w.d
	for i, column := range w.columns {
		values := d.cols[i]
		if _, err := column.WriteRowValues(values); err != nil {
			return fmt.Errorf("column %s: %w", w.c.leaves[i].path, err)
		}
		leaf := &w.leaves[i]
		leaf.held += d.sizes[i]*3/2 + len(values)*levelBytes
		leaf.rows += d.rows
		w.group += int64(d.sizes[i])
		if leaf.held >= w.c.page || leaf.rows >= pageRows {
			if err := w.endPage(i); err != nil {
				return err
			}
		}
	}
	if w.group >= w.c.output.BlockSizeBytes || w.finished() >= groupMemory {
		return w.endGroup()
	}
	return nil
}

func (w *Writer) endPage(i int) error {
	w.leaves[i] = leafState{}
	if err := w.columns[i].Flush(); err != nil {
		return fmt.Errorf("column %s: %w", w.c.leaves[i].path, err)
	}
	return nil
}

// endGroup writes the row group. Pages are ended first: their memory is bounded then by those of one column.
func (w *Writer) endGroup() error {
	for i := range w.columns {
		if err := w.endPage(i); err != nil {
			return err
		}
	}
	w.group = 0
	return w.w.Flush()
}

// finished is what finished pages and dictionaries hold.
func (w *Writer) finished() int {
	held := w.pages.held
	for _, dict := range w.maker.dicts {
		held += 3*int(dict.Size()) + entryBytes*dict.Len()
	}
	return held
}

// Close ends the file. The underlying writer stays open.
func (w *Writer) Close() error {
	if w.closed {
		return w.err
	}
	w.commit()
	w.closed = true
	if w.err == nil {
		w.err = w.w.Close()
	}
	return w.err
}
