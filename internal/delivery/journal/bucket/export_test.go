package bucket

// Waiting tells how many writes of a slot wait for the next put.
func Waiting(j *Journal, i int) int {
	s := j.slot(i)
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue)
}
