package delivery

// lock is a mutex that is held over I/O. It is a channel, so that who waits for it is seen to wait: the clock of a test
// goes on meanwhile, as it does in the world.
type lock chan struct{}

func newLock() lock { return make(lock, 1) }

func (l lock) Lock() { l <- struct{}{} }

func (l lock) Unlock() { <-l }
