package gateway

import (
	"maps"
	"regexp"
	"slices"
	"strconv"

	"millrace/internal/restapi"
)

// The statuses for which the choice of a response is made beforehand; all that a backend sends lie between.
const (
	firstStatus = 100
	lastStatus  = 599
)

const noResponse = -1

// choice finds the integration response for a backend's status. Patterns are matched against a number of three
// digits, so the whole function is a table, and no expression runs while a caller waits.
type choice struct {
	table    [lastStatus - firstStatus + 1]int16
	fallback int // the response without a pattern, or noResponse
	patterns []*regexp.Regexp
	matches  []int // how many statuses of the table each response's pattern fits
}

// compileChoice reads the patterns of responses in the order of their status codes. What can't be compiled matches
// nothing; restapi.Check has told of it, and the method is not run.
func compileChoice(responses []*restapi.IntegrationResponse) *choice {
	c := &choice{fallback: noResponse, patterns: make([]*regexp.Regexp, len(responses)), matches: make([]int, len(responses))}
	for i, r := range responses {
		if r.SelectionPattern == "" {
			if c.fallback == noResponse {
				c.fallback = i
			}
			continue
		}
		re, err := restapi.CompileSelectionPattern(r.SelectionPattern)
		if err != nil {
			continue
		}
		c.patterns[i] = re
	}
	for s := firstStatus; s <= lastStatus; s++ {
		i := c.search(s)
		c.table[s-firstStatus] = int16(i)
		if i != noResponse {
			c.matches[i]++
		}
	}
	return c
}

func (c *choice) search(status int) int {
	text := strconv.Itoa(status)
	for i, re := range c.patterns {
		if re != nil && re.MatchString(text) {
			return i
		}
	}
	return c.fallback
}

func (c *choice) find(status int) int {
	if status < firstStatus || status > lastStatus {
		return c.search(status)
	}
	return int(c.table[status-firstStatus])
}

// isDefault reports whether response i takes what comes: it has no pattern, or one that fits every status.
func (c *choice) isDefault(i int) bool {
	return c.patterns[i] == nil || c.matches[i] == len(c.table)
}

// byStatus lists the responses of an integration in the order of their status codes.
func byStatus(responses map[string]*restapi.IntegrationResponse) []*restapi.IntegrationResponse {
	all := make([]*restapi.IntegrationResponse, 0, len(responses))
	for _, code := range slices.Sorted(maps.Keys(responses)) {
		all = append(all, responses[code])
	}
	return all
}
