// Command cmd runs a real Apache Kafka on loopback until it is interrupted, and prints
// where clients connect. Nothing of it stays. e2e/kafka/run builds and runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"millrace/e2e/kafkacluster"
)

func main() {
	var opts kafkacluster.Options
	flag.IntVar(&opts.Brokers, "brokers", 3, "how many")
	flag.IntVar(&opts.Port, "port", 0, "of the first broker; the 63 above it are taken, too (default: free ones)")
	flag.StringVar(&opts.Heap, "heap", "256m", "of each broker")
	flag.BoolVar(&opts.Security, "security", false, "also listeners with SASL (PLAIN, SCRAM), with TLS, and with both")
	flag.BoolVar(&opts.Optimize, "optimize", false, "let Java optimize the brokers' code at run time, as for a measurement")
	archive := flag.Bool("archive", false, "write the archive of classes, for e2e/kafka/install, and end")
	flag.Parse()
	if err := run(opts, *archive); err != nil {
		fmt.Fprintln(os.Stderr, "kafka:", err)
		os.Exit(1)
	}
}

func run(opts kafkacluster.Options, archive bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	began := time.Now()
	starting, cancel := context.WithTimeout(ctx, kafkacluster.StartTime)
	defer cancel()
	if archive {
		return kafkacluster.Archive(starting)
	}
	c, err := kafkacluster.New(starting, opts)
	if err != nil {
		return err
	}
	fmt.Printf("bootstrap  %s\n", c.Bootstrap())
	if opts.Security {
		fmt.Printf("SASL       %s\nTLS        %s\nSASL+TLS   %s\n",
			strings.Join(c.SASL(), ","), strings.Join(c.TLS(), ","), strings.Join(c.SASLTLS(), ","))
		fmt.Printf("user       %s, password %s\nauthority  %s\n", kafkacluster.User, kafkacluster.Password, c.AuthorityFile())
	}
	fmt.Printf("ready after %.1f s; Ctrl-C ends the brokers and removes %s\n", time.Since(began).Seconds(), c.Folder())
	<-ctx.Done()
	return c.Close()
}
