package offline

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"millrace/internal/gateway"
)

// Run sends the request of a case. Failures is empty when all is as wanted, else it says what is not. trail tells the
// way of the request, as far as it was sent.
func (f *CaseFile) Run(ctx context.Context, c *Case) (failures string, trail *gateway.Trail) {
	got, err := f.Definition.Run(ctx, c.Request, c.Answer)
	if err != nil {
		return err.Error(), nil
	}
	var all []string
	for _, one := range c.want.compare(got) {
		all = append(all, strings.TrimSuffix(one, "\n"))
	}
	if len(all) == 0 {
		return "", &got.Trail
	}
	for _, line := range got.Log {
		all = append(all, "log: "+line)
	}
	for _, line := range f.Definition.Warnings {
		all = append(all, "warning: "+line)
	}
	return strings.Join(all, "\n"), &got.Trail
}

func (w *want) compare(got *Exchange) (failures []string) {
	tell := func(format string, args ...any) { failures = append(failures, fmt.Sprintf(format, args...)) }
	if w.calls {
		failures = append(failures, w.compareCalls(got)...)
	}
	if w.allRecords {
		failures = append(failures, w.compareRecords(got)...)
	}
	if w.status != 0 && w.status != got.Status {
		tell("the response's status: want %d, got %d: %s", w.status, got.Status, got.Body)
	}
	failures = append(failures, compareHeaders("the response's", w.headers, got.Header)...)
	if d := w.body.diff("the response's body", got.Body); d != "" {
		failures = append(failures, d)
	}
	return failures
}

func compareHeaders(whose string, want []wantHeader, got gateway.Header) (failures []string) {
	for _, h := range want {
		values := valuesOf(got, h.name)
		switch {
		case h.absent && len(values) > 0:
			failures = append(failures, fmt.Sprintf("%s header %s: want none, got %q", whose, h.name, values))
		case !h.absent && (len(values) != 1 || values[0] != h.value):
			failures = append(failures, fmt.Sprintf("%s header %s: want %q, got %q", whose, h.name, h.value, values))
		}
	}
	return failures
}

func valuesOf(header gateway.Header, name string) (all []string) {
	for _, f := range header {
		if strings.EqualFold(f.Name, name) {
			all = append(all, f.Value)
		}
	}
	return all
}

func (w *want) compareCalls(got *Exchange) (failures []string) {
	switch {
	case w.noCall && len(got.Calls) > 0:
		return []string{fmt.Sprintf("the integration request: want none, got %s of %s", got.Calls[0].Action, got.Calls[0].Body)}
	case w.noCall:
		return nil
	case len(got.Calls) == 0:
		return []string{fmt.Sprintf("the integration request: there is none; the caller was answered with %d: %s", got.Status, got.Body)}
	}
	call := got.Calls[len(got.Calls)-1]
	for _, one := range []struct{ what, want, got string }{
		{"action", w.action, call.Action}, {"method", w.method, call.Method}, {"url", w.url, call.URL}, {"Content-Type", w.contentType, call.ContentType},
	} {
		if one.want != "" && one.want != one.got {
			failures = append(failures, fmt.Sprintf("the integration request's %s: want %s, got %s", one.what, one.want, one.got))
		}
	}
	failures = append(failures, compareHeaders("the integration request's", w.sent, call.Header)...)
	if d := w.request.diff("the integration request's body", call.Body); d != "" {
		failures = append(failures, d)
	}
	return failures
}

func (w *want) compareRecords(got *Exchange) (failures []string) {
	if len(w.records) != len(got.Records) {
		failures = append(failures, fmt.Sprintf("records: want %d, got %d; the caller was answered with %d: %s", len(w.records), len(got.Records), got.Status, got.Body))
	}
	for i := range min(len(w.records), len(got.Records)) {
		want, rec := &w.records[i], &got.Records[i]
		what := fmt.Sprintf("record %d", i+1)
		if want.stream != "" && want.stream != rec.Stream {
			failures = append(failures, fmt.Sprintf("%s's stream: want %s, got %s", what, want.stream, rec.Stream))
		}
		if want.deliveryStream != "" && want.deliveryStream != rec.DeliveryStream {
			failures = append(failures, fmt.Sprintf("%s's delivery stream: want %s, got %s", what, want.deliveryStream, rec.DeliveryStream))
		}
		if want.partitionKey != nil && *want.partitionKey != rec.PartitionKey {
			failures = append(failures, fmt.Sprintf("%s's partition key: want %q, got %q", what, *want.partitionKey, rec.PartitionKey))
		}
		if d := want.data.diff(what+"'s data", string(rec.Data)); d != "" {
			failures = append(failures, d)
		}
	}
	return failures
}

// diff says how a text differs from what it must be; empty: not at all.
func (c *check) diff(what, got string) string {
	if c == nil {
		return ""
	}
	switch c.kind {
	case isText:
		if got == c.text {
			return ""
		}
		return what + ":\n" + lines(c.text, got)
	case matches:
		if c.pattern.MatchString(got) {
			return ""
		}
		return fmt.Sprintf("%s: want what matches %s\ngot %s", what, c.text, got)
	}
	w, _ := decode(c.text) // yamldoc has written it
	g, err := decode(got)
	if err != nil {
		return fmt.Sprintf("%s: want JSON, got %v: %s", what, err, got)
	}
	if c.kind == hasJSON {
		g = project(g, w)
	}
	wantText, gotText := indented(w), indented(g)
	if wantText == gotText {
		return ""
	}
	return what + ":\n" + lines(wantText, gotText)
}

// lines shows two texts line by line. What differs in its end alone is told in quotes: a newline is not seen.
func lines(want, got string) string {
	if strings.TrimRight(want, "\n") == strings.TrimRight(got, "\n") {
		return fmt.Sprintf("want %q\ngot  %q", want, got)
	}
	end := func(s string) []byte { return []byte(strings.TrimSuffix(s, "\n") + "\n") }
	d := string(diff.Diff("want", end(want), "got", end(got)))
	if _, rest, ok := strings.Cut(d, "\n"); ok { // "diff want got"
		d = rest
	}
	return d
}

// decode reads JSON whose numbers keep their texts: one value, and nothing behind it.
func decode(text string) (v any, err error) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("there is something behind the value")
	}
	return v, nil
}

func indented(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // what was decoded can be encoded
	return b.String()
}

// project leaves of v the members that want has, at every depth.
func project(v, want any) any {
	switch w := want.(type) {
	case map[string]any:
		have, ok := v.(map[string]any)
		if !ok {
			return v
		}
		left := map[string]any{}
		for name, inner := range w {
			if value, ok := have[name]; ok {
				left[name] = project(value, inner)
			}
		}
		return left
	case []any:
		have, ok := v.([]any)
		if !ok || len(have) != len(w) {
			return v
		}
		left := make([]any, len(have))
		for i := range have {
			left[i] = project(have[i], w[i])
		}
		return left
	}
	return v
}
