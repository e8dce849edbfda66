// Package telemetry owns what a node tells its operator: logs and metrics.
//
// Every metric is declared once, in the table below, with a sentence that says
// what it counts, in which unit, and what it leaves out. Rooms of the house know
// nothing of Prometheus: they keep plain counters, and app bridges them here with
// [Metrics.Collect] when the page is read.
package telemetry

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metric is a declared metric.
type Metric struct {
	Name   string
	Help   string
	Labels []string
	kind   prometheus.ValueType
	desc   *prometheus.Desc
}

var declared []*Metric

func declare(kind prometheus.ValueType, name, help string, labels ...string) *Metric {
	m := &Metric{Name: name, Help: help, Labels: labels, kind: kind, desc: prometheus.NewDesc(name, help, labels, nil)}
	declared = append(declared, m)
	return m
}

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

// The metrics.
var (
	Info = declare(gauge, "millrace_build_info", "Always 1; the labels tell which build runs.", "version", "go")

	Engine = declare(gauge, "millrace_engine_info", "Always 1; the labels tell what keeps records, and this node's name in its cluster.", "engine", "node")

	APIRequests = declare(counter, "millrace_api_requests_total",
		"Requests that deployed APIs answered, by status. Calls to control planes are not among them.", "api", "stage", "status")
	APIRequestBytes = declare(counter, "millrace_api_request_bytes_total",
		"Payload bytes of requests to deployed APIs, as received, before decompression; headers left out.", "api", "stage")

	MethodRequests = declare(counter, "millrace_api_method_requests_total",
		"Requests of a method since this process started, where its settings say metricsEnabled: the service's Count. At most 5000 methods are counted.", "api", "stage", "method", "resource")
	MethodErrors = declare(counter, "millrace_api_method_errors_total",
		"Those of them that were answered with an error, by class: 4XX or 5XX.", "api", "stage", "method", "resource", "class")
	MethodSeconds = declare(counter, "millrace_api_method_seconds_total",
		"Time that they took, from their arrival to their answer: the sum of the service's Latency.", "api", "stage", "method", "resource")
	MethodIntegrationSeconds = declare(counter, "millrace_api_method_integration_seconds_total",
		"Time of it that integrations took, mapping of the request included: the sum of the service's IntegrationLatency.", "api", "stage", "method", "resource")
	StageLogLines = declare(counter, "millrace_stage_log_lines_total",
		"Lines of access and execution logs since this process started: written; dropped, because too many waited in memory; failed, because a file or a delivery stream did not take them or space was low.", "what")
	StageLogPending = declare(gauge, "millrace_stage_log_pending_bytes",
		"Bytes of such lines that wait to be written; a kill loses them.")
	APITurnedAway = declare(counter, "millrace_api_turned_away_total",
		"Requests to deployed APIs refused before their integration: for their API key (403), by a throttle or by a quota (429). Throttles of streams are not among them.", "why")

	ServiceRequests = declare(counter, "millrace_service_requests_total",
		"Calls to the AWS endpoint, by service. Calls that deployed APIs make in process are not among them.", "service")

	StreamRecords = declare(counter, "millrace_stream_records_total",
		"Records appended durably to a stream since this process started.", "stream")
	StreamBytes = declare(counter, "millrace_stream_bytes_total",
		"Bytes of data and partition keys appended durably to a stream since this process started.", "stream")
	Limited = declare(gauge, "millrace_service_limits",
		"1 when the service's limits are in force (--aws-exact=limits), else 0.")
	WriteThrottled = declare(counter, "millrace_stream_write_throttled_records_total",
		"Records that a shard's limit refused since this process started (the service's WriteProvisionedThroughputExceeded), by the limit: records or bytes a second. Records behind a refused one of their call and shard are among them.", "stream", "limit")
	ReadThrottled = declare(counter, "millrace_stream_read_throttled_calls_total",
		"GetRecords calls that a shard's limit refused since this process started (the service's ReadProvisionedThroughputExceeded), by the limit: calls or bytes a second.", "stream", "limit")
	OnDemandSplits = declare(counter, "millrace_stream_on_demand_splits_total",
		"Shards of on-demand streams that this process split because they were more than half busy.", "stream")
	RateExceeded = declare(counter, "millrace_kinesis_rate_exceeded_total",
		"Calls that were refused for their rate: those of the control plane, GetShardIterator and SubscribeToShard.", "operation")

	Fsyncs = declare(counter, "millrace_log_fsyncs_total",
		"Group commits of the log, one fsync each.")
	FsyncSeconds = declare(counter, "millrace_log_fsync_seconds_total",
		"Time that group commits of the log took, write and fsync together.")
	AppendQueueBytes = declare(gauge, "millrace_log_queue_bytes",
		"Bytes of records that wait for their group commit.")
	AppendQueueBound = declare(gauge, "millrace_log_queue_bound_bytes",
		"The most that may wait; beyond it callers wait to be admitted.")

	KafkaBatches = declare(counter, "millrace_kafka_batches_total",
		"Batches of records that all in-sync replicas acknowledged.")
	KafkaWireBytes = declare(counter, "millrace_kafka_batch_bytes_total",
		"Bytes of those batches as they went to the brokers, compressed.")
	KafkaInFlight = declare(gauge, "millrace_kafka_in_flight_bytes",
		"Bytes of records that brokers have not acknowledged yet.")
	KafkaInFlightBound = declare(gauge, "millrace_kafka_in_flight_bound_bytes",
		"The most that may be in flight; beyond it callers wait to be admitted.")
	KafkaReading = declare(gauge, "millrace_kafka_reading_bytes",
		"Bytes of brokers' answers that are being read or kept for the next read.")
	KafkaReadingBound = declare(gauge, "millrace_kafka_reading_bound_bytes",
		"The most bytes of answers that may be read or kept; beyond it readers wait.")
	KafkaDataLoss = declare(counter, "millrace_kafka_data_loss_total",
		"Times that brokers were found to have lost what they had acknowledged. Anything above 0 is an alarm.")
	ClusterNodes = declare(gauge, "millrace_cluster_nodes",
		"Nodes of the cluster that live, as this one sees them.")
	CatalogAge = declare(gauge, "millrace_catalog_age_seconds",
		"How old this node's view of the shared catalog may be. On Kafka, beyond 10 it answers no producer before it has looked again.")

	DeliveryRecords = declare(counter, "millrace_delivery_records_total",
		"Source records whose object was committed, since the delivery stream was created.", "delivery_stream")
	DeliveryBytes = declare(counter, "millrace_delivery_bytes_total",
		"Bytes of record data delivered, before compression, since the delivery stream was created.", "delivery_stream")
	DeliveryOutputs = declare(counter, "millrace_delivery_outputs_total",
		"What the delivered records have become, by de-aggregation more than one each, since the delivery stream was created.", "delivery_stream")
	DeliveryObjects = declare(counter, "millrace_delivery_objects_total",
		"Objects delivered since the delivery stream was created.", "delivery_stream")
	DeliveryDeadLettered = declare(counter, "millrace_delivery_dead_lettered_records_total",
		"Source records in error objects since the delivery stream was created.", "delivery_stream")
	DeliveryErrorObjects = declare(counter, "millrace_delivery_error_objects_total",
		"Error objects since the delivery stream was created; they are not counted as objects.", "delivery_stream")
	DeliveryFailed = declare(counter, "millrace_delivery_failed_records_total",
		"Source records that this process put into error objects, by error-output-type: processing-failed, metadata-extraction-failed, activePartitionExceeded, format-conversion-failed or http-endpoint-failed.", "delivery_stream", "error_type")
	DeliveryDropped = declare(counter, "millrace_delivery_dropped_records_total",
		"Source records that a function dropped, or that held nothing to deliver, since the delivery stream was created.", "delivery_stream")
	DeliveryLost = declare(counter, "millrace_delivery_lost_records_total",
		"Records that expired undelivered or were discarded with their delivery stream. Anything above 0 is an alarm.", "delivery_stream", "how")
	DeliveryLagRecords = declare(gauge, "millrace_delivery_lag_records",
		"Accepted records that no committed object holds yet.", "delivery_stream")
	DeliveryLagSeconds = declare(gauge, "millrace_delivery_lag_seconds",
		"Age of the oldest accepted record that no committed object holds yet; 0 when there is none: the service's DataFreshness.", "delivery_stream")
	DeliveryErrors = declare(counter, "millrace_delivery_put_errors_total",
		"Failed attempts to put an object since this process started; each is tried again.", "delivery_stream")
	DeliveryManifests = declare(gauge, "millrace_delivery_manifests",
		"Planned objects that are not committed yet.", "delivery_stream")
	DeliveryBuffered = declare(gauge, "millrace_delivery_buffered_bytes",
		"Bytes of records that delivery streams hold in memory, all together.")
	DeliveryBufferBound = declare(gauge, "millrace_delivery_buffered_bound_bytes",
		"The most that delivery streams may hold in memory, all together; beyond it they keep positions only.")

	DeliverySpool = declare(gauge, "millrace_delivery_spool_bytes",
		"Bytes of partitions and transformed records in files, for which the memory of buffers had no room.")
	DeliverySpoolBound = declare(gauge, "millrace_delivery_spool_bound_bytes",
		"The most that may be in files; beyond it transformed records leave at once, and others are processed again.")
	DeliveryStaged = declare(gauge, "millrace_delivery_staged_objects",
		"Objects that are staged durably in their bucket for a plan that is not committed yet.", "delivery_stream")
	DeliveryPartitions = declare(gauge, "millrace_delivery_partitions",
		"Dynamic partitions that gather records on this node: the service's PartitionCount.", "delivery_stream")
	DeliveryPartitionsBound = declare(gauge, "millrace_delivery_partitions_bound",
		"The most of them; records of further ones go to error objects.", "delivery_stream")
	DeliveryPartitionsExceeded = declare(counter, "millrace_delivery_partitions_exceeded_total",
		"Records of partitions beyond the bound since this process started: the service's PartitionCountExceeded is whether there are any.", "delivery_stream")
	DeliveryFunctionCalls = declare(counter, "millrace_delivery_function_calls_total",
		"Calls of functions that transform records since this process started, retries among them. Less their failures they are the sum of the service's ExecuteProcessing.Success.", "delivery_stream")
	DeliveryFunctionRetries = declare(counter, "millrace_delivery_function_retries_total",
		"Those of them that were made because the one before failed.", "delivery_stream")
	DeliveryFunctionFailures = declare(counter, "millrace_delivery_function_failures_total",
		"Those of them that had no answer, or an error for one. Records that an answer fails are not among them.", "delivery_stream")
	DeliveryFunctionSeconds = declare(counter, "millrace_delivery_function_seconds_total",
		"Time that they took: the sum of the service's ExecuteProcessing.Duration.", "delivery_stream")
	DeliveryPosts = declare(counter, "millrace_delivery_endpoint_posts_total",
		"Posts to HTTP endpoints since this process started, retries among them.", "delivery_stream")
	DeliveryPostRetries = declare(counter, "millrace_delivery_endpoint_retries_total",
		"Those of them that were made because the one before failed.", "delivery_stream")
	DeliveryPostFailures = declare(counter, "millrace_delivery_endpoint_failures_total",
		"Those of them that the endpoint did not confirm: what the service's DeliveryToHttpEndpoint.Success lacks.", "delivery_stream")
	DeliveryPostSeconds = declare(counter, "millrace_delivery_endpoint_seconds_total",
		"Time that they took, to the end of the answer.", "delivery_stream")
	DeliveryConversions = declare(counter, "millrace_delivery_conversions_total",
		"Records for a Parquet file since this process started, by what became of them: converted (the service's SucceedConversion.Records) or failed (FailedConversion.Records). De-aggregated records count one by one.", "delivery_stream", "what")
	DeliveryErrorLogLeftOut = declare(counter, "millrace_delivery_error_log_left_out_total",
		"Errors that were not written to a delivery stream's log group, because there were more than 10 in a second.", "delivery_stream")

	Subscriptions = declare(gauge, "millrace_subscriptions",
		"Subscriptions to shards (SubscribeToShard) that this node serves.")
	SubscriptionBound = declare(gauge, "millrace_subscriptions_bound",
		"The most that it serves; beyond it callers get LimitExceededException.")

	InFlight = declare(gauge, "millrace_http_in_flight_requests",
		"Requests of both listeners that are being answered, those whose bodies still arrive included.")
	Connections = declare(gauge, "millrace_http_connections",
		"Open connections of both listeners.")
	ConnectionWaits = declare(counter, "millrace_http_connection_waits_total",
		"Times that a listener held its most connections and let the next caller wait.")
	Refused = declare(counter, "millrace_http_refused_total",
		"Requests refused before any service saw them: over_budget (503), too_large (413), too_slow (408), broken_body (400), guarded (Host, Origin or credentials).", "why")
	Panics = declare(counter, "millrace_http_panics_total",
		"Handlers that panicked. Each is a fault of this program and was logged with its stack. Anything above 0 is an alarm.")
	BodyBytes = declare(gauge, "millrace_body_bytes",
		"Bytes of request bodies held in memory for callers.")
	BodyBound = declare(gauge, "millrace_body_bound_bytes",
		"The most that may be held; beyond it callers get 503.")
	SpaceFree = declare(gauge, "millrace_disk_free_bytes",
		"Free bytes of the file system that holds the data folder.")
	SpaceLow = declare(gauge, "millrace_disk_low",
		"1 when free space is below the low-space mark and writes are refused, else 0.")
)

// Emit reports one value while a page is read; labels in the order of the metric's declaration.
type Emit func(m *Metric, value float64, labels ...string)

// Metrics is the page that Prometheus reads.
type Metrics struct{ registry *prometheus.Registry }

// NewMetrics makes a page with the process's own figures.
func NewMetrics() *Metrics {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &Metrics{registry: r}
}

// Collect calls fn each time the page is read.
func (m *Metrics) Collect(fn func(Emit)) { m.registry.MustRegister(bridge{fn}) }

// Handler serves the page.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Declared lists all metrics, for the documentation and its test.
func Declared() []*Metric { return declared }

type bridge struct{ fn func(Emit) }

// Describe sends nothing: which label values exist is known only when the page is read.
func (b bridge) Describe(chan<- *prometheus.Desc) {}

func (b bridge) Collect(ch chan<- prometheus.Metric) {
	b.fn(func(m *Metric, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, value, labels...)
	})
}
