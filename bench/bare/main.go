// Command bare is the yardstick of bench: net/http, a handler that reads the body and answers 200, nothing else.
package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	addr := flag.String("listen", "127.0.0.1:0", "`HOST:PORT`")
	flag.Parse()
	l, err := net.Listen("tcp", *addr)
	if err == nil {
		fmt.Printf("ready http://%s\n", l.Addr())
		s := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // a caller who is gone is nobody to tell
			w.WriteHeader(http.StatusOK)
		})}
		err = s.Serve(l)
	}
	fmt.Fprintln(os.Stderr, "bare:", err)
	os.Exit(1)
}
