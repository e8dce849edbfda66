// Package front owns the listeners: it takes HTTP from the outside and hands it to
// the gateway and to the handlers of the AWS services. Types of net/http end here on
// the way of an event.
//
//	ingest listener ─ body (budget, pace) ─ gateway.Request ─> Gateway.Serve ─> gateway.Response
//	AWS listener    ─ which service? (route.go) ─ guard or credentials
//	                   ├ execute-api addresses ──────────────> as on the ingest listener
//	                   ├ kinesis, firehose, apigateway, s3 ──> their handlers, bodies metered
//	                   ├ /_millrace/ ────────────────────────> the app's handler
//	                   └ anything else ──────────────────────> an error that names the service
//
// It promises:
//   - The AWS listener does not bind beyond loopback without credentials, /_millrace/
//     included. Without credentials it admits only Hosts and Origins of this machine.
//   - Bodies held for all callers together fit a [Budget]; beyond it callers are told
//     503 with Retry-After. Large bodies can't take the share of small events.
//   - Every wait for a caller has an end: headers, bodies, idle connections, writes.
//     An answer may go on for as long as it likes if its caller keeps reading.
//   - A request whose body has arrived runs to its end, whether or not its caller still
//     waits. [Server.Shutdown] lets all such requests finish before it returns.
//   - A panic of a handler costs that request a 500, and nothing else.
package front
