package kinesis

import (
	"time"

	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/stream"
)

// shardFilter says which shards a list shows; it travels inside the NextToken, so that later pages apply it too.
type shardFilter struct {
	kind  string // of the ShardFilterType enum; "" shows all
	after int64  // AFTER_SHARD_ID
	at    int64  // AT_TIMESTAMP, FROM_TIMESTAMP: millisecond since 1970
}

// listShards lists shards by id, page by page.
//
// A stream that is still CREATING has none to show. Closed shards are listed until their last record has left
// retention.
//
// Source: Kinesis Data Streams API Reference, ListShards.
var listShards = operation{name: "ListShards", run: func(s *Service, c *call) error {
	var in kinesiswire.ListShardsInput
	if err := c.decode(&in); err != nil {
		return err
	}
	t, err := s.shardList(&in)
	if err != nil {
		return err
	}
	st, ok := s.Backend.Stream(t.stream)
	if !ok || st.Hidden() || st.ID != t.id {
		return s.noStream(t.stream)
	}
	limit := defaultListShards
	if in.MaxResults > 0 {
		limit = min(in.MaxResults, maxListShards)
	}
	shards, more := page(t.filter.apply(st, s.Now()), t.after, limit)
	out := kinesiswire.ListShardsOutput{Shards: shards}
	if more {
		last, _ := stream.ParseShardID(shards[len(shards)-1].ShardId)
		t.after, t.at = int64(last), s.Now()
		out.NextToken = s.tokens.seal(t)
	}
	c.reply(&out)
	return nil
}}

// shardList gives where the list stands: at the place of the token, or before its first page.
func (s *Service) shardList(in *kinesiswire.ListShardsInput) (token, error) {
	named := in.StreamName != "" || in.StreamARN != ""
	switch {
	case in.NextToken != "" && named:
		return token{}, failure(kinesiswire.ErrInvalidArgument, "NextToken and StreamName cannot be provided together.")
	case in.NextToken != "" && in.ExclusiveStartShardId != "":
		return token{}, failure(kinesiswire.ErrInvalidArgument, "NextToken and ExclusiveStartShardId cannot be provided together.")
	case in.NextToken != "" && !in.StreamCreationTimestamp.IsZero():
		return token{}, failure(kinesiswire.ErrInvalidArgument, "NextToken and StreamCreationTimestamp cannot be provided together.")
	case in.NextToken != "":
		return s.openPage(in.NextToken, tokenShards) // its filter goes on, whatever filter stands beside it
	case !named:
		return token{}, failure(kinesiswire.ErrInvalidArgument, "Either NextToken or StreamName should be provided.")
	}
	st, err := s.stream(in.StreamName, in.StreamARN)
	if err != nil {
		return token{}, err
	}
	if st.Status == stream.Creating {
		return token{}, s.notActive(st) // whoever got an empty list would take it for all that there is
	}
	if t := in.StreamCreationTimestamp; !t.IsZero() && t.Unix() != st.Created.Unix() {
		return token{}, s.noStream(st.Name) // the caller means an earlier stream of this name
	}
	t := token{kind: tokenShards, stream: st.Name, id: st.ID, after: -1}
	if in.ExclusiveStartShardId != "" {
		index, ok := stream.ParseShardID(in.ExclusiveStartShardId)
		if !ok {
			return token{}, s.shardUnreadable(in.ExclusiveStartShardId, st.Name)
		}
		t.after = int64(index)
	}
	t.filter, err = s.filterOf(in.ShardFilter, st.Name)
	return t, err
}

func (s *Service) filterOf(in *kinesiswire.ShardFilter, name string) (shardFilter, error) {
	if in == nil {
		return shardFilter{after: -1}, nil
	}
	f := shardFilter{kind: in.Type, after: -1}
	switch in.Type {
	case kinesiswire.ShardFilterTypeAfterShardID:
		if in.ShardId == "" {
			return f, failure(kinesiswire.ErrInvalidArgument, "ShardId must be provided with a shard filter of type %s.", in.Type)
		}
		index, ok := stream.ParseShardID(in.ShardId)
		if !ok {
			return f, s.shardUnreadable(in.ShardId, name)
		}
		f.after = int64(index)
	case kinesiswire.ShardFilterTypeAtTimestamp, kinesiswire.ShardFilterTypeFromTimestamp:
		if in.Timestamp.IsZero() {
			return f, failure(kinesiswire.ErrInvalidArgument, "Timestamp must be provided with a shard filter of type %s.", in.Type)
		}
		f.at = in.Timestamp.UnixMilli()
	}
	return f, nil
}

// apply gives the shards that pass the filter.
func (f shardFilter) apply(st *stream.Stream, now time.Time) []stream.Shard {
	all := listed(st, now)
	horizon := now.Add(-st.Retention).UnixMilli()
	at := max(f.at, horizon) // timestamps before the horizon count as the horizon
	var keep func(sh *stream.Shard) bool
	switch f.kind {
	case kinesiswire.ShardFilterTypeAtLatest:
		keep = (*stream.Shard).Open
	case kinesiswire.ShardFilterTypeAtTrimHorizon:
		keep = func(sh *stream.Shard) bool { return openAt(st, sh, horizon) }
	case kinesiswire.ShardFilterTypeAtTimestamp:
		keep = func(sh *stream.Shard) bool { return openAt(st, sh, at) }
	case kinesiswire.ShardFilterTypeFromTimestamp:
		keep = func(sh *stream.Shard) bool { return sh.Open() || sh.Closed.At.UnixMilli() >= at }
	case kinesiswire.ShardFilterTypeAfterShardID:
		keep = func(sh *stream.Shard) bool { return int64(sh.Index) > f.after }
	default: // FROM_TRIM_HORIZON, or none
		return all
	}
	var kept []stream.Shard
	for i := range all {
		if keep(&all[i]) {
			kept = append(kept, all[i])
		}
	}
	return kept
}

// openAt reports whether a shard took writes at a moment. A shard without parents that are still listed was open
// as early as anything here can tell; a child opens as its parents close, and in the millisecond in which they do the
// parents count as open: their last records may have arrived in it, and who begins there must find them.
func openAt(st *stream.Stream, sh *stream.Shard, at int64) bool {
	if !sh.Open() && sh.Closed.At.UnixMilli() < at {
		return false
	}
	for _, p := range sh.Parents {
		if parent, ok := st.Shard(p); ok && !parent.Open() && parent.Closed.At.UnixMilli() >= at {
			return false
		}
	}
	return true
}

// openPage opens a NextToken.
func (s *Service) openPage(sealed string, kind byte) (token, error) {
	t, ok := s.tokens.open(sealed)
	if !ok || t.kind != kind {
		return token{}, failure(kinesiswire.ErrInvalidArgument, "Invalid NextToken.")
	}
	if age := time.Duration(s.Now().UnixMilli()-t.at.UnixMilli()) * time.Millisecond; age > nextTokenLife {
		return token{}, failure(kinesiswire.ErrExpiredNextToken, "NextToken expired. It was created %d milliseconds ago, which is more than the tolerated %d milliseconds.",
			age.Milliseconds(), nextTokenLife.Milliseconds())
	}
	return t, nil
}
