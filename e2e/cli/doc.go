// Package cli holds tests only: scripts in testdata/*.txtar that run the built
// binary as its users do. Beside testscript's own commands a script has
//
//	up [FILE] [OPTIONS]        start a node and wait until it is ready; sets $AWS and $INGEST,
//	                           AWS_ENDPOINT_URL, and puts what it printed into up.out
//	! up [FILE] [OPTIONS]      the same must end by itself; what it wrote is in up.out
//	down [interrupt]           stop it in the orderly way, by SIGTERM or Ctrl-C; it must end with code 0
//	kill9                      end it without any warning
//	post PATH TYPE BODY        send an event to $INGEST; BODY, or @FILE
//	get PATH                   read an address of $AWS
//	settled                    wait until the ledger shows nothing in flight
//	objects BUCKET             print the content of all objects of a bucket, keys sorted, decompressed
//
// post, get and objects print to stdout, and post and get fail unless the answer is
// 200.
package cli
