// Package stores holds tests only: the store of objects on an S3-compatible service
// (internal/object/s3) against services. Without flags the service is the built binary;
// e2e/stores/run gives others, which know nothing of Millrace: moto, and versitygw. The
// latter is also what the answers of Millrace's own S3 API are compared with.
package stores
