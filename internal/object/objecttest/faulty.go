package objecttest

import (
	"context"
	"io"
	"sync"

	"millrace/internal/object"
)

// Call is what a [Faulty] store is asked.
type Call struct {
	Op     string // "Put", "Get", "Head", "Delete", "List"
	Bucket string
	Key    string // of List: the prefix
}

// Faulty is a store whose answers a test decides about, for tests of what stands on one.
type Faulty struct {
	object.Store

	mu    sync.Mutex
	fault func(Call) (happens bool, err error)
	calls map[string]int // by Op
}

// NewFaulty wraps a store.
func NewFaulty(s object.Store) *Faulty { return &Faulty{Store: s, calls: map[string]int{}} }

// Break has fn decide about each call: an error is its answer, whether it happens or not. Nil: all is well again.
func (f *Faulty) Break(fn func(Call) (happens bool, err error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fn
}

// Calls tells how many calls of an operation there were.
func (f *Faulty) Calls(op string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

func (f *Faulty) ask(op, bucket, key string) (happens bool, err error) {
	f.mu.Lock()
	f.calls[op]++
	fn := f.fault
	f.mu.Unlock()
	if fn == nil {
		return true, nil
	}
	happens, err = fn(Call{op, bucket, key})
	return happens || err == nil, err
}

// Put implements [object.Store].
func (f *Faulty) Put(ctx context.Context, bucket, key string, body io.Reader, size int64, opts object.PutOptions) (object.Info, error) {
	happens, err := f.ask("Put", bucket, key)
	if !happens {
		return object.Info{}, err
	}
	info, putErr := f.Store.Put(ctx, bucket, key, body, size, opts)
	if err == nil {
		err = putErr
	}
	return info, err
}

// Get implements [object.Store].
func (f *Faulty) Get(ctx context.Context, bucket, key string) (*object.Object, error) {
	if _, err := f.ask("Get", bucket, key); err != nil {
		return nil, err
	}
	return f.Store.Get(ctx, bucket, key)
}

// Head implements [object.Store].
func (f *Faulty) Head(ctx context.Context, bucket, key string) (object.Info, error) {
	if _, err := f.ask("Head", bucket, key); err != nil {
		return object.Info{}, err
	}
	return f.Store.Head(ctx, bucket, key)
}

// Delete implements [object.Store].
func (f *Faulty) Delete(ctx context.Context, bucket, key string) error {
	happens, err := f.ask("Delete", bucket, key)
	if !happens {
		return err
	}
	deleteErr := f.Store.Delete(ctx, bucket, key)
	if err == nil {
		err = deleteErr
	}
	return err
}

// List implements [object.Store].
func (f *Faulty) List(ctx context.Context, bucket string, opts object.ListOptions) (object.Page, error) {
	if _, err := f.ask("List", bucket, opts.Prefix); err != nil {
		return object.Page{}, err
	}
	return f.Store.List(ctx, bucket, opts)
}

var _ object.Store = (*Faulty)(nil)
