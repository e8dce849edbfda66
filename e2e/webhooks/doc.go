// Package webhooks holds tests only: the examples for webhooks and web pages on the
// built binary. What their cases send reaches the objects as `millrace vtl test` says
// without a node, and a consumer can verify what the senders have signed.
package webhooks
