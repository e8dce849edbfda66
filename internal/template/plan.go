package template

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"millrace/internal/catalog"
	"millrace/internal/delivery"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/object"
	"millrace/internal/restapi"
	"millrace/internal/restapi/openapi"
	"millrace/internal/stream"
)

// Streams is what keeps streams; every stream.Backend is one.
type Streams interface {
	Stream(name string) (*stream.Stream, bool)
	CreateStream(ctx context.Context, spec stream.CreateStream) (*stream.Stream, error)
	UpdateStream(ctx context.Context, name string, edit func(*stream.Settings) error) (*stream.Stream, error)
	Reshard(ctx context.Context, name string, change stream.Reshard) (*stream.Stream, error)
	DeleteStream(ctx context.Context, name string) error
}

// Buckets is what keeps buckets; every object.Store is one.
type Buckets interface {
	Bucket(ctx context.Context, name string) (object.Bucket, error)
	CreateBucket(ctx context.Context, bucket object.Bucket) error
	TagBucket(ctx context.Context, name string, tags map[string]string) error
	SetBucket(ctx context.Context, name, setting, text string) error
	KeepsSettings() bool
	DeleteBucket(ctx context.Context, name string) error
}

// DeliveryStreams runs delivery streams; a *delivery.Engine is one.
type DeliveryStreams interface {
	Compare(req *delivery.CreateRequest) (have *delivery.Definition, equal bool, err error)
	Apply(ctx context.Context, req *delivery.CreateRequest) (def *delivery.Definition, changed bool, err error)
	Delete(ctx context.Context, name string) error
}

// Target is the node that a file is applied to.
type Target struct {
	Streams         Streams
	Buckets         Buckets
	DeliveryStreams DeliveryStreams
	Catalog         *catalog.Catalog
	IDs             *ids.Source
	Now             func() time.Time
	Gate            restapi.Gate // what the node can check callers of APIs with
	Node            string       // tells this node from others that share the catalog
}

// Verb says what a step does.
type Verb string

// The verbs.
const (
	Create Verb = "+" // makes something
	Update Verb = "~" // changes it in place
	Keep   Verb = "=" // leaves it as it is
	Remove Verb = "-" // removes what has left the file
	Leave  Verb = "?" // keeps what has left the file
)

// Step is one line of a plan.
type Step struct {
	Verb                            Verb
	Logical, Type, Physical, Detail string

	run func(ctx context.Context) error // nil: nothing
}

func (s *Step) String() string {
	line := fmt.Sprintf("%s %s %s", s.Verb, strings.TrimPrefix(s.Type, "AWS::"), s.Logical)
	if s.Physical != s.Logical {
		line += " (" + s.Physical + ")"
	}
	if s.Detail != "" {
		line += ": " + s.Detail
	}
	return line
}

// Plan is what applying a file would do. It holds for the moment at which it was made.
type Plan struct {
	Stack string
	Steps []*Step
	Notes []string // what works and its owner may regret

	target  Target
	had     *Record
	found   bool      // had lies in the catalog
	claimed time.Time // when this node's claim on the stack was last stored
	record  *Record
	outputs []Output
	tokens  *strings.Replacer
	build   *build
}

// Changes counts the steps that change something.
func (p *Plan) Changes() (n int) {
	for _, s := range p.Steps {
		if s.run != nil {
			n++
		}
	}
	return n
}

// Write prints the plan.
func (p *Plan) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Plan for stack %s (+ create, ~ update, = keep, - remove, ? has left the file and is kept):\n", p.Stack)
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "  %s\n", s)
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "  note: %s\n", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Plan compares the file with the node. Errors are yamldoc.Problems where they are about the file.
func (t *Template) Plan(ctx context.Context, target Target, prune bool) (*Plan, error) {
	view := target.Catalog.Snapshot()
	had, found, err := Stacks.Get(view, t.Stack())
	if err != nil {
		return nil, err
	}
	if !found {
		had = newRecord(t.Stack())
		had.ID = target.IDs.UUID()
	}
	if other, held := had.Claim.by(target.Node, target.Now()); held {
		return nil, fault.New(fault.InUse, "template.Plan", t.Stack(), "%w: %s", ErrClaimed, other)
	}
	b := newBuild(t, had.clone(), target.IDs)
	b.run()
	if err := b.err(); err != nil {
		return nil, err
	}
	p := &planner{
		Plan: &Plan{Stack: t.Stack(), Notes: b.notes, target: target, had: had, found: found, outputs: b.outputs, build: b,
			record: &Record{Stack: had.Stack, ID: had.ID, Resources: map[string]*RecordEntry{}}},
		ctx: ctx, b: b, view: view, prune: prune,
	}
	if err := p.foreign(); err != nil {
		return nil, err
	}
	p.plan()
	if err := b.err(); err != nil {
		return nil, err
	}
	return p.Plan, nil
}

// planner makes a plan.
type planner struct {
	*Plan
	ctx    context.Context
	b      *build
	view   *catalog.Snapshot
	prune  bool
	owners map[string]string // stacks by "TYPE PHYSICAL"
}

// foreign reads what belongs to other stacks.
func (p *planner) foreign() error {
	p.owners = map[string]string{}
	all, err := Stacks.All(p.view)
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Stack == p.Stack {
			continue
		}
		for _, e := range r.Resources {
			p.owners[e.Type+" "+e.Physical] = r.Stack
		}
	}
	return nil
}

func (p *planner) plan() {
	for _, s := range p.b.buckets {
		p.bucket(s)
	}
	for _, s := range p.b.policies {
		p.bucketPolicy(s)
	}
	for _, s := range p.b.streams {
		p.stream(s)
	}
	for _, r := range p.b.others {
		p.keepRecord(r, p.b.names[r.logical])
	}
	for _, s := range p.b.databases {
		p.database(s)
	}
	for _, s := range p.b.tables {
		p.table(s)
	}
	for _, s := range p.b.deliveries {
		p.delivery(s)
	}
	var tokens []string
	for _, s := range p.b.apis {
		tokens = append(tokens, p.api(s)...)
	}
	for _, s := range p.b.keys {
		p.key(s)
	}
	for _, s := range p.b.plans {
		p.usagePlan(s)
	}
	for _, s := range p.b.planKeys {
		p.planKey(s)
	}
	p.domains()
	p.tokens = strings.NewReplacer(tokens...)
	p.left()
}

func (p *planner) add(verb Verb, r *resource, physical, detail string, run func(context.Context) error) {
	p.Steps = append(p.Steps, &Step{verb, r.logical, r.kind.name, physical, detail, run})
}

// refuse tells of a change that can't be made in place.
func (p *planner) refuse(r *resource, property, format string, args ...any) {
	n, where := r.key, "Resources."+r.logical
	if property != "" {
		n, where = locate(r.properties, where+".Properties", property)
		if n == nil {
			n = r.key
		}
	}
	p.b.tell(n, where, format, args...)
}

// own records a resource, and refuses one that belongs to another stack or was replaced by a new name.
func (p *planner) own(r *resource, physical string) bool {
	p.keepRecord(r, physical)
	if owner := p.owners[r.kind.name+" "+physical]; owner != "" {
		p.refuse(r, r.kind.nameProperty, "%s %s belongs to the stack %s; give it another name, or apply the file with --stack %s", r.kind.name, physical, owner, owner)
		return false
	}
	if had := p.had.Resources[r.logical]; had != nil && had.Type == r.kind.name && had.Physical != physical {
		p.refuse(r, r.kind.nameProperty, "the name can't change from %s to %s in place; CloudFormation would replace the resource. Give the new one another logical id", had.Physical, physical)
		return false
	}
	return true
}

func (p *planner) keepRecord(r *resource, physical string) {
	named := false
	if r.kind.nameProperty != "" && r.properties != nil {
		for _, c := range r.properties.Content {
			named = named || c.Value == r.kind.nameProperty
		}
	}
	p.record.Resources[r.logical] = &RecordEntry{Type: r.kind.name, Physical: physical, Named: named, Retain: r.retain}
}

// takenOver notes what is there and was not made by this stack: it is brought under the file, and never removed with it.
func (p *planner) takenOver(r *resource, physical string) {
	for _, had := range p.had.Resources {
		if had.Type == r.kind.name && had.Physical == physical {
			p.record.Resources[r.logical].Found = had.Found
			return
		}
	}
	p.record.Resources[r.logical].Found = true
	p.Notes = append(p.Notes, fmt.Sprintf("%s: the %s %s was there before this stack; it is changed to what the file says, and --prune will not remove it", r.logical, r.kind.name, physical))
}

func (p *planner) stream(s *streamSpec) {
	if !p.own(s.resource, s.name) {
		return
	}
	have, found := p.target.Streams.Stream(s.name)
	if !found {
		p.add(Create, s.resource, s.name, s.describe(), func(ctx context.Context) error {
			_, err := p.target.Streams.CreateStream(ctx, stream.CreateStream{
				Name: s.name, Mode: s.mode, Shards: s.shards, Retention: s.retention, MaxRecordBytes: s.maxRecord, Tags: s.tags})
			if err = p.whenActive(ctx, s, err); err != nil {
				return err
			}
			return p.changeStream(ctx, s) // what can't be said when it is created
		})
		return
	}
	p.takenOver(s.resource, s.name)
	change := s.changes(have)
	if change.what == nil {
		p.add(Keep, s.resource, s.name, "", nil)
		return
	}
	p.add(Update, s.resource, s.name, strings.Join(change.what, ", "), func(ctx context.Context) error { return p.changeStream(ctx, s) })
}

// streamChange is what a file changes of a stream that is there.
type streamChange struct {
	what     []string // in words; nil: nothing
	settings bool     // any of them
	shards   int      // 0: as many as there are
}

func (s *streamSpec) changes(have *stream.Stream) (c streamChange) {
	if have.Mode != s.mode {
		c.settings = true
		c.what = append(c.what, fmt.Sprintf("mode from %s to %s", have.Mode, s.mode))
	}
	if have.Retention != s.retention {
		c.settings = true
		c.what = append(c.what, fmt.Sprintf("retention from %v to %v", have.Retention, s.retention))
	}
	if !maps.Equal(have.Tags, s.tags) {
		c.settings = true
		c.what = append(c.what, "tags")
	}
	want := have.Settings.Clone()
	s.settle(&want)
	if want.MaxRecordBytes != have.MaxRecordBytes {
		c.settings = true
		c.what = append(c.what, fmt.Sprintf("records from %d to %d KiB", have.MaxRecordBytes>>10, want.MaxRecordBytes>>10))
	}
	if want.EncryptionKey != have.EncryptionKey {
		c.settings = true
		c.what = append(c.what, "encryption")
	}
	if !slices.Equal(want.Metrics, have.Metrics) {
		c.settings = true
		c.what = append(c.what, "shard-level metrics")
	}
	// A file that gives no number leaves the shards to whoever scales the stream.
	if open := have.OpenShards(); s.mode == stream.Provisioned && s.shards > 0 && open != s.shards {
		c.shards = s.shards
		c.what = append(c.what, fmt.Sprintf("from %d to %d open shards; closed ones stay until their records have left retention", open, s.shards))
	}
	return c
}

// changeStream makes a stream what the file says. Others may be changing it at the same time, or may have since the plan
// was made: it waits for them, and looks again at what is left to do.
func (p *planner) changeStream(ctx context.Context, s *streamSpec) error {
	err := p.whenActive(ctx, s, nil)
	for range changeTries {
		if err != nil {
			return err
		}
		have, found := p.target.Streams.Stream(s.name)
		if !found {
			return fault.New(fault.NotFound, "template.Apply", s.name, "the stream was deleted meanwhile")
		}
		change := s.changes(have)
		if change.what == nil {
			return nil
		}
		err = p.whenActive(ctx, s, p.applyChange(ctx, s, change))
		if err == nil || !fault.Is(err, fault.InUse) {
			return err
		}
		select {
		case <-time.After(changePause):
			err = p.whenActive(ctx, s, nil)
		case <-ctx.Done():
		}
	}
	return err
}

// A stream that others change is tried again changeTries times, with changePause before each.
const (
	changeTries = 50
	changePause = 200 * time.Millisecond
)

// applyChange does one thing after the other: a stream takes the next change when it is ACTIVE again.
func (p *planner) applyChange(ctx context.Context, s *streamSpec, c streamChange) error {
	if c.settings {
		_, err := p.target.Streams.UpdateStream(ctx, s.name, func(set *stream.Settings) error {
			s.settle(set)
			return nil
		})
		if err := p.whenActive(ctx, s, err); err != nil {
			return err
		}
	}
	if c.shards == 0 {
		return nil
	}
	_, err := p.target.Streams.Reshard(ctx, s.name, stream.Reshard{Count: c.shards})
	return err
}

// activeEvery is how often a stream is looked at that is not ACTIVE yet; the look costs no I/O.
const activeEvery = 20 * time.Millisecond

// whenActive returns when a change that was accepted is complete, or ctx ends.
func (p *planner) whenActive(ctx context.Context, s *streamSpec, err error) error {
	for err == nil {
		st, ok := p.target.Streams.Stream(s.name)
		if !ok || st.Status == stream.Active {
			return nil
		}
		select {
		case <-time.After(activeEvery):
		case <-ctx.Done():
			err = fmt.Errorf("stream %s is still %s: %w", s.name, st.Status, ctx.Err())
		}
	}
	return err
}

func (s *streamSpec) describe() string {
	if s.mode == stream.OnDemand {
		return "on demand"
	}
	if s.shards <= 1 {
		return "1 shard"
	}
	return fmt.Sprintf("%d shards", s.shards)
}

func (p *planner) delivery(s *deliverySpec) {
	if !p.own(s.resource, s.name) {
		return
	}
	req := *s.req
	req.Tables = p.tableOf
	have, equal, err := p.target.DeliveryStreams.Compare(&req)
	if err == nil && have != nil {
		p.takenOver(s.resource, s.name)
	}
	run := func(ctx context.Context) error {
		_, _, err := p.target.DeliveryStreams.Apply(ctx, s.req) // with tables as they are then
		return err
	}
	if err == nil {
		p.noteBuckets(s, &req)
	}
	switch {
	case err != nil:
		n, where := p.locateColumn(&req, openapi.Reason(err))
		if n == nil {
			n, where = locateMember(s.node, "Resources."+s.logical+".Properties", openapi.Reason(err))
		}
		p.b.tell(n, where, "%s%s", openapi.Reason(err), hint(&req, openapi.Reason(err)))
	case have == nil && !p.hasSource(&req):
		n, where := locateMember(s.node, "Resources."+s.logical+".Properties", "KinesisStreamSourceConfiguration.KinesisStreamARN")
		p.b.tell(n, where, "there is no stream %s, in the file or on the node", req.KinesisStreamSourceConfiguration.KinesisStreamARN)
	case have == nil:
		p.add(Create, s.resource, s.name, "", run)
	case equal:
		p.add(Keep, s.resource, s.name, "", nil)
	default:
		p.add(Update, s.resource, s.name, "what is buffered is delivered as it was", run)
	}
}

// noteBuckets tells of buckets that are nowhere: the service takes such a delivery stream, too, and delivers when they are made.
func (p *planner) noteBuckets(s *deliverySpec, req *delivery.CreateRequest) {
	def, err := req.Definition()
	if err != nil {
		return
	}
	buckets := []string{def.Destination.Bucket()}
	if backup := def.BackupConfiguration(); backup != nil {
		buckets = append(buckets, backup.Bucket())
	}
	for _, name := range slices.Compact(buckets) {
		_, err := p.target.Buckets.Bucket(p.ctx, name)
		if fault.Is(err, fault.NotFound) && !known(p.b.buckets, func(b *bucketSpec) bool { return b.name == name }) {
			p.Notes = append(p.Notes, fmt.Sprintf("%s: there is no bucket %s, in the file or on the node; nothing is delivered to it until it is made", s.logical, name))
		}
	}
}

// hasSource reports whether the stream that a delivery stream is to read is there, or will be.
func (p *planner) hasSource(req *delivery.CreateRequest) bool {
	source := req.KinesisStreamSourceConfiguration
	if source == nil {
		return true
	}
	name := source.KinesisStreamARN[strings.LastIndexByte(source.KinesisStreamARN, '/')+1:]
	_, found := p.target.Streams.Stream(name)
	return found || known(p.b.streams, func(s *streamSpec) bool { return s.name == name })
}

// hint says what the service, whose words an error has, does not know of.
func hint(req *delivery.CreateRequest, reason string) string {
	h := req.HttpEndpointDestinationConfiguration
	if h != nil && h.EndpointConfiguration != nil && strings.HasPrefix(h.EndpointConfiguration.Url, "http://") && strings.Contains(reason, "https://") {
		return "; http: {allow-http-endpoints: true} in the configuration file allows http://, too"
	}
	return ""
}

// removalOrder takes away readers before what they read.
var removalOrder = []string{"AWS::KinesisFirehose::DeliveryStream", "AWS::ApiGateway::BasePathMapping", "AWS::ApiGateway::DomainName",
	"AWS::ApiGateway::UsagePlanKey", "AWS::ApiGateway::UsagePlan", "AWS::ApiGateway::ApiKey", "AWS::ApiGateway::Stage", "AWS::ApiGateway::RestApi",
	"AWS::Serverless::Api", "AWS::Glue::Table", "AWS::Glue::Database", "AWS::Kinesis::Stream",
	bucketPolicyName, "AWS::S3::Bucket"}

// left plans what becomes of resources that have left the file.
func (p *planner) left() {
	gone := slices.DeleteFunc(slices.Sorted(maps.Keys(p.had.Resources)), func(logical string) bool {
		now, had := p.record.Resources[logical], p.had.Resources[logical]
		return now != nil && now.Type == had.Type && now.Physical == had.Physical
	})
	for _, kind := range append(removalOrder, "") {
		for _, logical := range gone {
			e := p.had.Resources[logical]
			if (kind == "" && !slices.Contains(removalOrder, e.Type)) || kind == e.Type {
				p.leave(logical, e)
			}
		}
	}
}

func (p *planner) leave(logical string, e *RecordEntry) {
	step := &Step{Leave, logical, e.Type, e.Physical, "kept; --prune removes it", nil}
	switch {
	case !slices.Contains(removalOrder, e.Type): // nothing on the node; it leaves the record
		step.Verb, step.Detail = Remove, ""
	case !p.prune:
		p.carry(logical, e)
	case e.Retain:
		step.Detail = "kept, as its DeletionPolicy says"
	case e.Found:
		step.Detail = "kept, as it was there before the stack"
	default:
		step.Verb, step.Detail = Remove, ""
		step.run = func(ctx context.Context) error { return p.remove(ctx, e) }
	}
	p.Steps = append(p.Steps, step)
}

// carry keeps a resource in the record that the file no longer has.
func (p *planner) carry(logical string, e *RecordEntry) {
	for p.record.Resources[logical] != nil {
		logical += "x" // its logical id has a new meaning
	}
	p.record.Resources[logical] = e
}

func (p *planner) remove(ctx context.Context, e *RecordEntry) error {
	var err error
	switch e.Type {
	case "AWS::KinesisFirehose::DeliveryStream":
		err = p.target.DeliveryStreams.Delete(ctx, e.Physical)
	case "AWS::Kinesis::Stream":
		err = p.target.Streams.DeleteStream(ctx, e.Physical)
	case "AWS::S3::Bucket":
		err = p.target.Buckets.DeleteBucket(ctx, e.Physical)
	case bucketPolicyName:
		err = p.target.Buckets.SetBucket(ctx, e.Physical, object.SettingPolicy, "")
	case "AWS::ApiGateway::Stage":
		err = p.removeStage(ctx, e.Physical)
	case apiKeyType.name, usagePlanType.name, usagePlanKeyType.name:
		err = p.removeMetered(ctx, e)
	case databaseType.name, tableType.name:
		err = p.removeGlue(ctx, e)
	case domainType.name, mappingType.name:
		err = p.removeDomain(ctx, e)
	default:
		err = p.removeAPI(ctx, e.Physical)
	}
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}
