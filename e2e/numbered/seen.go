package numbered

import "fmt"

// Seen is what a consumer has seen.
type Seen struct {
	Again int // records that were seen before
	next  map[string]int
}

// Add takes a record. One that comes before those of its key that it follows is an error.
func (s *Seen) Add(data string) error {
	key, number, err := parse(data)
	if err != nil {
		return err
	}
	if s.next == nil {
		s.next = map[string]int{}
	}
	switch next := s.next[key]; {
	case number < next:
		s.Again++
	case number > next:
		return fmt.Errorf("%s has come, and number %d has not", data, next)
	default:
		s.next[key]++
	}
	return nil
}

func parse(data string) (key string, number int, err error) {
	if _, err := fmt.Sscanf(data, "%s %d", &key, &number); err != nil {
		return "", 0, fmt.Errorf("a record that no one has put: %q: %w", data, err)
	}
	return key, number, nil
}

// Total is how many different records have been seen.
func (s *Seen) Total() int { return total(s.next) }

// All tells whether everything that is acknowledged has been seen.
func (s *Seen) All(written map[string]int) bool {
	for key, n := range written {
		if s.next[key] < n {
			return false
		}
	}
	return true
}

// Bag is what a consumer has seen that begins with children before it has read their parents to the end.
type Bag struct {
	Again int // records that were seen before
	seen  map[string]int
	has   map[string]bool
}

// Add takes a record.
func (b *Bag) Add(data string) error {
	key, _, err := parse(data)
	if err != nil {
		return err
	}
	if b.has == nil {
		b.seen, b.has = map[string]int{}, map[string]bool{}
	}
	if b.has[data] {
		b.Again++
		return nil
	}
	b.has[data] = true
	b.seen[key]++
	return nil
}

// Total is how many different records have been seen.
func (b *Bag) Total() int { return len(b.has) }

// All tells whether everything that is acknowledged has been seen, which is numbered from 0 on.
func (b *Bag) All(written map[string]int) bool {
	for key, n := range written {
		if b.seen[key] < n {
			return false
		}
	}
	return true
}
