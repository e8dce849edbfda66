// Package dir keeps objects as plain files in a folder, and what belongs to them in
// an index in Pebble.
//
//	ROOT/BUCKET/KEY            the bytes of an object: zcat, grep and cp work
//	ROOT/.millrace/NAME        temporary files, parts of uploads; no bucket can have that name
//	index                      size, ETag, headers, metadata, tags, checksums, path: format.go
//
// The index leads. A file that was put into a folder by hand is no object and may be
// overwritten; an object whose file is missing, or has another size, is Corrupt and
// named. Keys that a file system can't hold are escaped reversibly: path.go.
//
// A put becomes durable in this order; a crash after any step leaves the old object
// or the new one, and the next Open finishes what was begun:
//
//	write the temporary file ─ fsync it ─ fsync its folder (one for many callers)
//	─ commit the row, which names the temporary file, and a note that it is not settled   <- the object exists
//	─ rename the file to its path                                                         <- the caller is answered
//	─ later, for many at once: fsync the folders, clear the notes
//
// A rename moves a name between two folders. It is one step of the file system's
// journal, as on ext4, xfs, btrfs and APFS: after a crash the file has the one name or
// the other, whichever folder was synced.
//
// A deletion commits the removal of the row and a note, then removes the file. Parts
// of an upload are temporary files with a row each; completion makes one of them, or
// their concatenation, the object in the commit that removes the upload.
//
// Locks, in order: upload, buckets (shared by all that commits), key, placement.
// A get holds its key's lock while it reads the row and opens the file, not longer:
// an open file keeps its content when it is replaced or removed.
package dir
