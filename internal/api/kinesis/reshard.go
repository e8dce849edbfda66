package kinesis

import (
	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/fault"
	"millrace/internal/stream"
)

// splitShard closes a shard and opens two in its place.
//
// Source: Kinesis Data Streams API Reference, SplitShard; order of checks as recorded.
var splitShard = operation{name: "SplitShard", run: func(s *Service, c *call) error {
	var in kinesiswire.SplitShardInput
	if err := c.decode(&in); err != nil {
		return err
	}
	s.changes.Lock()
	defer s.changes.Unlock()
	st, found, err := s.reshardable(in.StreamName, in.StreamARN, in.ShardToSplit)
	if err != nil {
		return err
	}
	sh := found[0]
	if err := s.checkShardLimit(stream.CreateStream{Mode: st.Mode, Shards: 1}); err != nil {
		return err
	}
	at, ok, inRange := stream.ParseHashKey(in.NewStartingHashKey)
	// One more than the start would leave a shard of a single key, which the service refuses too.
	if !ok || !inRange || at.Compare(sh.Range.Start.Next()) <= 0 || at.Compare(sh.Range.End) >= 0 {
		return failure(kinesiswire.ErrInvalidArgument, "NewStartingHashKey %s used in SplitShard() on shard %s in stream %s under account %s is not both greater than "+
			"one plus the shard's StartingHashKey %s and less than the shard's EndingHashKey %s.",
			in.NewStartingHashKey, sh.ID(), st.Name, s.Account.ID, sh.Range.Start, sh.Range.End)
	}
	return s.reshard(c, st, stream.Reshard{Split: &stream.SplitShard{Shard: sh.Index, At: at}})
}}

// mergeShards closes two adjacent shards and opens one in their place.
//
// Source: Kinesis Data Streams API Reference, MergeShards; order of checks as recorded.
var mergeShards = operation{name: "MergeShards", run: func(s *Service, c *call) error {
	var in kinesiswire.MergeShardsInput
	if err := c.decode(&in); err != nil {
		return err
	}
	s.changes.Lock()
	defer s.changes.Unlock()
	st, found, err := s.reshardable(in.StreamName, in.StreamARN, in.ShardToMerge, in.AdjacentShardToMerge)
	if err != nil {
		return err
	}
	lower, upper := found[0], found[1]
	if lower.Range.End == stream.MaxHashKey || lower.Range.End.Next() != upper.Range.Start {
		return failure(kinesiswire.ErrInvalidArgument, "Shards %s and %s in stream %s under account %s are not an adjacent pair of shards eligible for merging",
			lower.ID(), upper.ID(), st.Name, s.Account.ID)
	}
	return s.reshard(c, st, stream.Reshard{Merge: &stream.MergeShards{Shard: lower.Index, Adjacent: upper.Index}})
}}

// updateShardCount splits and merges until the stream has so many open shards of equal width.
//
// Source: Kinesis Data Streams API Reference, UpdateShardCount.
var updateShardCount = operation{name: "UpdateShardCount",
	run: func(s *Service, c *call) error {
		var in kinesiswire.UpdateShardCountInput
		if err := c.decode(&in); err != nil {
			return err
		}
		s.changes.Lock()
		defer s.changes.Unlock()
		st, _, err := s.reshardable(in.StreamName, in.StreamARN)
		if err != nil {
			return err
		}
		now, target := st.OpenShards(), in.TargetShardCount
		if err := s.checkShardCount(st, now, target); err != nil {
			return err
		}
		if err := s.reshard(c, st, stream.Reshard{Count: target}); err != nil {
			return err
		}
		out := kinesiswire.UpdateShardCountOutput{StreamName: st.Name, StreamARN: s.Account.Stream(st.Name), CurrentShardCount: now, TargetShardCount: target}
		c.reply(&out)
		return nil
	}}

func (s *Service) checkShardCount(st *stream.Stream, now, target int) error {
	switch {
	case target == now:
		return failure(kinesiswire.ErrInvalidArgument, "Stream %s under account %s already has %d open shards.", st.Name, s.Account.ID, now)
	case target > 2*now:
		return failure(kinesiswire.ErrLimitExceeded, "UpdateShardCount cannot scale up over double your current open shard count. "+
			"Current open shard count: %d Target shard count: %d", now, target)
	case 2*target < now:
		return failure(kinesiswire.ErrLimitExceeded, "UpdateShardCount cannot scale down below half your current open shard count. "+
			"Current open shard count: %d Target shard count: %d", now, target)
	case target > maxTargetShards:
		return failure(kinesiswire.ErrLimitExceeded, "UpdateShardCount cannot scale a stream to more than %d shards. Target shard count: %d", maxTargetShards, target)
	case target > now:
		return s.checkShardLimit(stream.CreateStream{Mode: st.Mode, Shards: target - now})
	}
	return nil
}

// reshardable finds a provisioned, ACTIVE stream and shards of it that take writes.
func (s *Service) reshardable(name, arn string, shardIDs ...string) (*stream.Stream, []*stream.Shard, error) {
	name, err := s.target(name, arn)
	if err != nil {
		return nil, nil, err
	}
	indexes := make([]uint32, len(shardIDs))
	for i, id := range shardIDs {
		index, ok := stream.ParseShardID(id)
		if !ok {
			return nil, nil, s.shardUnreadable(id, name)
		}
		indexes[i] = index
	}
	st, err := s.stream(name, "")
	switch {
	case err != nil:
		return nil, nil, err
	case st.Status != stream.Active:
		return nil, nil, s.notActive(st)
	case st.Mode == stream.OnDemand:
		return nil, nil, failure(kinesiswire.ErrValidation, "Request is invalid. Stream %s under account %s is in On-Demand mode.", st.Name, s.Account.ID)
	}
	shards := make([]*stream.Shard, len(indexes))
	for i, index := range indexes {
		sh, ok := st.Shard(index)
		if !ok {
			return nil, nil, s.noShard(stream.ShardID(index), st.Name)
		}
		if !sh.Open() {
			return nil, nil, failure(kinesiswire.ErrInvalidArgument, "Shard %s in stream %s under account %s is closed: it can be neither split nor merged.",
				sh.ID(), st.Name, s.Account.ID)
		}
		shards[i] = sh
	}
	return st, shards, nil
}

func (s *Service) notActive(st *stream.Stream) *exception {
	return failure(kinesiswire.ErrResourceInUse, "Stream %s under account %s not ACTIVE, instead in state %s", st.Name, s.Account.ID, st.Status)
}

// reshard changes the shards. Between the look at the stream and the change another node may have changed it.
func (s *Service) reshard(c *call, st *stream.Stream, change stream.Reshard) error {
	_, err := s.Backend.Reshard(c.ctx, st.Name, change)
	if fault.Is(err, fault.InUse) {
		if now, ok := s.Backend.Stream(st.Name); ok {
			return s.notActive(now)
		}
	}
	return worded(err, fault.NotFound, s.noStream(st.Name))
}
