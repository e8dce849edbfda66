package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"millrace/internal/config"
)

// node is a running node, as its operator's commands reach it.
type node struct {
	endpoint, credentials string
}

// bind adds the options by which a command finds the node.
func (n *node) bind(fs *flag.FlagSet) {
	endpoint := os.Getenv("AWS_ENDPOINT_URL")
	if endpoint == "" {
		endpoint = "http://" + config.Default().Listen
	}
	fs.StringVar(&n.endpoint, "endpoint", endpoint, "the node's AWS endpoint; also AWS_ENDPOINT_URL (`URL`)")
	fs.StringVar(&n.credentials, "credentials", "", "where the node has credentials: the `FILE` with a key that may call it")
}

// get calls an address below /_millrace/. The caller closes the body.
func (n *node) get(ctx context.Context, path string) (*http.Response, error) {
	return n.call(ctx, http.MethodGet, path, nil)
}

// post sends a JSON document to an address below /_millrace/. The caller closes the body.
func (n *node) post(ctx context.Context, path string, doc any) (*http.Response, error) {
	body, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	return n.call(ctx, http.MethodPost, path, body)
}

func (n *node) call(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(n.endpoint, "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if n.credentials != "" {
		keys, err := config.LoadCredentials(n.credentials)
		if err != nil {
			return nil, err
		}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			req.SetBasicAuth(key, keys[key])
			break
		}
	}
	client := &http.Client{Transport: &http.Transport{ResponseHeaderTimeout: 30 * time.Second}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no node answers at %s; is \"millrace up\" running? (%w)", n.endpoint, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // what came of it is shown with the status
		return nil, fmt.Errorf("%s answered %s: %s", n.endpoint+path, resp.Status, strings.TrimSpace(string(text)))
	}
	return resp, nil
}

// maxAnswer bounds a JSON answer of a node.
const maxAnswer = 64 << 20

// decode reads a JSON answer.
func (n *node) decode(ctx context.Context, path string, into any) error {
	resp, err := n.get(ctx, path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into)
}
