# Targets for those who build Millrace. Users need only: go run ./cmd/millrace up
.PHONY: build test race lint generate crash crash-faulty crash-cluster crash-cluster-faulty crash-processing crash-processing-faulty bench bench-cluster bench-delivery fuzz clients kafka stores formats kinesis histories clean

build: ## the binary
	CGO_ENABLED=0 go build -trimpath -o millrace ./cmd/millrace

test: ## what the README promises to pass with Go alone
	go test ./...

race:
	go test -race -short ./...

lint:
	gofmt -l . | (! grep .)
	go vet ./...
	go tool staticcheck ./...

generate: ## shapes of the wire, from the service models
	go generate ./...

HISTORIES ?= 10000
histories: ## random histories of streams, crashes among them, against a model
	go test ./internal/stream/local -count=1 -timeout=4h -run 'TestHistories$$' -histories=$(HISTORIES)

ROUNDS ?= 100
crash: ## kill -9 under load, again and again; every answered event must be in exactly one object
	go test ./e2e/crash -count=1 -timeout=4h -v -run 'TestCrash$$' -rounds=$(ROUNDS)

crash-faulty: ## the same suite on a build that commits before it puts: it must fail
	go test ./e2e/crash -count=1 -timeout=1h -v -run 'TestFaultIsFound$$' -faulty

crash-processing: ## the same for delivery streams that process: partitions, Parquet, functions, HTTP endpoints, and what they fail by
	go test ./e2e/crash -count=1 -timeout=4h -v -run 'TestProcessing$$' -processing-rounds=$(ROUNDS)
	go test ./e2e/crash -count=1 -timeout=30m -v -run 'TestStoreOutage$$|TestSpoolIsFull$$' -outage=1m

crash-processing-faulty: ## the same on a build that commits before it puts: it must be found
	go test ./e2e/crash -count=1 -timeout=1h -v -run 'TestProcessingFaultIsFound$$' -faulty

kinesis: ## the engine kinesis against moto, kinesalite and kinesis-local; installs them into e2e/kinesis/.peers
	e2e/kinesis/run

crash-cluster: ## brokers of a real Kafka and nodes, killed and frozen at random under load; needs Java and Maven
	e2e/kafka/install
	go test ./e2e/crash -count=1 -timeout=4h -v -kafka -run 'TestCluster$$' -rounds=$(ROUNDS)

crash-cluster-faulty: ## the same on a build whose journal does without the brokers' fence: it must be found
	e2e/kafka/install
	go test ./e2e/crash -count=1 -timeout=1h -v -kafka -run 'TestClusterFaultIsFound$$'

clients: ## boto3, the aws CLI, rclone and DuckDB against the built binary; installs them into .venv and from the system
	e2e/clients/run

java: ## the AWS SDK for Java 2, asynchronous, in CBOR and JSON, with TLS and without; builds into e2e/javasdk/.artifacts
	e2e/javasdk/run

kcl: ## the Kinesis Client Library, polling and fan-out, its leases in dynalite; builds into e2e/kcl/.artifacts and .dynalite
	e2e/kcl/run

flink: ## the Kinesis connector of Apache Flink, its sources and its sink; builds into e2e/flink/.artifacts e2e/formats/.artifacts
	e2e/flink/run

kafka: ## three brokers of a real Apache Kafka on loopback, in the foreground; needs Java and Maven
	e2e/kafka/run

formats: ## objects read by Python, snappy-java, pyarrow and DuckDB; installs them into .venv-formats and e2e/formats/.artifacts
	e2e/formats/run

stores: ## the store on S3-compatible services: moto in .venv-stores, versitygw in e2e/stores/.peers, which is a yardstick for the S3 API, too
	e2e/stores/run

bench: ## Millrace, a bare net/http handler, and the peers that store records; a backlog's delivery; writes bench/RESULTS.md
	bench/run

bench-delivery: ## ten million records out of a backlog in each format, beside a plain program; writes their section of bench/RESULTS.md
	ONLY=backlog bench/run

bench-cluster: ## nodes on a real Apache Kafka beside franz-go alone; writes bench/CLUSTER.md
	e2e/kafka/install
	go run ./bench/cluster

FUZZTIME ?= 30s
fuzz: ## every fuzz target for FUZZTIME
	@for pkg in $$(go list ./...); do \
	  for f in $$(go test -list '^Fuzz' $$pkg 2>/dev/null | grep '^Fuzz'); do \
	    echo "== $$pkg $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
	  done; done

clean:
	rm -f millrace
	rm -rf .venv .venv-stores e2e/stores/.peers .venv-formats node_modules e2e/kafka/.artifacts e2e/javasdk/.artifacts e2e/kcl/.artifacts e2e/kcl/.dynalite e2e/flink/.artifacts
