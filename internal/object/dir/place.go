package dir

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"unicode/utf8"

	"millrace/internal/fault"
	"millrace/internal/object"
)

// knownFolders bounds how many folders are remembered to exist.
const knownFolders = 8192

// placement decides where an object's file goes, so that a file and a folder never want one name. A path is reserved
// from the decision until the file is there.
type placement struct {
	root     *os.Root
	portable bool

	mu      sync.Mutex
	known   map[string]bool // folders that exist
	files   map[string]bool // paths that are decided, whose files are perhaps not there
	inUse   map[string]int  // folders of those paths, with how many
	changed map[string]bool // folders with new folders in them, not on disk yet
}

func newPlacement(root *os.Root, portable bool) *placement {
	return &placement{root: root, portable: portable, known: map[string]bool{}, files: map[string]bool{},
		inUse: map[string]int{}, changed: map[string]bool{}}
}

// place makes the folders of a key, reserves a path for its file, and gives it. The caller releases it.
func (p *placement) place(op, bucket, key string) (string, error) {
	list := names(key, p.portable)
	p.mu.Lock()
	defer p.mu.Unlock()
	dir := bucket
	if err := p.folder(dir); err != nil {
		return "", fault.New(fault.Unavailable, op, dir, "%w", err)
	}
	for _, name := range list[:len(list)-1] {
		next := dir + "/" + name
		if kind, err := p.look(next); err != nil {
			return "", fault.New(fault.Unavailable, op, next, "%w", err)
		} else if kind == isFile {
			next += asFolder
		}
		if err := p.folder(next); err != nil {
			return "", fault.New(fault.Unavailable, op, next, "%w", err)
		}
		dir = next
	}
	file := dir + "/" + list[len(list)-1]
	if kind, err := p.look(file); err != nil {
		return "", fault.New(fault.Unavailable, op, file, "%w", err)
	} else if kind == isFolder {
		file += asFile
	}
	p.reserve(file)
	return file, nil
}

type kind uint8

const (
	isNothing kind = iota
	isFile         // or anything else that is no folder, links included: they are not followed
	isFolder
)

func (p *placement) look(name string) (kind, error) {
	if p.known[name] {
		return isFolder, nil
	}
	if p.files[name] {
		return isFile, nil
	}
	info, err := p.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return isNothing, nil
	case err != nil:
		return isNothing, err
	case info.IsDir():
		return isFolder, nil
	}
	return isFile, nil
}

// folder makes a folder that does not exist; its parent does.
func (p *placement) folder(name string) error {
	if p.known[name] {
		return nil
	}
	err := p.root.Mkdir(name, 0o755)
	switch {
	case err == nil:
		p.changed[path.Dir(name)] = true
	case errors.Is(err, fs.ErrExist):
		info, statErr := p.root.Lstat(name)
		if statErr != nil {
			return statErr
		}
		if !info.IsDir() {
			return err
		}
	default:
		return err
	}
	if len(p.known) >= knownFolders {
		clear(p.known)
	}
	p.known[name] = true
	return nil
}

func (p *placement) reserve(file string) {
	p.files[file] = true
	for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
		p.inUse[dir]++
	}
}

// release ends a reservation.
func (p *placement) release(file string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.files, file)
	for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
		if p.inUse[dir]--; p.inUse[dir] == 0 {
			delete(p.inUse, dir)
		}
	}
}

// again makes the folders of a path that someone has removed by hand.
func (p *placement) again(file string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.known)
	dir := ""
	for name := range strings.SplitSeq(path.Dir(file), "/") {
		dir = path.Join(dir, name)
		if err := p.folder(dir); err != nil {
			return err
		}
	}
	return nil
}

// prune removes the folders above a removed file that are empty, up to the bucket's.
func (p *placement) prune(file string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for dir := path.Dir(file); strings.Contains(dir, "/"); dir = path.Dir(dir) {
		if p.inUse[dir] > 0 || p.root.Remove(dir) != nil {
			return
		}
		p.forget(dir)
	}
}

// forget books the removal of a folder: it is in its parent, which has to be made durable.
func (p *placement) forget(dir string) {
	delete(p.known, dir)
	delete(p.changed, dir)
	p.changed[path.Dir(dir)] = true
}

// pruneBucket removes the folders of a deleted bucket. What was put there by hand stays.
func (p *placement) pruneBucket(bucket string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.known)
	p.pruneTree(bucket, 0)
}

// maxDepth is the depth of the deepest path that a key makes: its folders, each of whose names can be cut into pieces
// of maxName, and all of whose bytes can be escaped.
const maxDepth = maxFolders + 3*object.MaxKeyBytes/(maxName-utf8.UTFMax) + 2

func (p *placement) pruneTree(dir string, depth int) {
	if depth < maxDepth {
		for _, child := range p.folders(dir) {
			p.pruneTree(dir+"/"+child, depth+1)
		}
	}
	if p.root.Remove(dir) == nil { // fails when it holds something, which is what keeps it
		p.forget(dir)
	}
}

func (p *placement) folders(dir string) (names []string) {
	f, err := p.root.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	entries, _ := f.ReadDir(-1) // what can't be read stays
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// takeChanged gives the folders to make durable.
func (p *placement) takeChanged(into map[string]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for dir := range p.changed {
		into[dir] = true
	}
	clear(p.changed)
}
