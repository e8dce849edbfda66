package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"sort"
)

// model is a service model as published: operations, shapes, wire traits.
type model struct {
	Metadata struct {
		APIVersion      string `json:"apiVersion"`
		Protocol        string `json:"protocol"`
		ServiceFullName string `json:"serviceFullName"`
		TargetPrefix    string `json:"targetPrefix"`
	} `json:"metadata"`
	Operations map[string]*operation `json:"operations"`
	Shapes     map[string]*shape     `json:"shapes"`
}

type operation struct {
	Name string `json:"name"`
	HTTP struct {
		Method       string `json:"method"`
		RequestURI   string `json:"requestUri"`
		ResponseCode int    `json:"responseCode"`
	} `json:"http"`
	Input  *ref  `json:"input"`
	Output *ref  `json:"output"`
	Errors []ref `json:"errors"`
}

// ref is the use of a shape by a member, list, map or operation.
type ref struct {
	Shape        string `json:"shape"`
	Location     string `json:"location"`
	LocationName string `json:"locationName"`
	Flattened    bool   `json:"flattened"`
	Streaming    bool   `json:"streaming"`
	XMLAttribute bool   `json:"xmlAttribute"`
	Deprecated   bool   `json:"deprecated"`
}

type shape struct {
	Type            string   `json:"type"`
	Members         members  `json:"members"`
	Required        []string `json:"required"`
	Payload         string   `json:"payload"`
	Member          *ref     `json:"member"`
	Key             *ref     `json:"key"`
	Value           *ref     `json:"value"`
	Flattened       bool     `json:"flattened"`
	Min             *float64 `json:"min"`
	Max             *float64 `json:"max"`
	Pattern         string   `json:"pattern"`
	Enum            []string `json:"enum"`
	TimestampFormat string   `json:"timestampFormat"`
	LocationName    string   `json:"locationName"`
	Exception       bool     `json:"exception"`
	Fault           bool     `json:"fault"`
	EventStream     bool     `json:"eventstream"`
	Error           struct {
		HTTPStatusCode int    `json:"httpStatusCode"`
		Code           string `json:"code"`
	} `json:"error"`

	name string
}

// members keeps the order of the model, which decides the order on the wire and of violations.
type members []member

type member struct {
	Name string
	ref
}

func (m *members) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if _, err := dec.Token(); err != nil {
		return err
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		mem := member{Name: name.(string)}
		if err := dec.Decode(&mem.ref); err != nil {
			return err
		}
		*m = append(*m, mem)
	}
	return nil
}

func readModel(file string) (*model, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	m := new(model)
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("read model %s: %w", file, err)
	}
	for name, s := range m.Shapes {
		s.name = name
	}
	return m, nil
}

func (s *shape) requires(name string) bool {
	for _, r := range s.Required {
		if r == name {
			return true
		}
	}
	return false
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
