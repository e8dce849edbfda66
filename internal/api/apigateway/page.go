package apigateway

import (
	"encoding/base64"
	"sort"

	"millrace/internal/awswire"
	"millrace/internal/fault"
)

// The bounds of a page, as the service documents them.
const (
	defaultPage = 25
	maxPage     = 500
)

// page cuts a list that is in the order of its keys. position is what an earlier page returned; the new position
// is nil at the end. A limit that is no count means the default, as in the service (recorded with -1).
func page[T any](all []T, key func(T) string, limitGiven *int, position *string) (items []T, next *string, err error) {
	limit := min(awswire.Value(limitGiven), maxPage)
	if limit <= 0 {
		limit = defaultPage
	}
	if position != nil {
		last, err := base64.RawURLEncoding.DecodeString(*position)
		if err != nil {
			return nil, nil, fault.New(fault.Invalid, "apigateway.page", "", "Invalid position parameter specified")
		}
		all = all[sort.Search(len(all), func(i int) bool { return key(all[i]) > string(last) }):]
	}
	if len(all) <= limit {
		return all, nil, nil
	}
	all = all[:limit]
	last := base64.RawURLEncoding.EncodeToString([]byte(key(all[limit-1])))
	return all, &last, nil
}
