package offline

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// Report is what became of the cases of a run, for people and for CI.
type Report struct{ Suites []Suite }

// Suite is the cases of one file.
type Suite struct {
	Name    string // the file
	Results []Result
}

// Result is what became of a case.
type Result struct {
	Name    string
	Elapsed time.Duration
	Failure string // what is not as wanted; empty: it passed
	Broken  bool   // the file could not be read: Failure says why
}

// Count tells how many cases passed and how many did not.
func (r *Report) Count() (passed, failed int) {
	for _, s := range r.Suites {
		for _, one := range s.Results {
			if one.Failure == "" {
				passed++
			} else {
				failed++
			}
		}
	}
	return passed, failed
}

// The elements of JUnit's reports, as far as CI systems read them.
type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name      string        `xml:"name,attr"`
	ClassName string        `xml:"classname,attr"`
	Time      string        `xml:"time,attr"`
	Failure   *junitFailure `xml:"failure"`
	Error     *junitFailure `xml:"error"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes the report in JUnit's XML. A case that fails is a failure, a file that can't be read an error.
func (r *Report) WriteJUnit(w io.Writer) error {
	var doc junitSuites
	var total time.Duration
	for _, s := range r.Suites {
		out := junitSuite{Name: s.Name}
		var elapsed time.Duration
		for _, one := range s.Results {
			c := junitCase{Name: one.Name, ClassName: s.Name, Time: seconds(one.Elapsed)}
			out.Tests++
			elapsed += one.Elapsed
			if one.Failure != "" {
				first, _, _ := strings.Cut(one.Failure, "\n")
				f := &junitFailure{Message: first, Type: "failure", Text: one.Failure}
				if one.Broken {
					f.Type, c.Error = "error", f
					out.Errors++
				} else {
					c.Failure = f
					out.Failures++
				}
			}
			out.Cases = append(out.Cases, c)
		}
		out.Time = seconds(elapsed)
		total += elapsed
		doc.Tests += out.Tests
		doc.Failures += out.Failures
		doc.Errors += out.Errors
		doc.Suites = append(doc.Suites, out)
	}
	doc.Time = seconds(total)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
